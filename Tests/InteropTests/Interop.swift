import Foundation
import TestSupport

/// Whether the tests against other implementations run, and where those implementations are.
enum Interop {
    /// `KAIROS_INTEROP=1` asks for them; what is missing then is a failure.
    static let isWanted = ProcessInfo.processInfo.environment["KAIROS_INTEROP"] == "1"

    static let cache = Vectors.repository.appendingPathComponent(".cache/interop").path

    /// The path of something that `scripts/setup-interop` brings.
    static func requirement(_ name: String) throws -> String {
        let path = "\(cache)/\(name)"
        guard FileManager.default.fileExists(atPath: path) else {
            throw InteropError("\(path) is missing: run scripts/setup-interop")
        }
        return path
    }
}

/// What kept a test against another implementation from running, or what went wrong in it.
struct InteropError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A child process that does not outlive its owner.
final class Child {
    private let process = Process()
    private let output = Pipe()
    let input = Pipe()

    /// Starts `path` with `arguments`; its standard error is the tests' own when `isVerbose`.
    init(_ path: String, _ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardOutput = output
        process.standardInput = input
        let isVerbose = ProcessInfo.processInfo.environment["KAIROS_INTEROP_VERBOSE"] == "1"
        if !isVerbose { process.standardError = FileHandle.nullDevice }
        try process.run()
    }

    deinit {
        stop()
    }

    /// Kills the process and waits for its end.
    func stop() {
        guard process.isRunning else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// The next line of its output. Throws when it ends, or says nothing for `seconds`.
    func readLine(within seconds: Double = 20) throws -> String {
        var line: [UInt8] = []
        let descriptor = output.fileHandleForReading.fileDescriptor
        let end = Date().addingTimeInterval(seconds)
        while true {
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let left = Int32(max(0, end.timeIntervalSinceNow) * 1000)
            guard poll(&poller, 1, left) > 0 else {
                throw InteropError(
                    "\(process.executableURL?.path ?? "a child") said nothing for \(seconds) s")
            }
            var byte: UInt8 = 0
            guard read(descriptor, &byte, 1) == 1 else {
                throw InteropError("\(process.executableURL?.path ?? "a child") ended too early")
            }
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
    }

    /// Runs `path` to its end. Throws unless it succeeds.
    static func run(_ path: String, _ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw InteropError(
                "\(path) \(arguments.joined(separator: " ")) failed: are the tests run as root?")
        }
    }
}
