import Foundation
import NIOPosix

/// A network namespace with a loopback and one private address, apart from every other network:
/// other implementations, which look for public peers by themselves, run in it.
final class NetworkNamespace {
    /// The private address in the namespace.
    let address = "10.87.0.1"
    private let name: String
    private static let ip = "/usr/sbin/ip"

    /// Makes the namespace `kairos-interop-…`; needs root.
    init() throws {
        name = "kairos-interop-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        guard getuid() == 0 else { throw InteropError("a network namespace needs root") }
        try Child.run(Self.ip, "netns", "add", name)
        try Child.run(Self.ip, "-n", name, "link", "set", "lo", "up")
        try Child.run(Self.ip, "-n", name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        try Child.run(Self.ip, "-n", name, "address", "add", "\(address)/24", "dev", "lan0")
        try Child.run(Self.ip, "-n", name, "link", "set", "lan0", "up")
        try Child.run(Self.ip, "-n", name, "link", "set", "lan1", "up")
    }

    deinit {
        try? Child.run(Self.ip, "netns", "delete", name)
    }

    /// Starts a program in the namespace.
    func start(_ path: String, _ arguments: [String]) throws -> Child {
        try Child(Self.ip, ["netns", "exec", name, path] + arguments)
    }

    /// Event loops whose sockets are in the namespace: a thread belongs to the namespace of the one
    /// that made it, and a socket to that of the thread that opens it.
    func makeEventLoopGroup(threads: Int = 2) throws -> MultiThreadedEventLoopGroup {
        let path = "/run/netns/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw InteropError("cannot open \(path)") }
        defer { close(descriptor) }
        let made = Box()
        let done = DispatchSemaphore(value: 0)
        Thread {
            if Self.enter?(descriptor, Self.networkNamespace) == 0 {
                made.group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
            }
            done.signal()
        }.start()
        done.wait()
        guard let group = made.group else { throw InteropError("cannot enter \(path)") }
        return group
    }

    /// CLONE_NEWNET.
    private static let networkNamespace: Int32 = 0x4000_0000

    /// setns(2), which the Swift overlay of the C library leaves out.
    private static let enter: (@convention(c) (Int32, Int32) -> Int32)? = {
        guard let symbol = dlsym(nil, "setns") else { return nil }
        return unsafeBitCast(symbol, to: (@convention(c) (Int32, Int32) -> Int32).self)
    }()

    // The semaphore orders its only write before its only read.
    private final class Box: @unchecked Sendable {
        var group: MultiThreadedEventLoopGroup?
    }
}
