import Coordination
import Simulation
import Testing
import Timing

@Suite("Several servers on virtual time")
struct ServerTests {
    /// Five machines with so many servers besides the founder.
    private static func scenario(seed: UInt64, servers: Int, count: Int = 5) -> Scenario {
        var scenario = Scenario(seed: seed, count: count, quorum: count / 2 + 1)
        scenario.additionalServers = servers
        return scenario
    }

    private static func roles(_ world: World) -> [NodeRole?] { (0..<world.count).map { world.role($0) } }

    @Test(
        "as many servers as asked for, one after the other, and one of them holds the address",
        arguments: 1...4)
    func servers(_ additional: Int) {
        var world = World(Self.scenario(seed: 30 + UInt64(additional), servers: additional), records: true)
        world.run(for: .seconds(90))
        #expect(world.violations.isEmpty)
        #expect(world.disorder.isEmpty, "\(world.disorder) \(world.timeline)")
        #expect(Self.roles(world).count { $0 == .founder } == 1)
        #expect(Self.roles(world).count { $0 == .server } == additional)
        #expect((0..<5).count { world.holdsAPIAddress($0) } == 1)
        #expect(world.clusters.count == 1)
        #expect(world.clusters.first?.members.count == 1 + additional)
    }

    @Test("a cluster with one server moves to three when the cloud-config asks for them")
    func moreServers() {
        var scenario = Scenario(seed: 41, count: 4, quorum: 3)
        scenario.faults = [Fault(at: .seconds(10), .moreServers(2))]
        var world = World(scenario, records: true)
        world.run(for: .seconds(9))
        #expect(world.clusters.first?.isEtcd == false)
        world.run(for: .seconds(100))
        #expect(world.violations.isEmpty)
        #expect(world.disorder.isEmpty, "\(world.disorder) \(world.timeline)")
        #expect(world.clusters.count == 1, "the data moved, nothing was founded")
        #expect(world.clusters.first?.members.count == 3)
    }

    @Test("the address leaves a server whose API is ill, and does not return with its health")
    func illServer() {
        var world = World(Self.scenario(seed: 51, servers: 2), records: true)
        world.run(for: .seconds(60))
        guard let holder = (0..<5).first(where: { world.holdsAPIAddress($0) }) else {
            Issue.record("nobody holds the address: \(world.timeline)")
            return
        }
        var scenario = Self.scenario(seed: 51, servers: 2)
        scenario.faults = [Fault(at: .seconds(60), .illAPI(holder, lasting: .seconds(20)))]
        world = World(scenario, records: true)
        world.run(for: .seconds(70))
        let next = (0..<5).filter { world.holdsAPIAddress($0) }
        #expect(next.count == 1 && next.first != holder, "within ten seconds: \(world.timeline.suffix(20))")
        world.run(for: .seconds(60))
        #expect((0..<5).filter { world.holdsAPIAddress($0) } == next)
        #expect(world.violations.isEmpty)
    }

    @Test("a server that leaves is out of etcd, and another takes its place")
    func leave() {
        for leaver in 0..<5 {
            var scenario = Self.scenario(seed: 61, servers: 1)
            scenario.faults = [Fault(at: .seconds(60), .word(.leave, at: leaver))]
            var world = World(scenario, records: true)
            world.run(for: .seconds(240))
            #expect(world.violations.isEmpty)
            #expect(!world.clusterLeft)
            #expect(world.disorder.isEmpty, "n\(leaver): \(world.disorder) \(world.timeline)")
            #expect(world.role(leaver) == nil)
            #expect(Self.roles(world).count { $0 == .founder || $0 == .server } == 2)
        }
    }

