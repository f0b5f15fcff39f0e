import CLinuxNet
import Foundation
import Synchronization

/// A network namespace of a test's own; needs root.
final class NetworkNamespace: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private static let counter = Atomic<Int>(0)

    let name: String

    /// Makes the namespace, its `lo` up.
    init() throws {
        guard geteuid() == 0 else {
            throw Failure(description: "these tests make network namespaces: run them as root")
        }
        guard access("/dev/net/tun", F_OK) == 0 else { throw Failure(description: "/dev/net/tun is missing") }
        let number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
        name = "vpntest-\(getpid())-\(number)"
        try Self.execute(["ip", "netns", "add", name])
        try run("ip", "link", "set", "lo", "up")
    }

    deinit { _ = try? Self.execute(["ip", "netns", "delete", name]) }

    /// Runs a command inside and returns what it printed; throws when it fails.
    @discardableResult
    func run(_ command: String...) throws -> String {
        try Self.execute(["ip", "netns", "exec", name] + command)
    }

    /// Starts a command inside that the test ends itself.
    func start(_ command: String...) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["ip", "netns", "exec", name] + command
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// Runs `body` on a thread that has entered the namespace.
    func inside<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let outcome = Mutex<Result<Value, any Error>?>(nil)
        let done = DispatchSemaphore(value: 0)
        let path = "/run/netns/\(name)"
        Thread.detachNewThread {
            let entered = clinuxnet_enter_namespace(path)
            let result = Result {
                guard entered == 0 else { throw Failure(description: "setns \(path): error \(-entered)") }
                return try body()
            }
            outcome.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard let result = outcome.withLock({ $0 }) else { throw Failure(description: "no result") }
        return try result.get()
    }

    @discardableResult
    static func execute(_ command: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(description: "\(command.joined(separator: " ")): \(text)")
        }
        return text
    }
}
