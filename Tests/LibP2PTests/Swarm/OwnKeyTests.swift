import LibP2P
import Multiformats
import NIOCore
import Testing

@Suite("A node's own key at another address", .serialized, .timeLimit(.minutes(1)))
struct OwnKeyTests {
    /// What a swarm hears of its own key, in order.
    private func seen(by node: SwarmWorld.Node) -> AsyncStream<ConnectionInfo> {
        let (stream, continuation) = AsyncStream.makeStream(of: ConnectionInfo.self)
        node.swarm.onOwnKeySeen { continuation.yield($0) }
        return stream
    }

    @Test("both machines with one key learn of it when one looks for the other, and nothing else comes of it")
    func twoMachines() async throws {
        let identity = Identity.generate()
        let (one, other) = (
            try await SwarmWorld.node(identity), try await SwarmWorld.node(identity)
        )
        let (news, otherNews) = (seen(by: one), seen(by: other))
        one.swarm.lookForOwnKey(at: try #require(try await other.addresses().first))
        let outbound = try #require(await news.first { _ in true })
        let inbound = try #require(await otherNews.first { _ in true })
        #expect(outbound.direction == .outbound && inbound.direction == .inbound)
        #expect(outbound.channelBinding == inbound.channelBinding && !inbound.channelBinding.isEmpty)
        for node in [one, other] {
            #expect(try await node.swarm.connections(to: identity.peerID).get().isEmpty)
            #expect(!node.events.all.contains { if case .peerConnected = $0 { true } else { false } })
            try await node.swarm.shutDown().get()
        }
    }

    @Test("a node that is led back to itself sees both ends of one connection, its own among them")
    func ledBack() async throws {
        let node = try await SwarmWorld.node()
        let news = seen(by: node)
        node.swarm.lookForOwnKey(at: try #require(try await node.addresses().first))
        var ends: [ConnectionInfo] = []
        for await info in news {
            ends.append(info)
            if ends.count == 2 { break }
        }
        #expect(Set(ends.map(\.channelBinding)).count == 1)
        #expect(Set(ends.map(\.direction)) == [.inbound, .outbound])
        try await node.swarm.shutDown().get()
    }

    @Test("another node's key is not taken for it, at either end")
    func stranger() async throws {
        try await SwarmWorld.with(2) { nodes in
            let (news, otherNews) = (seen(by: nodes[0]), seen(by: nodes[1]))
            nodes[0].swarm.lookForOwnKey(at: try #require(try await nodes[1].addresses().first))
            // A look at itself comes after: what is heard first is of that one.
            try await nodes[0].dial(nodes[1])
            nodes[0].swarm.lookForOwnKey(at: try #require(try await nodes[0].addresses().first))
            let own = try await nodes[0].addresses()
            let first = try #require(await news.first { $0.direction == .outbound })
            #expect(own.contains(first.remoteAddress))
            nodes[1].swarm.lookForOwnKey(at: try #require(try await nodes[1].addresses().first))
            let theirs = try #require(await otherNews.first { $0.direction == .outbound })
            #expect(try await nodes[1].addresses().contains(theirs.remoteAddress))
        }
    }
}