    @Test(
        "of two servers one leaves, and the cluster outlives it whatever happens to either meanwhile",
        arguments: 0..<4)
    func disturbedLeave(_ kind: Int) {
        var departures = 0
        for leaver in 0..<5 {
            for delay in [2, 30, 90, 250, 700, 2500] {
                var scenario = Self.scenario(seed: 62, servers: 1)
                let word = Duration.seconds(60)
                let after = word + .milliseconds(Int64(delay))
                scenario.faults = [Fault(at: word, .word(.leave, at: leaver))]
                switch kind {
                case 0: scenario.faults.append(Fault(at: after, .kill(leaver, outage: .seconds(1))))
                case 1: scenario.faults.append(Fault(at: after, .powerCut(leaver, outage: .seconds(3))))
                case 2:
                    scenario.faults.append(
                        Fault(at: after, .partition(group: [leaver], lasting: .seconds(8))))
                    scenario.faults += (0..<5).filter { $0 != leaver }.map {
                        Fault(at: after + .seconds(3), .powerCut($0, outage: .seconds(2)))
                    }
                default:
                    scenario.faults += (0..<5).map {
                        Fault(at: after, .powerCut($0, outage: .milliseconds(1500 + 400 * Int64($0))))
                    }
                }
                var world = World(scenario, records: true)
                world.run(for: .seconds(300))
                #expect(world.violations.isEmpty, "n\(leaver), \(delay) ms: \(world.violations)")
                #expect(!world.clusterLeft, "n\(leaver), \(delay) ms: \(world.timeline)")
                #expect(world.disorder.isEmpty, "n\(leaver), \(delay) ms: \(world.disorder)")
                if world.timeline.contains(where: { $0.contains(" for now ") }) { departures += 1 }
            }
        }
        #expect(departures > 0, "no run met a server on its way out")
    }

    @Test("a founder that was away before it founded does not found when it returns to a cluster that runs")
    func lateFounder() {
        for cut in stride(from: 1000, to: 2200, by: 40) {
            for outage in [8, 19, 40] as [Int64] {
                for machine in 0..<3 {
                    var scenario = Scenario(seed: 74, count: 4, quorum: 3)
                    scenario.faults = [
                        Fault(
                            at: .milliseconds(Int64(cut)), .powerCut(machine, outage: .seconds(outage)))
                    ]
                    var world = World(scenario)
                    world.run(for: .seconds(outage + 40))
                    #expect(world.violations.isEmpty, "n\(machine) at \(cut) for \(outage) s")
                    #expect(world.disorder.isEmpty, "n\(machine) at \(cut): \(world.disorder)")
                }
            }
        }
    }

    @Test("a founder that loses its data before its cluster runs does not strand the network")
    func lostBeforeRunning() {
        for cut in stride(from: 1400, to: 2800, by: 100) {
            for machine in 0..<4 {
                var scenario = Scenario(seed: 73, count: 4, quorum: 4)
                let at = Duration.milliseconds(Int64(cut))
                scenario.faults = [
                    Fault(at: at, .powerCut((machine + 1) % 4, outage: .seconds(6))),
                    Fault(at: at + .seconds(3), .datastoreLost(machine, outage: .seconds(3))),
                ]
                var world = World(scenario, records: true)
                world.run(for: .seconds(120))
                #expect(world.violations.isEmpty)
                if world.endsWell {
                    #expect(world.disorder.isEmpty, "n\(machine) at \(cut): \(world.disorder)")
                }
            }
        }
    }

    @Test("a server that is gone for good is replaced once an operator says so, and not before")
    func forget() {
        var world = World(Self.scenario(seed: 71, servers: 2), records: true)
        world.run(for: .seconds(60))
        guard let server = (0..<5).first(where: { world.role($0) == .server }) else {
            Issue.record("no server: \(world.timeline)")
            return
        }
        var scenario = Self.scenario(seed: 71, servers: 2)
        scenario.faults = [
            Fault(at: .seconds(60), .death(server)),
            Fault(at: .seconds(100), .word(.forget(server), at: (server + 1) % 5)),
        ]
        world = World(scenario, records: true)
        world.run(for: .seconds(99))
        #expect(Self.roles(world).count { $0 == .founder || $0 == .server } == 2)
        world.run(for: .seconds(120))
        #expect(world.violations.isEmpty)
        #expect(world.disorder.isEmpty, "\(world.disorder) \(world.timeline)")
        #expect(Self.roles(world).count { $0 == .founder || $0 == .server } == 3)
    }

