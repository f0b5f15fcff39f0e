internal import MeshNetwork
package import Timing

/// Keeps K3s as it should be: a state machine that looks, plans, has the plan carried out, and looks
/// again whenever something may have changed.
///
///     resting ── something changed ──► looking ── observed ──► acting ── carried out ──► looking …
///        ▲                                │ nothing to do
///        └────────────────────────────────┘
///
/// Nothing polls: managers tell of changes. A slow look every `patrol` finds files that others changed.
package struct K3sReconciler: Sendable {
    /// What happens.
    package enum Input: Sendable {
        /// This is to be true from now on.
        case desired(DesiredState)
        /// What was seen, for the last `.observe`.
        case observed(Observation)
        /// It could not be seen.
        case observationFailed(ServiceError)
        /// The steps that were carried out, for the last `.carryOut`, and what ended them early.
        case carriedOut([Plan.Action], failure: Failure?)
        /// A service may have changed.
        case changed
        /// Whether a healthy server may be restarted now. Until told so, it may not.
        case restartPermitted(Bool)
        /// Whether this server is a full member of its etcd, for the last `.askMembership`; nil when
        /// nobody could say.
        case membership(isVoter: Bool?)
        /// Time has passed.
        case tick
    }

    /// What is to be done.
    package enum Effect: Hashable, Sendable {
        /// See what is true, and answer with `.observed` or `.observationFailed`.
        case observe(DesiredState)
        /// Carry out the steps in order until one fails, and answer with `.carriedOut`.
        case carryOut([Plan.Action], DesiredState)
        /// Ask the cluster whether this server is a full member of its etcd, and answer with `.membership`.
        case askMembership(DesiredState)
        /// Log these lines.
        case announce([String])
        /// The report is another.
        case report(K3sReport)
    }

    /// Why a step failed.
    package enum Failure: Error, Hashable, Sendable {
        case file(FileError)
        case service(ServiceError)
    }

    private enum Phase: Hashable {
        case resting
        case looking
        case acting
    }

    /// How long until a look without cause.
    package static let patrol = Duration.seconds(60)
    /// The same while something is missing of which no one tells, such as the binary.
    package static let obstaclePatrol = Duration.seconds(5)
    /// How long until a server that is no full member of its etcd is asked about again, and one that is.
    package static let membershipPatrol = (learner: Duration.seconds(5), voter: Duration.seconds(600))
    /// The first delay after a failure, and the longest.
    package static let delays = Duration.seconds(1)...Duration.seconds(60)
    /// So many restarts by the manager within `crashWindow` are a crash loop.
    package static let crashLimit: UInt64 = 3
    /// See `crashLimit`. K3s' unit restarts it every 5 s.
    package static let crashWindow = Duration.seconds(120)

    private var phase = Phase.resting
    private var desired: DesiredState?
    /// What the steps that are being carried out are for.
    private var acting: DesiredState?
    private var lookAgain = false
    private var nextLook: Instant?
    /// What K3s was started with by this process.
    private var started: Fingerprint?
    private var failures = 0
    /// The steps that were carried out last, how often in a row, and when they may be again.
    private var last: (actions: [Plan.Action], count: Int, again: Instant) = ([], 0, .zero)
    private var startAttempts = 0
    private var nextStart = Instant.zero
    private var crashes = CrashHistory()
    private var backoff = CrashBackoff()
    private var report: K3sReport?
    private var mayRestart = false
    /// Whether a server that worked is being restarted: its turn lasts until it works again.
    private var isRestarting = false
    /// Settings that were written and that K3s has not read.
    private var unread: Set<String> = []
    /// When the cluster is to be asked about this server's membership; nil where there is none to ask for.
    private var nextMembership: Instant?
    private var isAsking = false
    private var isVoter: Bool?
    private var waitingSince: (key: String, since: UnixTime)?

    package init() {}

    /// When `.tick` is wanted.
    package var nextDeadline: Instant? {
        guard phase == .resting, desired != nil else { return nil }
        return [nextLook, isAsking ? nil : nextMembership].compactMap(\.self).min()
    }

    /// Takes one input. `wall` is the time that reports show.
    package mutating func receive(_ input: Input, at now: Instant, wall: UnixTime) -> [Effect] {
        switch input {
        case .desired(let state):
            if state == desired { return [] }
            if state.fingerprint != desired?.fingerprint {
                (startAttempts, nextStart, backoff) = (0, .zero, CrashBackoff())
            }
            desired = state
            return look(at: now)
        case .changed: return desired == nil ? [] : look(at: now)
        case .restartPermitted(let isPermitted):
            if isPermitted == mayRestart { return [] }
            mayRestart = isPermitted
            return isPermitted && report?.wantsRestart != nil ? look(at: now) : []
        case .membership(let isVoter):
            isAsking = false
            guard nextMembership != nil else { return [] }
            let patrol = Self.membershipPatrol
            nextMembership = now + (isVoter == true ? patrol.voter : patrol.learner)
            if isVoter != nil || !isJoiningServer { self.isVoter = isVoter }
            guard var report else { return [] }
            report.isVoter = self.isVoter
            return tell(report)
        case .tick:
            let question = askMembership(at: now)
            guard let nextLook, now >= nextLook else { return question }
            return question + look(at: now)
        case .observed(let observation): return observed(observation, at: now, wall: wall)
        case .observationFailed(let error):
            guard phase == .looking else { return [] }
            return failed(.service(error), at: now, wall: wall)
        case .carriedOut(let actions, let failure):
            return carriedOut(actions, failure: failure, at: now, wall: wall)
        }
    }

    private mutating func look(at now: Instant) -> [Effect] {
        guard let desired else { return [] }
        guard phase == .resting else {
            lookAgain = true
            return []
        }
        phase = .looking
        lookAgain = false
        nextLook = nil
        return [.observe(desired)]
    }

    private mutating func askMembership(at now: Instant) -> [Effect] {
        guard let desired, !isAsking, let nextMembership, now >= nextMembership else { return [] }
        isAsking = true
        return [.askMembership(desired)]
    }

    private mutating func rest(at now: Instant, lookIn delay: Duration) -> [Effect] {
        phase = .resting
        nextLook = now + delay
        return lookAgain ? look(at: now) : []
    }

    // MARK: seen

    private mutating func observed(_ observation: Observation, at now: Instant, wall: UnixTime) -> [Effect] {
        guard phase == .looking, let desired else { return [] }
        // What was seen for an older wish says nothing about paths of the new one.
        if lookAgain, desired.files(binary: "").contains(where: { observation.files[$0.path] == nil }) {
            return rest(at: now, lookIn: Self.patrol)
        }
        crashes.add(restarts: observation.own.restarts, at: now)
        if observation.own.activity == .active { (startAttempts, nextStart) = (0, .zero) }
        let mayStart = now >= nextStart
        var plan = Plan(
            from: observation, to: desired, applied: started.map { "\($0)" } ?? observation.applied,
            mayStart: mayStart, mayRestart: mayRestart)
        if plan.actions.isEmpty, let until = backoff.pause(observation.own, after: crashes, at: now) {
            nextStart = until
            plan.pause(desired.command, for: until - now)
        }
        followMembership(observation, desired, at: now)
        if plan.wantsRestart {
            unread.formUnion(plan.diffs.flatMap(\.names))
        } else if plan.actions.isEmpty {
            unread = []
        }
        if plan.wantsRestart, plan.actions.contains(.restart(desired.command)) {
            isRestarting = true
        } else if observation.own.activity == .active || desired.command != .server {
            isRestarting = false
        }
        var effects = tell(report(observation, plan: plan, desired: desired, at: now, wall: wall))
        effects += askMembership(at: now)
        if plan.actions.isEmpty {
            failures = 0
            last = ([], 0, now)
            let patrol = plan.obstacle == nil ? Self.patrol : Self.obstaclePatrol
            let wait = mayStart ? patrol : min(patrol, nextStart - now)
            return effects + rest(at: now, lookIn: wait)
        }
        if plan.actions == last.actions {
            // They changed nothing that can be seen; without a pause they would be taken for ever.
            if now < last.again { return effects + rest(at: now, lookIn: last.again - now) }
        } else {
            last = (plan.actions, 0, now)
        }
        phase = .acting
        acting = desired
        let lines = plan.lines
        if !lines.isEmpty { effects.append(.announce(lines)) }
        return effects + [.carryOut(plan.actions, desired)]
    }

    /// A running server with embedded etcd has a membership to ask for.
    private mutating func followMembership(
        _ observation: Observation, _ desired: DesiredState, at now: Instant
    ) {
        let isMember =
            desired.role.recorded == .server && !desired.usesExternalDatastore
            && observation.datastore == .etcd && observation.own.activity == .active
        if isMember {
            if nextMembership == nil {
                nextMembership = now
                // The next server, and what hangs on a second one, wait for `EtcdIsVoter`, which K3s tells
                // some time after it is ready: until then a server that joined is none that others can count on.
                if isJoiningServer { isVoter = false }
            }
        } else {
            (nextMembership, isVoter) = (nil, nil)
        }
    }

    private var isJoiningServer: Bool {
        if case .server = desired?.role { true } else { false }
    }

    // MARK: done

    private mutating func carriedOut(
        _ actions: [Plan.Action], failure: Failure?, at now: Instant, wall: UnixTime
    ) -> [Effect] {
        guard phase == .acting else { return [] }
        for action in actions {
            switch action {
            case .start, .restart:
                started = acting?.fingerprint
                // What a start leads to is seen by its changes; another one is not tried at once.
                startAttempts = min(startAttempts + 1, 16)
                nextStart = now + Self.delay(startAttempts)
            case .recordApplied(let text):
                if text != acting.map({ "\($0.fingerprint)" }) { started = nil }
            default: break
            }
        }
        if let failure { return failed(failure, at: now, wall: wall) }
        failures = 0
        last.count = min(last.count + 1, 16)
        last.again = now + Self.delay(last.count)
        phase = .resting
        return look(at: now)
    }

    private mutating func failed(_ failure: Failure, at now: Instant, wall: UnixTime) -> [Effect] {
        guard let desired else { return [] }
        failures = min(failures + 1, 16)
        let (what, remedy): (String, String) =
            switch failure {
            case .file(let error): (error.cause, error.remedy)
            case .service(let error): (error.cause, "see journalctl -u \(desired.command.unit)")
            }
        var report =
            report
            ?? K3sReport(
                unit: desired.command.unit, activity: .inactive, detail: "", since: nil, restarts: 0,
                isCrashLooping: false, lastLines: [], hasNodeToken: false, waiting: nil,
                warnings: desired.warnings)
        report.unit = desired.command.unit
        report.hasLeft = false
        report.isServer = desired.role.recorded == .server
        report.epoch = desired.epoch
        report.waiting = waiting(what, remedy, wall)
        let effects = tell(report)
        // A change that came meanwhile is no reason to fail faster.
        lookAgain = false
        return effects + rest(at: now, lookIn: Self.delay(failures))
    }

    private static func delay(_ attempt: Int) -> Duration {
        min(delays.lowerBound * (1 << min(max(attempt - 1, 0), 10)), delays.upperBound)
    }

    // MARK: told

    private mutating func tell(_ new: K3sReport) -> [Effect] {
        if new == report { return [] }
        report = new
        return [.report(new)]
    }

    private mutating func report(
        _ observation: Observation, plan: Plan, desired: DesiredState, at now: Instant, wall: UnixTime
    ) -> K3sReport {
        let own = observation.own
        let isLooping = own.activity != .active && (crashes.isLooping(at: now) || backoff.isPausing(at: now))
        let reason = K3sWait.reason(observation, plan: plan, desired: desired, isCrashLooping: isLooping)
        return K3sReport(
            unit: desired.command.unit, activity: own.activity, detail: own.detail, since: own.since,
            restarts: own.restarts, isCrashLooping: isLooping, lastLines: observation.lastLines,
            hasNodeToken: observation.hasNodeToken,
            waiting: reason.flatMap { waiting($0.what, $0.remedy, wall) },
            warnings: plan.warnings, isVoter: isVoter,
            isServer: desired.role.recorded == .server, hasData: observation.hasData(of: desired.epoch),
            hasLostData: plan.hasLostData, isMember: observation.isMember(of: desired.epoch),
            wantsRestart: plan.wantsRestart ? RestartReason(settings: unread.sorted()) : nil,
            isRestarting: isRestarting,
            hasLeft: desired.role == .left && plan.actions.isEmpty && plan.obstacle == nil,
            epoch: desired.epoch)
    }

    /// The wait, since when it was first told.
    private mutating func waiting(_ what: String, _ remedy: String?, _ wall: UnixTime) -> Waiting {
        // The words after a colon vary while the wait is the same.
        let key = String(what.prefix { $0 != ":" })
        let since = waitingSince.flatMap { $0.key == key ? $0.since : nil } ?? wall
        waitingSince = (key, since)
        return Waiting(step: .k3s, what: what, remedy: remedy, since: since)
    }
}
