import LibP2P
import NIOCore
import NIOPosix
import Testing

@Suite("the end of a swarm", .serialized, .timeLimit(.minutes(2)))
struct SwarmShutdownTests {
    /// In debug builds NIO ends the process when a loop is gone before a promise of it was kept.
    @Test("when it has shut down nothing of it is under way any more, so that its loops may end")
    func leavesNothingUnderWay() async throws {
        let other = try await SwarmWorld.node()
        let addresses = try await other.addresses()
        for round in 0..<120 {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
            let node = try await SwarmWorld.node(on: group)
            let (swarm, peer) = (node.swarm, node.peer)
            let listening = try await node.addresses()
            async let dialled: Void? = try? swarm.dial(other.peer, addresses: addresses).get()
            async let dialling: Void? = try? other.swarm.dial(peer, addresses: listening).get()
            try await Task.sleep(for: .microseconds(round * 100))
            try await swarm.shutDown().get()
            try await group.shutdownGracefully()
            _ = await (dialled, dialling)
        }
        try await other.swarm.shutDown().get()
    }
}
