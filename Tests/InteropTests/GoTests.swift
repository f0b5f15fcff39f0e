import GossipSub
import LibP2P
import Multiformats
import NIOCore
import Testing

private let echo: ProtocolID = "/kairos-interop/echo/1.0.0"

/// Some bytes that do not repeat in any unit that a muxer or cipher uses.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 11) }
}

@Suite("go-libp2p", .enabled(if: Interop.isWanted), .serialized)
struct GoTests {
    /// Runs `body` with a daemon and a node of ours in one namespace.
    private func withPair(
        options: [String] = [], security: Node.Security = .both, _ body: (GoDaemon, Node) async throws -> Void
    ) async throws {
        let namespace = try NetworkNamespace()
        let daemon = try GoDaemon(in: namespace, options: options)
        let node = try await Node(in: namespace, security: security)
        do {
            try await body(daemon, node)
        } catch {
            await node.shutDown()
            throw error
        }
        await node.shutDown()
    }

    /// Waits until the daemon's peers are `peers`: it learns of a connection's fate after us.
    private func expect(_ daemon: GoDaemon, toSee peers: [PeerID]) async throws {
        try await eventually("that it has the peers \(peers)") { try daemon.peers() == peers }
    }

    @Test("we dial it: each proves itself, identifies the other and answers its pings")
    func dial() async throws {
        try await withPair { daemon, node in
            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
            let information = try await node.identified(daemon.peer)
            #expect(information.protocols.contains("/ipfs/ping/1.0.0"))
            #expect(information.observedAddress?.ipAddress?.description == "10.87.0.1")
            #expect(information.listenAddresses.contains { daemon.addresses.contains($0) })
            let roundTrip = try await node.swarm.ping(daemon.peer).get()
            #expect(roundTrip < .seconds(5))
            try await expect(daemon, toSee: [node.swarm.localPeer])
        }
    }

    @Test("it dials us, proposing TLS before Noise, and finds the protocols that identify names")
    func beDialled() async throws {
        try await withPair { daemon, node in
            node.serveEcho(echo)
            try daemon.connect(to: node.swarm.localPeer, at: node.addresses)
            _ = try await node.identified(daemon.peer)
            let stream = try daemon.openStream(to: node.swarm.localPeer, echo)
            try stream.write(Array("hello from go".utf8))
            #expect(try stream.read(exactly: 13) == Array("hello from go".utf8))
            stream.closeOutput()
            #expect(try stream.read() == [])
        }
    }

    @Test("streams carry megabytes both ways whichever end opens them")
    func bulk() async throws {
        try await withPair { daemon, node in
            node.serveEcho(echo)
            try daemon.serveEcho(echo)
            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
            _ = try await node.identified(daemon.peer)
            for size in [1, 65519, 65520, 3_000_000] {
                let bytes = pattern(size)
                #expect(try await node.echo(bytes, to: daemon.peer, echo) == bytes, "\(size) bytes")
            }
            let bytes = pattern(2_000_000)
            let stream = try daemon.openStream(to: node.swarm.localPeer, echo)
            let writer = Task.detached { try stream.write(bytes) }
            let reader = Task.detached { try stream.read(exactly: bytes.count) }
            try await writer.value
            #expect(try await reader.value == bytes)
        }
    }

    @Test("every pair of choices with a security protocol in common connects, whichever end dials")
    func security() async throws {
        let choices: [(options: [String], kind: Node.Security)] = [
            (["-noise=false"], .tls), (["-tls=false"], .noise), ([], .both),
        ]
        for (options, theirs) in choices {
            for ours in Node.Security.allCases where ours == .both || theirs == .both || ours == theirs {
                for dials in [true, false] {
                    try await withPair(options: options, security: ours) { daemon, node in
                        node.serveEcho(echo)
                        try daemon.serveEcho(echo)
                        if dials {
                            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
                        } else {
                            try daemon.connect(to: node.swarm.localPeer, at: node.addresses)
                        }
                        _ = try await node.identified(daemon.peer)
                        let bytes = pattern(100_000)
                        let answer = try await node.echo(bytes, to: daemon.peer, echo)
                        #expect(answer == bytes, "\(theirs) \(ours) \(dials)")
                        let stream = try daemon.openStream(to: node.swarm.localPeer, echo)
                        try stream.write(bytes)
                        #expect(try stream.read(exactly: bytes.count) == bytes)
                    }
                }
            }
        }
    }

