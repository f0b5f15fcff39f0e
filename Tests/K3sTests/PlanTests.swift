internal import Testing

@testable import K3s

@Suite("From what is to what should be")
struct PlanTests {
    static let binary = "/usr/bin/k3s"

    /// A node on which everything is as `state` wants it.
    static func settled(_ state: DesiredState, activity: ServiceStatus.Activity = .active) -> Observation {
        var observation = Observation(
            binary: binary, own: ServiceStatus(activity: activity, isEnabled: true),
            other: ServiceStatus(activity: .inactive, isEnabled: false), applied: "\(state.fingerprint)",
            isDeployed: true)
        observation.record = .known(ClusterRecord(epoch: state.epoch, role: state.role.recorded))
        if let permit = state.startPermit {
            observation.files[permit.path] = .regular(content: permit.content, mode: 0o600)
        }
        for file in state.files(binary: binary) {
            observation.files[file.path] = .regular(content: file.content, mode: 0o600)
        }
        return observation
    }

    static func plan(_ observation: Observation, _ state: DesiredState, mayStart: Bool = true) -> Plan {
        Plan(from: observation, to: state, applied: observation.applied, mayStart: mayStart)
    }

    /// A name for an action that reads well in an expectation.
    static func names(_ plan: Plan) -> [String] {
        plan.actions.map { action in
            switch action {
            case .write(let file): "write " + (file.path.split(separator: "/").last.map(String.init) ?? "")
            case .remove(let path): "remove " + (path.split(separator: "/").last.map(String.init) ?? "")
            case .reloadDefinitions: "reload"
            case .disable(let command): "disable \(command.rawValue)"
            case .stop(let command): "stop \(command.rawValue)"
            case .enable(let command): "enable \(command.rawValue)"
            case .start(let command): "start \(command.rawValue)"
            case .restart(let command): "restart \(command.rawValue)"
            case .recordApplied: "record"
            case .markDeployed: "deployed"
            case .recordCluster(let record): record.pending.isEmpty ? "cluster" : "cluster pending"
            case .setAside(let remains, let epoch): "set aside \(remains.rawValue) of \(epoch)"
            }
        }
    }

