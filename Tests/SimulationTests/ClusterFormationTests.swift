import Coordination
import MeshNetwork
import Simulation
import Testing
import Timing
import VPN

@Suite("Whole nodes on virtual time")
struct ClusterFormationTests {
    @Test("three nodes that boot together have addresses, one server and two agents within five seconds")
    func formation() {
        var world = World(Scenario(seed: 1), records: true)
        world.run(for: .seconds(5))
        #expect(world.violations.isEmpty)
        #expect(world.disorder.isEmpty, "\(world.timeline)")
        #expect((0..<3).filter { world.role($0) == .founder }.count == 1)
        #expect((0..<3).filter { world.role($0) == .agent }.count == 2)
        #expect((0..<3).allSatisfy { world.routes($0) == 2 && world.k3sIsReady($0) })
        #expect((0..<3).allSatisfy { world.waiting($0).isEmpty })
        #expect(world.clusters.count == 1)
    }

    @Test(
        "a node that reboots comes back with the same address and role, and K3s is started once")
    func reboot() {
        for index in 0..<3 {
            var scenario = Scenario(seed: 2)
            scenario.faults = [Fault(at: .seconds(5), .powerCut(index, outage: .seconds(1)))]
            var world = World(scenario, records: true)
            world.run(for: .milliseconds(4999))
            let address = world.address(index)
            let role = world.role(index)
            let starts = world.k3sStarts(index)
            world.run(for: .seconds(8))
            #expect(world.faultsInjected == 1)
            #expect(world.address(index) == address)
            #expect(world.role(index) == role)
            #expect(
                world.k3sStarts(index) == starts + 1, "once, when its data were found to be the right ones")
            #expect(world.disorder.isEmpty, "\(world.timeline)")
            #expect(world.violations.isEmpty)
        }
    }

    @Test("after the whole set was powered off it is the same cluster")
    func powerCycle() {
        var scenario = Scenario(seed: 3)
        scenario.faults = (0..<3).map {
            Fault(at: .seconds(6), .powerCut($0, outage: .seconds(10 + Int64($0))))
        }
        var world = World(scenario, records: true)
        world.run(for: .milliseconds(5999))
        let before = (0..<3).map { world.address($0) }
        world.run(for: .seconds(30))
        #expect((0..<3).map { world.address($0) } == before)
        #expect(world.clusters.count == 1)
        #expect(world.disorder.isEmpty, "\(world.timeline)")
        #expect(world.violations.isEmpty)
    }

    @Test("below the minimum every node says who is missing, and it goes on when the last one comes")
    func belowMinimum() {
        var scenario = Scenario(seed: 4)
        scenario.faults = [Fault(at: .zero, .partition(group: [2], lasting: .seconds(10)))]
        var world = World(scenario, records: true)
        world.run(for: .milliseconds(9990))
        #expect(world.founders.isEmpty)
        #expect(
            world.waiting(0).contains {
                $0.what == "1 more node to elect the server (2 of 3 are here: node-0, node-1)"
            },
            "\(world.waiting(0))")
        world.run(for: .seconds(6))
        #expect(world.disorder.isEmpty, "\(world.timeline)")
    }

    @Test("two nodes with the same fixed address: one has it, the other says who holds it")
    func sameFixedAddress() throws {
        let address = try #require(VirtualAddress("10.1.0.50"))
        var scenario = Scenario(seed: 5, count: 2, quorum: 2)
        scenario.fixedAddresses = [0: address, 1: address]
        var world = World(scenario)
        world.run(for: .seconds(10))
        let holders = (0..<2).filter { world.address($0) == address }
        #expect(holders.count == 1)
        let other = 1 - (holders.first ?? 0)
        #expect(world.waiting(other).contains { $0.step == .address && $0.what.contains("10.1.0.50") })
    }

    @Test("a node whose clock is hours off joins like any other")
    func clockSkew() {
        var scenario = Scenario(seed: 6)
        scenario.clockSkew = [1: .seconds(7200), 2: .seconds(-5400)]
        var world = World(scenario, records: true)
        world.run(for: .seconds(10))
        #expect(world.disorder.isEmpty, "\(world.timeline)")
        #expect(world.violations.isEmpty)
    }
}