    @Test(
        "pairs with no security protocol in common do not connect, and go is refused as a stranger over TLS")
    func noSecurity() async throws {
        for (options, ours) in [(["-noise=false"], .noise), (["-tls=false"], .tls)]
            as [([String], Node.Security)]
        {
            try await withPair(options: options, security: ours) { daemon, node in
                await #expect(throws: (any Error).self) {
                    try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
                }
                #expect(throws: InteropError.self) {
                    try daemon.connect(to: node.swarm.localPeer, at: node.addresses)
                }
            }
        }
        try await withPair(options: ["-noise=false"], security: .tls) { daemon, node in
            let other = Identity.generate().peerID
            await #expect(throws: (any Error).self) {
                try await node.swarm.dial(other, addresses: daemon.addresses).get()
            }
            #expect(throws: InteropError.self) { try daemon.connect(to: other, at: node.addresses) }
        }
    }

    @Test("a protocol that it does not speak is refused, and one that we do not speak too")
    func refusals() async throws {
        try await withPair { daemon, node in
            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
            _ = try await node.identified(daemon.peer)
            await #expect(throws: (any Error).self) { try await node.echo([1], to: daemon.peer, "/nobody/1") }
            #expect(throws: InteropError.self) {
                try daemon.openStream(to: node.swarm.localPeer, "/nobody/1")
            }
            #expect(try await node.swarm.ping(daemon.peer).get() < .seconds(5))
        }
    }

    @Test("another peer than the one dialled is refused")
    func wrongPeer() async throws {
        try await withPair { daemon, node in
            let other = Identity.generate().peerID
            await #expect(throws: (any Error).self) {
                try await node.swarm.dial(other, addresses: daemon.addresses).get()
            }
            #expect(throws: InteropError.self) { try daemon.connect(to: other, at: node.addresses) }
        }
    }

    @Test("we notice when it disconnects, and it when we do")
    func disconnects() async throws {
        try await withPair { daemon, node in
            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
            _ = try await node.identified(daemon.peer)
            try daemon.disconnect(from: node.swarm.localPeer)
            try await node.wait(for: "the end of the connection") { event in
                if case .peerDisconnected(daemon.peer) = event { () } else { nil }
            }
            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
            try await expect(daemon, toSee: [node.swarm.localPeer])
            node.swarm.disconnect(daemon.peer, reason: .shutdown)
            try await expect(daemon, toSee: [])
        }
    }

    @Test("signed messages are gossiped both ways, large ones too")
    func gossip() async throws {
        try await withPair(options: ["-pubsub"]) { daemon, node in
            let topic = "kairos-interop"
            let gossip = try await Gossip(on: node)
            gossip.subscribe(to: topic)
            let subscription = try daemon.subscribe(topic)
            try await node.swarm.dial(daemon.peer, addresses: daemon.addresses).get()
            try await gossip.waitForMesh(with: daemon.peer, in: topic)
            try await eventually("that it sees our subscription") {
                try daemon.subscribers(of: topic) == [node.swarm.localPeer]
            }
            for size in [1, 100, 100_000, 900_000] {
                let forth = pattern(size) + [1]
                try await gossip.publish(forth, on: topic)
                var fields = ProtobufFields(try subscription.readMessage())
                var data: [UInt8] = []
                while let field = try fields.next() {
                    if field.number == 2 { data = Array(try field.bytes()) }
                }
                #expect(data == forth)

                let back = pattern(size) + [2]
                try daemon.publish(back, on: topic)
                let message = try await gossip.message(with: back)
                #expect(message.author == daemon.peer)
                #expect(message.relay == daemon.peer)
                // It hears itself as well.
                _ = try subscription.readMessage()
            }
        }
    }
}