    @Test("nothing is done where nothing differs")
    func settled() throws {
        let state = try Sample.state(Sample.founding())
        let plan = Self.plan(Self.settled(state), state)
        #expect(
            plan.actions.isEmpty && plan.changes.isEmpty && plan.diffs.isEmpty && plan.obstacle == nil
                && plan.warnings.isEmpty)
    }

    @Test("on a new node files come first, then systemd, then K3s")
    func new() throws {
        let state = try Sample.state(
            Sample.founding(), server: .init(arguments: ["--disable=traefik"], environment: ["A": "b"]))
        let observation = Observation(
            binary: Self.binary, own: ServiceStatus(activity: .inactive, isEnabled: false),
            other: ServiceStatus(activity: .inactive, isEnabled: true))
        #expect(
            Self.names(Self.plan(observation, state)) == [
                "cluster", "write 90-kairos-p2p.yaml", "write kairos-p2p.env", "write 90-kairos-p2p.conf",
                "disable agent", "enable server", "reload", "write kairos-agent.starts-k3s.service",
                "start server", "record",
            ])
    }

    @Test("a start that systemd has queued is not asked for again")
    func queued() throws {
        let state = try Sample.state(Sample.founding())
        var observation = Self.settled(state, activity: .inactive)
        observation.own.isQueued = true
        #expect(Self.plan(observation, state).actions.isEmpty)
        observation.own.isQueued = false
        #expect(Self.names(Self.plan(observation, state)) == ["start server"])
    }

    @Test("the sentinel follows the first success only")
    func sentinel() throws {
        let state = try Sample.state(Sample.founding())
        var observation = Self.settled(state)
        observation.isDeployed = false
        #expect(Self.names(Self.plan(observation, state)) == ["deployed"])
        observation.own.activity = .activating
        #expect(Self.plan(observation, state).actions.isEmpty)
    }

    @Test("K3s is restarted only when something that it reads has changed")
    func restart() throws {
        let before = try Sample.state(.agent(Sample.join()))
        let moved = try Sample.state(.agent(Sample.join("https://10.1.0.3:6443")))
        #expect(
            Self.names(Self.plan(Self.settled(before), moved)) == [
                "write 90-kairos-p2p.yaml", "restart agent", "record",
            ])
        var reworded = Self.settled(before)
        reworded.files[before.layout.dropIn] = .regular(content: "# old words\n", mode: 0o600)
        #expect(Self.names(Self.plan(reworded, before)) == ["write 90-kairos-p2p.yaml"])
    }

    @Test("a mode that others can read is put right without a restart")
    func mode() throws {
        let state = try Sample.state(Sample.founding())
        var observation = Self.settled(state)
        guard case .regular(let content, _) = observation.files[state.layout.dropIn] else { return }
        observation.files[state.layout.dropIn] = .regular(content: content, mode: 0o644)
        let plan = Self.plan(observation, state)
        #expect(Self.names(plan) == ["write 90-kairos-p2p.yaml"])
        #expect(plan.diffs.last?.lines.last == "  (mode)")
    }

    @Test("systemd reads its files again only when a unit's has changed")
    func reload() throws {
        let before = try Sample.state(.agent(Sample.join()))
        let after = try Sample.state(.agent(Sample.join()), agent: .init(arguments: ["--debug"]))
        #expect(
            Self.names(Self.plan(Self.settled(before), after)) == [
                "write 90-kairos-p2p.conf", "reload", "restart agent", "record",
            ])
        var stale = Self.settled(before)
        stale.own.needsReload = true
        #expect(Self.names(Self.plan(stale, before)) == ["reload"])
    }

    @Test("another role's leftovers go, and its service is gone before K3s starts")
    func roleChange() throws {
        let agent = try Sample.state(.agent(Sample.join()), agent: .init(environment: ["A": "b"]))
        let server = try Sample.state(.server(Sample.join()))
        var observation = Self.settled(agent)
        (observation.own, observation.other) = (observation.other, observation.own)
        let plan = Self.plan(observation, server)
        // Nothing starts by itself with the new role's file before the old role is over.
        #expect(Self.names(plan) == ["remove kairos-agent.starts-k3s-agent.service", "stop agent"])
        #expect(plan.obstacle == .otherStillRuns("k3s-agent.service"))

        observation.other.activity = .inactive
        observation.files[agent.layout.startPermit(.agent)] = .missing
        #expect(
            Self.names(Self.plan(observation, server)) == [
                "cluster", "write 90-kairos-p2p.yaml", "write 90-kairos-p2p.conf", "remove kairos-p2p.env",
                "remove 90-kairos-p2p.conf", "disable agent", "enable server", "reload",
                "write kairos-agent.starts-k3s.service", "start server", "record",
            ])

        var later = Self.settled(server, activity: .inactive)
        later.applied = "\(agent.fingerprint)"
        later.other = ServiceStatus(activity: .deactivating, isEnabled: false)
        #expect(Self.plan(later, server).actions.isEmpty)
        later.other.activity = .inactive
        #expect(Self.names(Self.plan(later, server)) == ["start server", "record"])
    }

    @Test("the drop-in of stock Kairos goes, a user's own of the same name stays")
    func stockOverride() throws {
        let state = try Sample.state(Sample.founding())
        let path = state.layout.stockOverride(.server)
        var observation = Self.settled(state)
        observation.files[path] = .regular(
            content: "\n[Service]\nExecStart=\nExecStart=/usr/bin/k3s server --flannel-iface=edgevpn0\n",
            mode: 0o600)
        #expect(Self.names(Self.plan(observation, state)) == ["remove override.conf", "reload"])
        for content in [
            "[Service]\nExecStart=\nExecStart=/usr/bin/k3s server\n",
            "\n[Service]\nExecStart=\nExecStart=/opt/k3s x\n",
            "\n[Service]\nExecStart=\nExecStart=/usr/bin/k3s server\nRestart=no\n",
        ] {
            observation.files[path] = .regular(content: content, mode: 0o644)
            #expect(Self.plan(observation, state).actions.isEmpty, "\(content)")
        }
    }

    @Test("without binary or usable unit the files are written and nothing is started")
    func obstacles() throws {
        let state = try Sample.state(Sample.founding())
        var observation = Self.settled(state, activity: .inactive)
        observation.binary = nil
        #expect(
            Self.plan(observation, state).obstacle
                == .binaryMissing(places: ["/usr/bin/k3s", "/usr/local/bin/k3s"]))
        #expect(Self.plan(observation, state).actions.isEmpty)
        observation.binary = Self.binary
        let cases: [(ServiceStatus.Definition, Plan.Obstacle)] = [
            (.missing, .unitMissing("k3s.service")), (.masked, .unitMasked("k3s.service")),
            (.broken("bad-setting"), .unitBroken("k3s.service", reason: "bad-setting")),
        ]
        for (definition, obstacle) in cases {
            observation.own.definition = definition
            let plan = Self.plan(observation, state)
            #expect(plan.obstacle == obstacle && plan.actions.isEmpty)
        }
        let fresh = Observation(
            own: .init(definition: .missing, activity: .inactive), other: .init(activity: .inactive))
        #expect(
            Self.names(Self.plan(fresh, state)) == [
                "cluster", "write 90-kairos-p2p.yaml", "write 90-kairos-p2p.conf", "reload",
            ])
    }

    @Test("trap 7: an etcd server whose address changes is left as it is")
    func etcdAddress() throws {
        let before = try Sample.state(Sample.founding(highlyAvailable: true))
        let after = try Sample.state(Sample.founding(highlyAvailable: true), facts: Sample.facts("10.1.0.99"))
        var observation = Self.settled(before)
        observation.hasEtcdData = true
        let plan = Self.plan(observation, after)
        #expect(plan.obstacle == .addressChanged(from: "10.1.0.11", to: "10.1.0.99"))
        // The ways out of contract/k3s.md §11.3, in the words that status has; also while K3s still runs.
        for isUp in [true, false] {
            observation.own.activity = isUp ? .active : .inactive
            let said = try #require(
                K3sWait.reason(observation, plan: plan, desired: after, isCrashLooping: false))
            #expect(
                said.what
                    == "the node's address to be 10.1.0.11 again: its etcd knows no other, and it is 10.1.0.99 now"
            )
            #expect(
                said.remedy
                    == "give the node its address back; or, with other servers ready, have it leave the cluster and"
                    + " join again; alone, `k3s server --cluster-reset` with the new node-ip and no server key"
            )
        }
        observation.own.activity = .active
        // What etcd knows is remembered; nothing else happens.
        #expect(Self.names(plan) == ["cluster"])
        observation.hasEtcdData = false
        #expect(Self.plan(observation, after).obstacle == nil)
    }

    @Test("a server that goes runs until it is out of etcd, starts again meanwhile, and never afterwards")
    func departure() throws {
        var state = try Sample.state(Sample.founding(highlyAvailable: true))
        var observation = Self.settled(state)
        observation.hasEtcdData = true
        state.isDeparting = true
        // K3s that is taken out ends, and would join anew if its unit started it again.
        #expect(Self.names(Self.plan(observation, state)) == ["remove kairos-agent.starts-k3s.service"])
        let permit = try #require(state.startPermit)
        observation.files[permit.path] = .missing
        #expect(Self.plan(observation, state).actions.isEmpty)

        // It fails, or the machine was without power: the others may need it.
        observation.own.activity = .failed
        #expect(
            Self.names(Self.plan(observation, state)).suffix(2) == [
                "write kairos-agent.starts-k3s.service", "start server",
            ])

        observation.isTakenOut = true
        let out = Self.plan(observation, state)
        #expect(out.obstacle == .takenOut("k3s.service") && out.actions.isEmpty)
        observation.own.activity = .activating
        #expect(Self.names(Self.plan(observation, state)) == ["stop server"])

        // Data of another epoch are none to go on with.
        observation.isTakenOut = false
        observation.record = .known(ClusterRecord(epoch: 7, role: .server))
        #expect(Self.plan(observation, state).obstacle == .takenOut("k3s.service"))
    }

    @Test("what changes is told without secrets")
    func masked() throws {
        let before = try Sample.state(.agent(Sample.join(token: "oldsecret")))
        let after = try Sample.state(
            .agent(Sample.join(token: "newsecret")),
            agent: .init(
                arguments: ["--vpn-auth=argsecret", "--debug"],
                environment: ["P": "envsecret", "K3S_NODE_NAME": "n"]))
        let text = Self.plan(Self.settled(before), after).lines.joined(separator: "\n")
        #expect(!text.contains("secret"), "\(text)")
        #expect(
            text.contains("token: *** → ***") && text.contains("+ P: ***")
                && text.contains("+ K3S_NODE_NAME: n")
                && text.contains("ExecStart: /usr/bin/k3s agent --vpn-auth=*** --debug"))
        let fresh = Self.plan(
            Observation(own: .init(activity: .inactive), other: .init(activity: .inactive)), after)
        #expect(!fresh.lines.joined().contains("secret"))
        #expect(fresh.lines.contains { $0.contains("node-ip: [\"10.1.0.11\"]") })
    }

    @Test("a server's key in an agent's own config file is told with file and key")
    func userFile() throws {
        let state = try Sample.state(.agent(Sample.join()))
        var observation = Self.settled(state)
        observation.userFiles = [.init(path: "/etc/rancher/k3s/config.yaml", content: "disable: [traefik]\n")]
        let plan = Self.plan(observation, state)
        #expect(plan.actions.isEmpty)
        #expect(
            plan.warnings.map(\.file) == ["/etc/rancher/k3s/config.yaml"] && plan.warnings[0].key == "disable"
        )
    }
}
