import Coordination
import MeshNetwork
import Testing
import Timing
import VPN

@Suite("Whole nodes on virtual time")
struct ClusterFormationTests {
    @Test("three nodes that boot together have addresses, one server and two agents within five seconds")
    func formation() {
        var world = NodeWorld(seed: 1)
        world.run(for: .seconds(5))
        #expect(world.disorder.isEmpty, "\(world.timeline)")
        #expect((0..<3).filter { world.role($0) == .founder }.count == 1)
        #expect((0..<3).filter { world.role($0) == .agent }.count == 2)
        #expect(world.nodes.allSatisfy { $0.routes.count == 2 })
        #expect((0..<3).allSatisfy { world.waiting($0).isEmpty })
    }

    @Test(
        "a node that reboots comes back with the same address and the same role, and restarts nothing twice")
    func reboot() {
        var world = NodeWorld(seed: 2)
        world.run(for: .seconds(5))
        for index in 0..<3 {
            let address = world.address(index)
            let role = world.role(index)
            world.crash(index, for: .seconds(1))
            world.run(for: .seconds(5))
            #expect(world.address(index) == address)
            #expect(world.role(index) == role)
            #expect(world.nodes[index].restartsOfK3s == 1, "K3s was reconfigured although nothing changed")
        }
        #expect(world.disorder.isEmpty)
    }

    @Test("after the whole set was powered off it is the same cluster")
    func powerCycle() {
        var world = NodeWorld(seed: 3)
        world.run(for: .seconds(6))
        let before = (0..<3).map { world.nodes[$0].k3s }
        for index in 0..<3 { world.crash(index, for: .seconds(10 + Int64(index))) }
        world.run(for: .seconds(30))
        #expect((0..<3).map { world.nodes[$0].k3s } == before)
        #expect(world.founders.count == 1)
    }

    @Test("below the minimum every node says who is missing, and it goes on when the last one comes")
    func belowMinimum() {
        var world = NodeWorld(.init(count: 3, quorum: 3), seed: 4)
        world.cut([2])
        world.run(for: .seconds(10))
        #expect(world.founders.isEmpty)
        #expect(
            world.waiting(0).contains {
                $0.what == "1 more node to elect the server (2 of 3 are here: node-0, node-1)"
            },
            "\(world.waiting(0))")
        world.stopFaults()
        world.run(for: .seconds(5))
        #expect(world.disorder.isEmpty, "\(world.timeline)")
    }

    @Test("two nodes with the same fixed address: one has it, the other says who holds it")
    func sameFixedAddress() throws {
        let address = try #require(VirtualAddress("10.1.0.50"))
        var world = NodeWorld(.init(count: 2, quorum: 2, fixedAddresses: [0: address, 1: address]), seed: 5)
        world.run(for: .seconds(10))
        let holders = (0..<2).filter { world.address($0) == address }
        #expect(holders.count == 1)
        let other = 1 - (holders.first ?? 0)
        #expect(world.waiting(other).contains { $0.step == .address && $0.what.contains("10.1.0.50") })
    }

    @Test("a node whose clock is hours off joins like any other")
    func clockSkew() {
        var world = NodeWorld(
            .init(count: 3, quorum: 3, clockSkew: [1: .seconds(7200), 2: .seconds(-5400)]), seed: 6)
        world.run(for: .seconds(10))
        #expect(world.disorder.isEmpty, "\(world.timeline)")
    }

    @Test(
        "under crashes, cuts, loss and failing disks there is never a second founder, and order returns",
        arguments: 1...5)
    func faults(block: Int) {
        for seed in UInt64(block * 1000)..<UInt64(block * 1000 + 12) {
            var random = SeededGenerator(seed: seed)
            let count = Int.random(in: 3...6, using: &random)
            let options = NodeWorld.Options(count: count, quorum: count / 2 + 1)
            let faults = NodeWorld.Faults(
                longestDelay: .milliseconds(200), loss: 0.15, crash: 0.01, partition: 0.04, diskFailure: 0.05)
            var world = NodeWorld(options, seed: seed, faults: faults)
            world.run(for: .seconds(20))
            world.stopFaults()
            world.run(for: .seconds(40))
            #expect(world.violations.isEmpty, "seed \(seed): \(world.violations)")
            #expect(
                world.disorder.isEmpty,
                "seed \(seed): \(world.disorder)\n\(world.timeline.joined(separator: "\n"))")
        }
    }
}
