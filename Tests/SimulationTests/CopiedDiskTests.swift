import Coordination
import MeshNetwork
import Simulation
import Testing
import Timing

@Suite("Two machines with one key")
struct CopiedDiskTests {
    @Test(
        "both say so and neither carries the API address, the copy starts no K3s, and all is well once it is gone"
    )
    func copiedFounder() throws {
        for (seed, servers) in [(1, 0), (2, 0), (3, 2), (4, 2)] as [(UInt64, Int)] {
            var scenario = Scenario(seed: seed, count: 4, quorum: 3)
            if servers > 0 { scenario.additionalServers = servers }
            var plain = World(scenario)
            plain.run(for: .seconds(90))
            let founder = try #require((0..<4).first { plain.role($0) == .founder })
            scenario.faults = [Fault(at: .seconds(90), .clone(founder, lasting: .seconds(60)))]
            var world = World(scenario, records: true)
            let copy = 4
            world.run(for: .seconds(97))
            for _ in 0..<50 {
                world.run(for: .seconds(1))
                for machine in [founder, copy] {
                    #expect(world.warnings(machine).contains { $0.contains("this node's key") })
                    #expect(!world.holdsAPIAddress(machine))
                }
                #expect(world.k3sIsReady(founder) && world.k3sStarts(copy) == 0)
            }
            #expect(world.waiting(copy).contains { $0.step == .role && $0.remedy != nil })
            #expect(world.waiting(founder).isEmpty)
            world.run(for: .seconds(80))
            #expect(world.warnings(founder).isEmpty)
            #expect(world.disorder.isEmpty, "seed \(seed): \(world.disorder)")
            #expect(world.violations.isEmpty, "seed \(seed): \(world.violations)")
            #expect(world.clusters.count == 1)
        }
    }
}
