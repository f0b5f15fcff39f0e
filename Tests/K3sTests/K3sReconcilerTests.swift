internal import MeshNetwork
import TestSupport
import Testing
internal import Timing

@testable import K3s

@Suite("Reconcile loop")
struct K3sReconcilerTests {
    var core = K3sReconciler()
    let wall = UnixTime(seconds: 1_800_000_000)

    static func at(_ seconds: Int) -> Instant { .zero + .seconds(1000 + seconds) }

    mutating func send(_ input: K3sReconciler.Input, at seconds: Int = 0) -> [K3sReconciler.Effect] {
        core.receive(input, at: Self.at(seconds), wall: wall + .seconds(seconds))
    }

    static func carried(_ effects: [K3sReconciler.Effect]) -> [Plan.Action]? {
        for effect in effects { if case .carryOut(let actions, _) = effect { return actions } }
        return nil
    }

    static func report(_ effects: [K3sReconciler.Effect]) -> K3sReport? {
        for effect in effects { if case .report(let report) = effect { return report } }
        return nil
    }

    @Test("a wish is looked at, carried out, looked at again, and then left in peace")
    mutating func settles() throws {
        let state = try Sample.state(Sample.founding())
        #expect(send(.changed) == [])
        #expect(send(.desired(state)) == [.observe(state)])
        var observation = PlanTests.settled(state, activity: .inactive)
        observation.files = [:]
        observation.applied = nil
        let first = send(.observed(observation))
        let actions = try #require(Self.carried(first))
        #expect(Self.report(first)?.waiting?.what == "k3s.service to be started")
        #expect(send(.carriedOut(actions, failure: nil)) == [.observe(state)])
        observation = PlanTests.settled(state, activity: .activating)
        let second = send(.observed(observation), at: 1)
        #expect(Self.carried(second) == nil)
        #expect(Self.report(second)?.waiting?.what == "k3s.service to come up")
        #expect(send(.changed, at: 5) == [.observe(state)])
        let third = send(.observed(PlanTests.settled(state)), at: 5)
        #expect(Self.carried(third) == nil)
        #expect(Self.report(third)?.waiting == nil && Self.report(third)?.isReady == true)
        #expect(core.nextDeadline == Self.at(5) + K3sReconciler.patrol)
        #expect(send(.desired(state), at: 6) == [])
    }

    @Test("a write that fails starts nothing, says what and why, and is tried again later and later")
    mutating func fullDisk() throws {
        let state = try Sample.state(Sample.founding())
        let full = K3sReconciler.Failure.file(
            FileError(path: state.layout.dropIn, operation: "write", code: 28))
        let empty = Observation(
            binary: "/usr/bin/k3s", own: .init(activity: .inactive), other: .init(activity: .inactive))
        _ = send(.desired(state))
        var now = 0
        for delay in [1, 2, 4, 8, 16, 32, 60, 60] {
            #expect(Self.carried(send(.observed(empty), at: now))?.isEmpty == false)
            let effects = send(.carriedOut([], failure: full), at: now)
            if let report = Self.report(effects) {
                #expect(report.waiting?.what.contains("No space left") == true)
                #expect(report.waiting?.what.contains(state.layout.dropIn) == true)
                #expect(report.waiting?.remedy == "free space on the disk")
            }
            #expect(core.nextDeadline == Self.at(now + delay))
            #expect(send(.tick, at: now) == [])
            now += delay
            #expect(send(.tick, at: now) == [.observe(state)])
        }
    }

    @Test("a service that does not stay up is not started again and again at once")
    mutating func startBackoff() throws {
        let state = try Sample.state(Sample.founding())
        let down = PlanTests.settled(state, activity: .failed)
        _ = send(.desired(state))
        var now = 0
        for delay in [1, 2, 4] {
            let actions = try #require(Self.carried(send(.observed(down), at: now)))
            #expect(actions == [.start(.server)])
            _ = send(.carriedOut(actions, failure: nil), at: now)
            #expect(Self.carried(send(.observed(down), at: now)) == nil)
            #expect(core.nextDeadline == Self.at(now + delay))
            now += delay
            #expect(send(.tick, at: now) == [.observe(state)])
        }
        // Another wish is another matter.
        _ = send(.observed(PlanTests.settled(state)), at: now)
        let other = try Sample.state(Sample.founding(token: "another"))
        #expect(send(.desired(other), at: now) == [.observe(other)])
    }

