import LibP2P
import Testing
import Timing

@testable import Coordination

@Suite("Voters and reasons")
struct VotersTests {
    /// A running cluster of `count` members, and its founder.
    private func running(count: Int, quorum: Int, seed: UInt64) throws -> (ElectionWorld, Int) {
        var world = ElectionWorld(count: count, quorum: quorum, seed: seed)
        world.run(for: .seconds(5))
        let decree = try #require(world.decree(0))
        let founder = try #require(world.index(of: decree.founder.peer))
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(3))
        try #require(world.decrees.allSatisfy { $0.isRunning })
        return (world, founder)
    }

    @Test("operators' words on all that are left found anew, though the server is gone and its voter with it")
    func refoundingWithoutServer() throws {
        var (world, founder) = try running(count: 9, quorum: 6, seed: 1)
        world.crash(founder, for: .seconds(86_400))
        world.run(for: .seconds(2))
        for index in 0..<9 where index != founder {
            world.wish(ElectionWishes(refoundAfter: 1), by: index)
        }
        world.run(for: .seconds(30))
        let others = (0..<9).filter { $0 != founder }.compactMap { world.decree($0) }
        #expect(others.allSatisfy { $0.epoch == 2 })
    }
}