    @Test(
        "a server that is forgotten the moment it died is not called back by those who have not missed it yet"
    )
    func forgetAtOnce() throws {
        var world = World(Self.scenario(seed: 72, servers: 2), records: true)
        world.run(for: .seconds(60))
        let server = try #require((0..<5).first { world.role($0) == .server })
        for sayer in (0..<5) where sayer != server {
            var scenario = Self.scenario(seed: 72, servers: 2)
            scenario.faults = [
                Fault(at: .seconds(60), .death(server)),
                Fault(at: .milliseconds(60_001), .word(.forget(server), at: sayer)),
            ]
            world = World(scenario, records: true)
            world.run(for: .seconds(200))
            #expect(world.disorder.isEmpty, "\(sayer): \(world.disorder)")
            #expect(world.violations.isEmpty)
        }
    }

    @Test("reset-cluster founds anew, and a former server that was away moves over")
    func resetCluster() {
        var scenario = Self.scenario(seed: 81, servers: 2)
        scenario.faults = [
            Fault(at: .seconds(60), .partition(group: [4], lasting: .seconds(30))),
            Fault(at: .seconds(70), .word(.resetCluster, at: 2)),
        ]
        var world = World(scenario, records: true)
        world.run(for: .seconds(240))
        #expect(world.violations.isEmpty)
        #expect(world.clusters.count == 2)
        #expect(world.disorder.isEmpty, "\(world.disorder) \(world.timeline)")
    }

    @Test("arguments that change everywhere at once restart one server at a time")
    func restarts() {
        var scenario = Self.scenario(seed: 91, servers: 2)
        scenario.faults = [Fault(at: .seconds(60), .newArguments)]
        var world = World(scenario, records: true)
        world.run(for: .seconds(200))
        #expect(world.violations.isEmpty)
        #expect(world.disorder.isEmpty, "\(world.disorder) \(world.timeline)")
        #expect(world.clusters.count == 1)
    }

    @Test(
        "a server that stays away as long as the cloud-config allows is replaced, and one that returns is not"
    )
    func replacement() throws {
        var scenario = Self.scenario(seed: 95, servers: 2)
        scenario.replacesServersAfter = .seconds(60)
        var world = World(scenario)
        world.run(for: .seconds(60))
        let before = Self.roles(world)
        for server in before.indices where before[server] != .agent {
            scenario.faults = [Fault(at: .seconds(60), .death(server))]
            world = World(scenario, records: true)
            world.run(for: .seconds(119))
            #expect(Self.roles(world).count { $0 == .founder || $0 == .server } == 2, "n\(server)")
            world.run(for: .seconds(60))
            #expect(world.violations.isEmpty, "n\(server): \(world.violations)")
            #expect(world.disorder.isEmpty, "n\(server): \(world.disorder) \(world.timeline)")
            #expect(world.isForgotten(server))
            #expect(Self.roles(world).count { $0 == .founder || $0 == .server } == 3)
            #expect(world.clusters.count == 1)

            scenario.faults = [Fault(at: .seconds(60), .powerCut(server, outage: .seconds(50)))]
            world = World(scenario, records: true)
            world.run(for: .seconds(240))
            #expect(world.violations.isEmpty, "n\(server): \(world.violations)")
            #expect(Self.roles(world) == before, "n\(server): \(world.timeline)")
        }
    }

    @Test(
        "with dynamic roles the role of whoever is gone past the limit is freed, and given anew on its return"
    )
    func dynamicRoles() throws {
        var scenario = Scenario(seed: 96, count: 4, quorum: 3)
        scenario.freesRolesAfter = .seconds(60)
        var world = World(scenario)
        world.run(for: .seconds(30))
        let agent = try #require((0..<4).first { world.role($0) == .agent })
        scenario.faults = [Fault(at: .seconds(30), .powerCut(agent, outage: .seconds(120)))]
        world = World(scenario, records: true)
        world.run(for: .seconds(89))
        #expect(!world.isForgotten(agent))
        world.run(for: .seconds(40))
        #expect(world.isForgotten(agent))
        world.run(for: .seconds(120))
        #expect(world.violations.isEmpty, "\(world.violations)")
        #expect(world.disorder.isEmpty, "\(world.disorder) \(world.timeline)")
        #expect(!world.isForgotten(agent))
        #expect(world.role(agent) == .agent)

        scenario.freesRolesAfter = nil
        world = World(scenario, records: true)
        world.run(for: .seconds(149))
        #expect(!world.isForgotten(agent))
    }
}