    @Test("what was started is remembered even if the record of it cannot be kept")
    mutating func noRestartLoop() throws {
        let state = try Sample.state(Sample.founding())
        _ = send(.restartPermitted(true))
        _ = send(.desired(state))
        var observation = PlanTests.settled(state)
        observation.applied = "stale"
        let actions = try #require(Self.carried(send(.observed(observation))))
        #expect(actions.first == .restart(.server))
        _ = send(
            .carriedOut(
                [.restart(.server)], failure: .file(FileError(path: "/x", operation: "write", code: 30))))
        _ = send(.tick, at: 2)
        let second = Self.carried(send(.observed(observation), at: 2))
        #expect(second == [.recordApplied("\(state.fingerprint)")])
    }

    @Test("what was started is what the steps were for, not what is wished since")
    mutating func wishChangedWhileActing() throws {
        let first = try Sample.state(.agent(Sample.join()))
        let second = try Sample.state(.agent(Sample.join("https://10.1.0.3:6443")))
        _ = send(.desired(first))
        _ = send(.observed(PlanTests.settled(first)))
        _ = send(.desired(second))
        let actions = try #require(Self.carried(send(.observed(PlanTests.settled(first)))))
        #expect(actions.contains(.restart(.agent)))
        _ = send(.desired(first))
        _ = send(.carriedOut(actions, failure: nil))
        let back = try #require(Self.carried(send(.observed(PlanTests.settled(second)))))
        #expect(back.contains(.restart(.agent)))
    }

    @Test("steps that change nothing are not taken again at once")
    mutating func withoutEffect() throws {
        let state = try Sample.state(Sample.founding())
        var observation = PlanTests.settled(state)
        observation.own.isEnabled = false
        _ = send(.desired(state))
        var now = 0
        for delay in [1, 2, 4] {
            let actions = try #require(Self.carried(send(.observed(observation), at: now)))
            #expect(actions == [.enable(.server), .reloadDefinitions])
            _ = send(.carriedOut(actions, failure: nil), at: now)
            #expect(Self.carried(send(.observed(observation), at: now)) == nil)
            #expect(core.nextDeadline == Self.at(now + delay))
            now += delay
            #expect(send(.tick, at: now) == [.observe(state)])
        }
    }

    @Test("restarts by the manager make a crash loop, told with K3s' last line")
    mutating func crashLoop() throws {
        let state = try Sample.state(.agent(Sample.join()))
        _ = send(.desired(state))
        var observation = PlanTests.settled(state, activity: .activating)
        observation.own.detail = "auto-restart"
        observation.own.failure = "exit-code"
        observation.lastLines = [
            "starting", "level=fatal msg=\"flag provided but not defined: -disable\"", "Failed to start.",
        ]
        var report: K3sReport?
        for restarts in 0...3 {
            observation.own.restarts = UInt64(restarts)
            report = Self.report(send(.observed(observation), at: restarts * 5)) ?? report
            if restarts < 3 { #expect(report?.isCrashLooping == false) }
            _ = send(.changed, at: restarts * 5)
        }
        #expect(report?.isCrashLooping == true)
        #expect(report?.waiting?.what.hasPrefix("k3s-agent.service keeps ending") == true)
        #expect(report?.waiting?.what.hasSuffix("-disable\"") == true)
        #expect(report?.lastLines.count == 3)
        observation.own = ServiceStatus(activity: .active, isEnabled: true, restarts: 3)
        observation.lastLines = []
        #expect(Self.report(send(.observed(observation), at: 20))?.waiting == nil)
        _ = send(.changed, at: 400)
        observation.own.activity = .activating
        #expect(Self.report(send(.observed(observation), at: 400))?.isCrashLooping == false)
    }

    @Test(
        "where the manager restarts for ever at the same pace, the agent makes the pauses, longer and longer")
    mutating func crashPauses() throws {
        let state = try Sample.state(.agent(Sample.join()))
        _ = send(.desired(state))
        var observation = PlanTests.settled(state, activity: .activating)
        let stop = Plan.Action.stop(.agent)
        let start = Plan.Action.start(.agent)
        var now = 0
        var expected = 3
        for pause in [10, 20, 40, 60, 60] {
            observation.own = ServiceStatus(
                activity: .activating, detail: "auto-restart", failure: "exit-code", isEnabled: true,
                delaysRestarts: false)
            for restarts in 0...expected {
                observation.own.restarts = UInt64(restarts)
                let effects = send(.observed(observation), at: now)
                #expect(
                    Self.carried(effects)?.contains(stop) == (restarts == expected ? true : nil), "\(pause)")
                if restarts < expected {
                    now += 5
                    _ = send(.changed, at: now)
                }
            }
            // Stopped, it stays so for the pause, and that is still a crash loop.
            _ = send(.carriedOut([stop], failure: nil), at: now)
            observation.own = ServiceStatus(activity: .inactive, isEnabled: true, delaysRestarts: false)
            let effects = send(.observed(observation), at: now)
            #expect(Self.carried(effects) == nil)
            let report = Self.report(effects)
            #expect(report?.isCrashLooping == true && report?.waiting?.what.contains("keeps ending") == true)
            #expect(core.nextDeadline == Self.at(now + pause))
            now += pause
            _ = send(.tick, at: now)
            #expect(Self.carried(send(.observed(observation), at: now))?.contains(start) == true)
            _ = send(.carriedOut([start], failure: nil), at: now)
            expected = 1
        }
        // Up for five minutes, its next end is a first one.
        for later in [0, 60, 300] {
            observation.own = ServiceStatus(activity: .active, isEnabled: true, delaysRestarts: false)
            _ = send(.observed(observation), at: now + later)
            _ = send(.changed, at: now + later)
        }
        now += 301
        observation.own = ServiceStatus(
            activity: .activating, detail: "auto-restart", isEnabled: true, restarts: 1, delaysRestarts: false
        )
        #expect(Self.carried(send(.observed(observation), at: now)) == nil)
    }

