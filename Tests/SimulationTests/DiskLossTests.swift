import Coordination
import MeshNetwork
import Simulation
import Testing
import Timing

@Suite("Disks that forget")
struct DiskLossTests {
    @Test(
        "the founder of a cluster that runs never founds a second one, whatever its disk has lost, and says so",
        arguments: Fault.Loss.allCases)
    func founder(_ loss: Fault.Loss) throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            var scenario = Scenario(seed: seed, count: 4, quorum: 3)
            scenario.faults = (0..<4).map {
                Fault(at: .seconds(20 + Int64($0)), .diskLost($0, loss, outage: .seconds(2)))
            }
            // Whoever the founder is, one node's disk at a time: only one of the faults is kept.
            var plain = World(scenario)
            plain.run(for: .seconds(18))
            let founder = try #require((0..<4).first { plain.role($0) == .founder })
            scenario.faults = [scenario.faults[founder]]
            var world = World(scenario, records: true)
            world.run(for: .seconds(140))
            #expect(world.violations.isEmpty, "seed \(seed): \(world.violations)")
            #expect(world.clusters.count == 1, "seed \(seed)")
            #expect(
                world.waiting(founder).contains {
                    $0.what.contains("gone from its disk") && $0.remedy != nil
                },
                "seed \(seed): \(world.waiting(founder))")
        }
    }

    @Test("a founder that lost its disk joins the servers that run", arguments: Fault.Loss.allCases)
    func server(_ loss: Fault.Loss) throws {
        for seed in 1...3 as ClosedRange<UInt64> {
            var scenario = Scenario(seed: seed, count: 4, quorum: 3)
            scenario.additionalServers = 2
            var plain = World(scenario)
            plain.run(for: .seconds(90))
            let founder = try #require((0..<4).first { plain.role($0) == .founder })
            scenario.faults = [Fault(at: .seconds(90), .diskLost(founder, loss, outage: .seconds(2)))]
            var world = World(scenario, records: true)
            world.run(for: .seconds(300))
            #expect(world.violations.isEmpty, "seed \(seed): \(world.violations)")
            #expect(world.clusters.count == 1, "seed \(seed)")
            #expect(world.disorder.isEmpty, "seed \(seed): \(world.disorder)")
        }
    }
}
