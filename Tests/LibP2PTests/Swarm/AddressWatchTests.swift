import Glibc
import LibP2P
import Multiformats
import NIOCore
import NIOPosix
import Testing

@Suite("interface addresses", .timeLimit(.minutes(1)))
struct AddressWatchTests {
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    /// Runs `ip` on the calling thread, whose network namespace the child inherits. Foundation's
    /// `Process` would wait on a run loop, which the threads of event loops do not have.
    private static func ip(_ arguments: String) throws {
        var words = (["ip"] + arguments.split(separator: " ").map(String.init)).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let spawned = posix_spawnp(&child, "ip", nil, nil, &words, environ)
        guard spawned == 0 else { throw Failed(description: "ip cannot be run (errno \(spawned))") }
        var status: CInt = 0
        guard waitpid(child, &status, 0) == child, status == 0 else {
            throw Failed(description: "ip \(arguments) ends with status \(status)")
        }
    }

    /// Puts the calling thread into a new network namespace. The declaration of `unshare` is one that
    /// the Glibc module leaves out.
    private static func leaveNetwork() -> Bool {
        guard let symbol = dlsym(nil, "unshare") else { return false }
        let unshare = unsafeBitCast(symbol, to: (@convention(c) (CInt) -> CInt).self)
        let newNetwork: CInt = 0x4000_0000
        return unshare(newNetwork) == 0
    }

    @Test("an address that comes or goes is noticed, told to observers and pushed to peers")
    func changes() async throws {
        // One thread in a network namespace of its own: what it opens and sees is only there.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        try await loop.submit {
            guard Self.leaveNetwork() else {
                throw Failed(description: "a network namespace of its own needs root (errno \(errno))")
            }
            try Self.ip("link set lo up")
        }.get()

        let nodes = try await [
            SwarmWorld.node(on: group, listen: ["/ip4/0.0.0.0/tcp/0"]), SwarmWorld.node(on: group),
        ]
        try await nodes[1].dial(nodes[0])
        try await nodes[1].events.waitForIdentify(of: nodes[0].peer)

        try await loop.submit { try Self.ip("addr add 127.77.0.1/32 dev lo") }.get()
        try await nodes[0].events.wait("the new address") { events in
            guard case .listening(let addresses)? = events.last(where: \.isListening) else { return false }
            return addresses.contains { $0.ipAddress?.description == "127.77.0.1" }
        }
        let peer = nodes[0].peer
        try await nodes[1].events.wait("the push of the new address") { events in
            guard case .peerIdentified(peer, let known)? = events.last else { return false }
            return known.listenAddresses.contains { $0.ipAddress?.description == "127.77.0.1" }
        }
        try await loop.submit { try Self.ip("addr del 127.77.0.1/32 dev lo") }.get()
        try await nodes[0].events.wait("the address to go") { events in
            guard case .listening(let addresses)? = events.last(where: \.isListening) else { return false }
            return addresses.count == 1
        }
        let left = try await nodes[0].swarm.listenAddresses().get()
        #expect(left.count == 1 && left.allSatisfy { $0.ipAddress?.description == "127.0.0.1" })
        for node in nodes { try await node.swarm.shutDown().get() }
        try await group.shutdownGracefully()
    }
}

extension SwarmEvent {
    fileprivate var isListening: Bool {
        if case .listening = self { true } else { false }
    }
}
