import Ledger
import LibP2P
import MeshSimulation
import Testing
import Timing

@testable import MeshNetwork

@Suite("Overlay")
struct OverlayTests {
    /// A world whose nodes all start within half a second, and see one another.
    private func settled(_ count: Int, seed: UInt64) throws -> OverlayWorld {
        var world = OverlayWorld(count: count, seed: seed)
        for index in 0..<count {
            world.start(index)
            world.run(for: .milliseconds(500 / count))
        }
        let took = try #require(world.run(within: .seconds(20)) { $0.isSettled }, "seed \(seed)")
        #expect(took < .seconds(5), "seed \(seed): \(took)")
        return world
    }

    @Test("all see all, soon, with few connections", arguments: [2, 3, 9, 10, 20])
    func boot(count: Int) throws {
        for seed in UInt64(1)...2 {
            var world = try settled(count, seed: seed)
            world.run(for: .seconds(60))
            #expect(world.isSettled, "seed \(seed)")
            let most = world.nodes.map(\.connectionCount).max() ?? 0
            #expect(most <= RingNeighbours.degree, "seed \(seed)")
            #expect(world.deadlineFault == nil, "seed \(seed)")
            if count <= RingNeighbours.degree + 1 {
                #expect(world.nodes.allSatisfy { $0.connectionCount == count - 1 }, "seed \(seed)")
            }
        }
    }

    @Test("nothing is said while nothing happens, but one comparison now and then")
    func quiet() throws {
        var world = try settled(20, seed: 7)
        world.run(for: .seconds(60))
        world.resetCounts()
        world.run(for: .seconds(3600))
        let frames = world.nodes.map(\.frames).max() ?? 0
        #expect(frames <= 16, "\(frames) frames an hour")
        #expect(world.isSettled)
        #expect(world.nodes.allSatisfy { $0.dials == 0 })
    }

    @Test("with ledgers above it: a key is on all within a second, and what is said at rest does not grow")
    func ledgers() throws {
        var resting: [Int: Int] = [:]
        for count in [12, 36] {
            var world = try settled(count, seed: 5)
            world.openLedgers()
            #expect((0..<count).allSatisfy { world.ledgerSize($0) == 2 * count })
            world.run(for: .seconds(60))
            world.resetCounts()
            world.run(for: .seconds(3600))
            resting[count] = world.nodes.map(\.bytes).reduce(0, +) / count
            #expect(world.isSettled)
            #expect((0..<count).allSatisfy { world.ledgerSize($0) == 2 * count })
            world.resetCounts()
            let (key, value) = (EntryID("test", "key"), LedgerText("\"of one node\""))
            #expect(!world.allHold(key, value))
            world.write(key, value, on: 3)
            let took = try #require(world.run(within: .seconds(20)) { $0.allHold(key, value) })
            #expect(took < .seconds(1), "\(count) nodes: \(took)")
            world.run(for: .seconds(60))
            let cost = world.nodes.map(\.bytes).reduce(0, +) / count
            #expect(cost < 6000, "\(count) nodes: \(cost) bytes a node for one key")
        }
        let (few, many) = (try #require(resting[12]), try #require(resting[36]))
        print("with ledgers a node at rest sends \(few) bytes an hour among 12, \(many) among 36")
        #expect(many < 2 * few && many < 50_000)
    }

    @Test("a process that ends is gone everywhere within a second", arguments: [3, 10, 20])
    func killed(count: Int) throws {
        for seed in UInt64(1)...2 {
            var world = try settled(count, seed: seed)
            world.run(for: .seconds(30))
            world.stop(1, silently: false)
            let took = world.run(within: .seconds(20)) { $0.isSettled }
            #expect(try #require(took) < .seconds(1), "seed \(seed)")
            world.run(for: .seconds(30))
            #expect(world.isSettled, "seed \(seed)")
        }
    }

    /// The first of the neighbours to notice makes the others ask: that one's keep-alive, half a second
    /// until the suspicion is examined, four for the answer, and the way of the news.
    @Test("a machine without power is gone five seconds after the first neighbour notices")
    func powerCut() throws {
        for seed in UInt64(1)...3 {
            var world = try settled(20, seed: seed)
            world.run(for: .seconds(30))
            world.silence = .seconds(10) ... .seconds(25)
            let probes = world.nodes.map { $0.overlay?.counters.probes ?? 0 }
            world.stop(5, silently: true)
            let peer = world.nodes[5].peer
            let noticed = world.run(within: .seconds(30)) { world in
                zip(world.nodes, probes).contains { $0.overlay?.counters.probes ?? 0 > $1 }
            }
            _ = try #require(noticed)
            let took = try #require(
                world.run(within: .seconds(30)) {
                    $0.nodes.allSatisfy { $0.overlay?.present.contains(peer) != true }
                })
            #expect(took < .seconds(5), "seed \(seed): \(took) after \(String(describing: noticed))")
        }
    }

    @Test("both sides of a partition see their own, and after it all again", arguments: [3, 10, 20])
    func partition(count: Int) throws {
        for seed in UInt64(1)...2 {
            var world = try settled(count, seed: seed)
            world.run(for: .seconds(30))
            world.partition { $0 % 3 == 0 ? 0 : 1 }
            let split = try #require(world.run(within: .seconds(60)) { $0.isSettled }, "seed \(seed)")
            #expect(split < .seconds(30), "seed \(seed)")
            world.run(for: .seconds(120))
            #expect(world.isSettled, "seed \(seed)")
            world.partition { _ in 0 }
            let healed = try #require(world.run(within: .seconds(400)) { $0.isSettled }, "seed \(seed)")
            #expect(healed < .seconds(180), "seed \(seed): \(healed)")
        }
    }

    @Test("half of the nodes at once, and all come back")
    func massacre() throws {
        for seed in UInt64(1)...2 {
            var world = try settled(20, seed: seed)
            world.run(for: .seconds(30))
            for index in 0..<10 { world.stop(index, silently: true) }
            #expect(world.run(within: .seconds(60)) { $0.isSettled } != nil, "seed \(seed)")
            for index in 0..<10 { world.start(index) }
            #expect(world.run(within: .seconds(20)) { $0.isSettled } != nil, "seed \(seed)")
            world.run(for: .seconds(60))
            #expect(world.isSettled, "seed \(seed)")
            #expect(world.nodes.allSatisfy { $0.connectionCount <= RingNeighbours.degree }, "seed \(seed)")
        }
    }

    @Test("a node that hears of only one other gets to know all")
    func introduction() throws {
        var world = try settled(20, seed: 3)
        world.run(for: .seconds(30))
        world.stop(4, silently: false)
        world.run(for: .seconds(10))
        world.start(4, hearing: false)
        world.introduce(9, to: 4)
        let took = try #require(world.run(within: .seconds(10)) { $0.isSettled })
        #expect(took < .seconds(1))
    }

    @Test("a connection on demand comes about and goes when nobody uses it")
    func onDemand() throws {
        var world = try settled(20, seed: 5)
        world.run(for: .seconds(60))
        let other = try #require((1..<20).first { !world.isConnected(0, $0) })
        world.request(0, other)
        #expect(world.run(within: .seconds(1)) { $0.isConnected(0, other) } != nil)
        world.run(for: .seconds(8))
        #expect(world.isConnected(0, other))
        world.run(for: .seconds(10))
        #expect(!world.isConnected(0, other))
        world.pin(true, 0, other)
        world.run(for: .seconds(60))
        #expect(world.isConnected(0, other))
        world.pin(false, 0, other)
        world.run(for: .seconds(30))
        #expect(!world.isConnected(0, other) && world.isSettled)
    }
}
