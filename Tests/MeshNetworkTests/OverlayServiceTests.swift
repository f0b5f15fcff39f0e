import Ledger
import LibP2P
import MeshNetwork
import NIOCore
import Testing
import Timing

@Suite("The overlay over real connections", .serialized, .timeLimit(.minutes(2)))
struct OverlayServiceTests {
    private func present(_ node: MeshWorld.Node) async throws -> Set<PeerID> {
        try await node.mesh.status().get().present
    }

    @Test("who knows one gets to know and to reach all, with few connections, and others on demand")
    func fewConnections() async throws {
        try await MeshWorld.run { world in
            let token = try NetworkToken.generate()
            var nodes: [MeshWorld.Node] = []
            for _ in 0..<12 { nodes.append(try await world.node(token, surplusGrace: .milliseconds(500))) }
            for node in nodes.dropFirst() { try await node.dial(nodes[0].swarm) }
            let everybody = Set(nodes.map(\.peer))
            try await eventually("all to see all", within: .seconds(30)) {
                for node in nodes where try await present(node) != everybody.subtracting([node.peer]) {
                    return false
                }
                return true
            }
            try await eventually("superfluous connections to be closed", within: .seconds(30)) {
                for node in nodes where try await node.mesh.status().get().members.count > 8 { return false }
                return true
            }
            let id = EntryID("kairos", "key")
            try await nodes[3].mesh.put(id, value: "\"x\"").get()
            try await eventually("a write on all", within: .seconds(2)) {
                for node in nodes where try await node.value(id) != "\"x\"" { return false }
                return true
            }
            // Nobody need be connected to be written to: a stream brings a connection about.
            let other = try #require(nodes.dropFirst().first { !nodes[0].mesh.isAdmitted($0.peer) })
            let protocolID: ProtocolID = "/test/1.0.0"
            other.swarm.setHandler(for: protocolID) { $0.channel.eventLoop.makeSucceededVoidFuture() }
            let channel = try await nodes[0].swarm.openStream(to: other.peer, protocols: [protocolID]) {
                $0.channel.eventLoop.makeSucceededVoidFuture()
            }.get()
            #expect(nodes[0].mesh.isAdmitted(other.peer))
            try await channel.close().get()
            try await eventually("the connection to be closed again") {
                !nodes[0].mesh.isAdmitted(other.peer)
            }
            #expect(try await present(nodes[0]).contains(other.peer))
            // One in use stays.
            let peer = other.peer
            let first = nodes[0].peer
            for node in [nodes[0], other] { node.mesh.setUse { $0 == peer || $0 == first } }
            try await nodes[0].mesh.requestConnection(to: peer).get()
            try await Task.sleep(for: .seconds(2))
            #expect(nodes[0].mesh.isAdmitted(peer))
            try await other.swarm.shutDown().get()
            try await eventually("the end of a node to be known to all", within: .seconds(2)) {
                for node in nodes where node.peer != peer {
                    if try await present(node).contains(peer) { return false }
                }
                return true
            }
        }
    }
}