    @Test("a loop of crashes whose files are put right first has had no pause yet")
    mutating func crashPauseAfterFiles() throws {
        let state = try Sample.state(.agent(Sample.join()))
        _ = send(.desired(state))
        var observation = PlanTests.settled(state, activity: .activating)
        observation.own = ServiceStatus(
            activity: .activating, detail: "auto-restart", isEnabled: true, delaysRestarts: false)
        for restarts in 0...2 {
            observation.own.restarts = UInt64(restarts)
            _ = send(.observed(observation), at: restarts * 5)
            _ = send(.changed, at: (restarts + 1) * 5)
        }
        observation.own.restarts = 3
        let files = observation.files
        observation.files = [:]
        let repair = try #require(Self.carried(send(.observed(observation), at: 15)))
        #expect(!repair.isEmpty && !repair.contains(.stop(.agent)))
        _ = send(.carriedOut(repair, failure: nil), at: 15)
        observation.files = files
        #expect(Self.carried(send(.observed(observation), at: 15)) == [.stop(.agent)])
        _ = send(.carriedOut([.stop(.agent)], failure: nil), at: 15)
        observation.own = ServiceStatus(activity: .inactive, isEnabled: true, delaysRestarts: false)
        _ = send(.observed(observation), at: 15)
        #expect(core.nextDeadline == Self.at(15 + 10))
    }

    @Test("a wait keeps its beginning while its words change")
    mutating func since() throws {
        let state = try Sample.state(.agent(Sample.join()))
        _ = send(.desired(state))
        var observation = PlanTests.settled(state, activity: .activating)
        observation.lastLines = ["a"]
        #expect(Self.report(send(.observed(observation), at: 0))?.waiting?.since == wall)
        _ = send(.changed, at: 9)
        observation.lastLines = ["b"]
        let second = Self.report(send(.observed(observation), at: 9))?.waiting
        #expect(second?.since == wall && second?.what.hasSuffix(": b") == true)
    }

    @Test("each obstacle is told as a wait with a remedy or a cause")
    mutating func waits() throws {
        let state = try Sample.state(Sample.founding())
        _ = send(.desired(state))
        var observation = PlanTests.settled(state, activity: .inactive)
        observation.own.definition = .missing
        let unit = Self.report(send(.observed(observation)))?.waiting
        #expect(unit?.step == .k3s && unit?.what == "the unit k3s.service, which does not exist")
        observation.own.definition = .present
        observation.binary = nil
        _ = send(.changed)
        let binary = Self.report(send(.observed(observation)))?.waiting
        #expect(binary?.what == "K3s' binary, which is neither at /usr/bin/k3s nor at /usr/local/bin/k3s")
        _ = send(.changed)
        let bus = Self.report(send(.observationFailed(.unavailable("No such file or directory"))))?.waiting
        #expect(bus?.what == "systemd cannot be reached: No such file or directory")
    }

