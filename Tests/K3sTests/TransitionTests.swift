internal import Testing
internal import Timing

@testable import K3s

@Suite("Changes of epoch and role")
struct TransitionTests {
    static func observation(
        _ state: DesiredState, record: ClusterRecord?, remains: Set<ClusterRemains> = [.server, .kubeconfig]
    ) -> Observation {
        var observation = PlanTests.settled(state, activity: .inactive)
        observation.record = record.map { .known($0) } ?? .missing
        observation.remains = remains
        observation.hasEtcdData = remains.contains(.server)
        return observation
    }

    static func names(_ observation: Observation, _ state: DesiredState) -> [String] {
        PlanTests.names(PlanTests.plan(observation, state))
    }

    @Test("a returning founder of an older epoch stops, sets its data aside, and then joins")
    func oldFounder() throws {
        let state = try Sample.state(.agent(Sample.join()), epoch: 2)
        var observation = Self.observation(
            state, record: .init(epoch: 1, role: .server, datastore: .etcd),
            remains: Set(ClusterRemains.allCases))
        observation.other = ServiceStatus(activity: .active, isEnabled: true)
        observation.files[state.layout.startPermit(.server)] = .regular(content: "epoch 1\n", mode: 0o600)
        let first = PlanTests.plan(observation, state)
        #expect(
            PlanTests.names(first) == [
                "remove kairos-agent.starts-k3s.service", "remove kairos-agent.starts-k3s-agent.service",
                "stop server",
            ])
        #expect(first.obstacle == .otherStillRuns("k3s.service"))
        observation.other.activity = .inactive
        for command in K3sCommand.allCases { observation.files[state.layout.startPermit(command)] = .missing }
        let second = Self.names(observation, state)
        #expect(
            second == [
                "cluster pending", "set aside server of 1", "set aside agent of 1",
                "set aside kubeconfig of 1", "cluster", "disable server", "reload",
                "write kairos-agent.starts-k3s-agent.service", "start agent",
            ])
    }

    @Test("nothing is moved when nothing changed, and another role keeps what belongs to the node")
    func minimal() throws {
        let founder = try Sample.state(Sample.founding(highlyAvailable: true))
        let same = Self.observation(
            founder, record: .init(epoch: 1, role: .server, datastore: .etcd, etcdAddress: "10.1.0.11"))
        #expect(Self.names(same, founder) == ["start server"])
        let agent = try Sample.state(.agent(Sample.join()))
        let demoted = Self.names(
            Self.observation(
                agent, record: .init(epoch: 1, role: .server), remains: Set(ClusterRemains.allCases)), agent)
        #expect(demoted.contains("set aside server of 1") && !demoted.contains("set aside agent of 1"))
        let server = try Sample.state(.server(Sample.join()))
        let promoted = Self.observation(server, record: .init(epoch: 1, role: .agent), remains: [.agent])
        #expect(
            Self.names(promoted, server) == [
                "remove kairos-agent.starts-k3s.service", "cluster",
                "write kairos-agent.starts-k3s.service", "start server",
            ])
    }

    @Test("data without a record are taken in the first epoch, and set aside in a later one")
    func withoutRecord() throws {
        let first = try Sample.state(Sample.founding(highlyAvailable: true))
        #expect(Self.names(Self.observation(first, record: nil), first) == ["cluster", "start server"])
        let later = try Sample.state(.server(Sample.join()), epoch: 2)
        #expect(
            Self.names(Self.observation(later, record: nil), later).prefix(5) == [
                "remove kairos-agent.starts-k3s.service", "cluster pending", "set aside server of 0",
                "set aside kubeconfig of 0", "cluster",
            ])
    }

    @Test("older news than the data's are refused, and so is a record that cannot be read")
    func refusals() throws {
        let state = try Sample.state(Sample.founding())
        var observation = Self.observation(state, record: .init(epoch: 3, role: .agent))
        #expect(PlanTests.plan(observation, state).obstacle == .epochIsOver(told: 1, known: 3))
        #expect(PlanTests.plan(observation, state).actions.isEmpty)
        observation.record = .unreadable
        #expect(
            PlanTests.plan(observation, state).obstacle == .recordUnreadable(state.layout.clusterRecord))
        #expect(PlanTests.plan(observation, state).actions.isEmpty)
    }

    @Test("a founder whose data are gone does not found again, but joins a standby when there is one")
    func goneData() throws {
        let record = ClusterRecord(epoch: 1, role: .server, datastore: .etcd)
        let alone = try Sample.state(Sample.founding(highlyAvailable: true))
        let lost = Self.observation(alone, record: record, remains: [])
        #expect(PlanTests.plan(lost, alone).obstacle == .datastoreGone(.etcd))
        #expect(PlanTests.plan(lost, alone).actions.isEmpty)
        let accompanied = try Sample.state(
            Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443"))
        let joins = PlanTests.plan(Self.observation(accompanied, record: record, remains: []), accompanied)
        #expect(joins.obstacle == nil && PlanTests.names(joins) == ["start server"])
    }

    @Test("a founder on SQLite gets no server to join before its data are migrated")
    func migration() throws {
        let state = try Sample.state(
            Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443"))
        var observation = Self.observation(state, record: .init(epoch: 1, role: .server, datastore: .sqlite))
        (observation.hasEtcdData, observation.hasSQLiteData) = (false, true)
        observation.files[state.layout.dropIn] = .missing
        func written() -> String? {
            for action in PlanTests.plan(observation, state).actions {
                if case .write(let file) = action, file.purpose == .config { return file.content }
            }
            return nil
        }
        #expect(try #require(written()).contains("cluster-init: true"))
        #expect(try !#require(written()).contains("server:"))
        (observation.hasEtcdData, observation.hasSQLiteData) = (true, false)
        #expect(try #require(written()).contains("server: \"https://10.1.0.2:6443\""))
    }

    @Test("the kind of datastore is fixed, but for SQLite to etcd")
    func datastoreKind() throws {
        let external = try Sample.state(Sample.founding(datastore: "postgres://u:p@h/db"))
        var observation = Self.observation(external, record: .init(epoch: 1, role: .server))
        #expect(
            PlanTests.plan(observation, external).obstacle == .datastoreFixed(is: .etcd, wanted: .external))
        observation = Self.observation(external, record: .init(epoch: 1, role: .server), remains: [])
        observation.own.activity = .active
        #expect(Self.names(observation, external) == ["cluster"])
        let embedded = try Sample.state(Sample.founding(highlyAvailable: true))
        observation = Self.observation(
            embedded, record: .init(epoch: 1, role: .server, datastore: .external), remains: [])
        #expect(
            PlanTests.plan(observation, embedded).obstacle == .datastoreFixed(is: .external, wanted: .etcd))
    }

    @Test("trap 7: etcd's address is known even when the file that had it is gone")
    func recordedAddress() throws {
        let state = try Sample.state(Sample.founding(highlyAvailable: true), facts: Sample.facts("10.1.0.99"))
        var observation = Self.observation(
            state, record: .init(epoch: 1, role: .server, datastore: .etcd, etcdAddress: "10.1.0.11"))
        observation.files[state.layout.dropIn] = .missing
        #expect(
            PlanTests.plan(observation, state).obstacle
                == .addressChanged(from: "10.1.0.11", to: "10.1.0.99"))
        observation.hasEtcdData = false
        observation.hasSQLiteData = true
        #expect(PlanTests.plan(observation, state).obstacle == nil)
    }

    @Test("a node that leaves stops K3s, sets all of it aside, and takes its own files away")
    func leaving() throws {
        let before = try Sample.state(.agent(Sample.join()))
        let state = DesiredState(leaving: 1, supervision: Sample.systemd)
        var observation = PlanTests.settled(before)
        (observation.own, observation.other) = (observation.other, observation.own)
        observation.remains = [.agent]
        #expect(
            Self.names(observation, state) == ["remove kairos-agent.starts-k3s-agent.service", "stop agent"])
        observation.other.activity = .inactive
        observation.files[state.layout.startPermit(.agent)] = .missing
        #expect(
            Self.names(observation, state) == [
                "cluster pending", "set aside agent of 1", "cluster", "disable agent",
                "remove 90-kairos-p2p.yaml", "remove 90-kairos-p2p.conf", "reload",
            ])
        let done = Observation(own: .init(activity: .inactive), other: .init(activity: .inactive))
        var settled = done
        settled.record = .known(.init(epoch: 1, role: .left))
        #expect(PlanTests.plan(settled, state).actions.isEmpty)
    }

    @Test("whatever is cut off at whatever step, the node ends where it should, and no data are lost")
    func powerCuts() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<400 {
            var node = ModelNode()
            var epoch: UInt64 = 1
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                if Int.random(in: 0..<3, using: &random) == 0 { epoch += 1 }
                let wish = try Self.wish(epoch, using: &random)
                try node.reach(wish, cuts: Int.random(in: 0...4, using: &random), using: &random)
                #expect(node.complaints.isEmpty, "seed \(seed): \(node.complaints)")
                if !node.complaints.isEmpty { return }
            }
        }
    }

    private static func wish(_ epoch: UInt64, using random: inout SeededGenerator) throws -> DesiredState {
        switch Int.random(in: 0..<5, using: &random) {
        case 0: try Sample.state(Sample.founding(), epoch: epoch)
        case 1: try Sample.state(Sample.founding(highlyAvailable: true), epoch: epoch)
        case 2: try Sample.state(.server(Sample.join()), epoch: epoch)
        case 3: try Sample.state(.agent(Sample.join()), epoch: epoch)
        default: DesiredState(leaving: epoch, supervision: Sample.systemd)
        }
    }
}