    @Test("a wish that comes while another is carried out is not lost")
    mutating func crossing() throws {
        let first = try Sample.state(Sample.founding())
        let second = try Sample.state(.agent(Sample.join()))
        _ = send(.desired(first))
        #expect(send(.desired(second)) == [])
        // What was seen was seen for the first wish.
        #expect(send(.observed(PlanTests.settled(first, activity: .inactive))) == [.observe(second)])
        let actions = try #require(
            Self.carried(send(.observed(PlanTests.settled(second, activity: .inactive)))))
        #expect(send(.desired(first)) == [])
        #expect(send(.carriedOut(actions, failure: nil)) == [.observe(first)])
    }

    @Test(
        "whatever happens in whatever order, the loop neither stops nor does two things at once",
        arguments: 0..<50)
    func invariant(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var core = K3sReconciler()
        let states = [
            try Sample.state(Sample.founding()), try Sample.state(.agent(Sample.join())),
            try Sample.state(.server(Sample.join())),
        ]
        var open: K3sReconciler.Effect?
        var now = Instant.zero
        for _ in 0..<400 {
            now += generator.duration(in: .zero ... .seconds(3))
            let state = states.randomElement(using: &generator) ?? states[0]
            var inputs: [K3sReconciler.Input] = [.changed, .tick, .desired(state)]
            switch open {
            case .observe(let asked)?:
                let activity: ServiceStatus.Activity =
                    [.active, .activating, .failed, .inactive, .deactivating].randomElement(using: &generator)
                    ?? .active
                var observation = PlanTests.settled(asked, activity: activity)
                if Bool.random(using: &generator) { observation.applied = nil }
                inputs += [.observed(observation), .observationFailed(.timedOut)]
            case .carryOut(let actions, _)?:
                inputs += [
                    .carriedOut(actions, failure: nil), .carriedOut([], failure: .service(.timedOut)),
                ]
            default: break
            }
            let input = inputs.randomElement(using: &generator) ?? .tick
            switch input {
            case .observed, .observationFailed, .carriedOut: open = nil
            default: break
            }
            for effect in core.receive(input, at: now, wall: wall) {
                switch effect {
                case .observe, .carryOut:
                    #expect(open == nil, "seed \(seed)")
                    open = effect
                case .announce, .report, .askMembership: break
                }
            }
            if case .desired = input { #expect(open != nil || core.nextDeadline != nil, "seed \(seed)") }
            let fault = DeadlineCheck.fault(of: core, at: now, deadline: { $0.nextDeadline }) {
                _ = $0.receive(.tick, at: $1, wall: wall)
            }
            #expect(fault == nil, "seed \(seed)")
        }
    }

    @Test("a healthy server waits for its turn to restart, is ready meanwhile, and can lose its turn")
    mutating func turn() throws {
        let before = try Sample.state(Sample.founding())
        let after = try Sample.state(Sample.founding(), server: .init(arguments: ["--debug"]))
        _ = send(.desired(after))
        let written = send(.observed(PlanTests.settled(before)))
        #expect(Self.carried(written)?.contains(.restart(.server)) == false)
        _ = send(.carriedOut(try #require(Self.carried(written)), failure: nil))
        var observation = PlanTests.settled(after)
        observation.applied = "\(before.fingerprint)"
        let waits = send(.observed(observation))
        #expect(Self.carried(waits) == nil)
        let report = try #require(Self.report(written))
        #expect(report.wantsRestart?.settings == ["ExecStart"] && report.isReady)
        #expect(report.waiting?.what.contains("turn to restart") == true)
        #expect(send(.restartPermitted(true), at: 1) == [.observe(after)])
        #expect(send(.restartPermitted(false), at: 1) == [])
        #expect(Self.carried(send(.observed(observation), at: 1)) == nil)
        #expect(send(.restartPermitted(true), at: 2) == [.observe(after)])
        let turn = send(.observed(observation), at: 2)
        #expect(Self.carried(turn) == [.restart(.server), .recordApplied("\(after.fingerprint)")])
        _ = send(.carriedOut(try #require(Self.carried(turn)), failure: nil), at: 2)
        // Its turn lasts until it works again.
        var starting = PlanTests.settled(after)
        starting.own.activity = .activating
        let comesUp = try #require(Self.report(send(.observed(starting), at: 3)))
        #expect(comesUp.wantsRestart == nil && comesUp.needsTurn)
        _ = send(.changed, at: 4)
        let done = send(.observed(PlanTests.settled(after)), at: 4)
        #expect(Self.report(done)?.needsTurn == false && Self.report(done)?.waiting == nil)
    }

    @Test("a server that is not ready, and an agent, restart without a turn")
    mutating func noTurnNeeded() throws {
        let state = try Sample.state(Sample.founding())
        var observation = PlanTests.settled(state, activity: .activating)
        observation.applied = "stale"
        _ = send(.desired(state))
        #expect(Self.carried(send(.observed(observation)))?.first == .restart(.server))
        core = K3sReconciler()
        let agent = try Sample.state(.agent(Sample.join()))
        observation = PlanTests.settled(agent)
        observation.applied = "stale"
        _ = send(.desired(agent))
        #expect(Self.carried(send(.observed(observation)))?.first == .restart(.agent))
    }

    @Test("a file edited by hand is put back, and K3s restarted only if it was started with it")
    mutating func handEdited() throws {
        let state = try Sample.state(.agent(Sample.join()))
        for (started, restarts) in [(100, false), (300, true)] {
            core = K3sReconciler()
            _ = send(.desired(state))
            var edited = PlanTests.settled(state)
            edited.files[state.layout.dropIn] = .regular(content: "server: \"https://x:1\"\n", mode: 0o600)
            edited.dropInChanged = wall + .seconds(200)
            edited.own.since = wall + .seconds(started)
            let actions = try #require(Self.carried(send(.observed(edited))))
            let names = PlanTests.names(Plan.doing(actions))
            #expect(names.contains("write 90-kairos-p2p.yaml"))
            #expect(names.contains("restart agent") == restarts, "\(names)")
        }
    }

    @Test("a server of an etcd is asked for until it is a full member")
    mutating func membership() throws {
        let state = try Sample.state(Sample.founding(highlyAvailable: true))
        var observation = PlanTests.settled(state)
        observation.hasEtcdData = true
        observation.record = .known(
            .init(epoch: 1, role: .server, datastore: .etcd, etcdAddress: "10.1.0.11"))
        _ = send(.desired(state))
        #expect(send(.observed(observation)).contains(.askMembership(state)))
        #expect(core.nextDeadline == Self.at(60))
        #expect(Self.report(send(.membership(isVoter: false), at: 1))?.isVoter == false)
        #expect(core.nextDeadline == Self.at(6))
        #expect(send(.tick, at: 6) == [.askMembership(state)])
        #expect(Self.report(send(.membership(isVoter: true), at: 7))?.isVoter == true)
        #expect(core.nextDeadline == Self.at(60))
        observation.own.activity = .activating
        _ = send(.changed, at: 8)
        #expect(Self.report(send(.observed(observation), at: 8))?.isVoter == .some(nil))
    }

    @Test("a server that joined is no member that others can count on until the cluster says that it votes")
    mutating func membershipOfAJoiningServer() throws {
        let state = try Sample.state(.server(Sample.join()))
        var observation = PlanTests.settled(state)
        observation.hasEtcdData = true
        observation.record = .known(
            .init(epoch: 1, role: .server, datastore: .etcd, etcdAddress: "10.1.0.11"))
        _ = send(.desired(state))
        let effects = send(.observed(observation))
        #expect(effects.contains(.askMembership(state)))
        #expect(Self.report(effects)?.isVoter == false, "before it was asked")
        // K3s has no such condition yet: nothing new, and asked again soon.
        _ = send(.membership(isVoter: nil), at: 1)
        #expect(core.nextDeadline == Self.at(6))
        #expect(send(.tick, at: 6) == [.askMembership(state)])
        #expect(Self.report(send(.membership(isVoter: true), at: 7))?.isVoter == true)
        // An API server that does not answer takes no vote away.
        #expect(send(.membership(isVoter: nil), at: 8).isEmpty)
    }
}

extension Plan {
    /// A plan of these steps, to be named.
    static func doing(_ actions: [Action]) -> Plan {
        let nothing = Observation(own: .init(activity: .inactive), other: .init(activity: .inactive))
        var plan = Plan(
            from: nothing, to: DesiredState(leaving: 0, supervision: .childProcess), applied: nil,
            mayStart: false)
        plan.actions = actions
        return plan
    }
}
