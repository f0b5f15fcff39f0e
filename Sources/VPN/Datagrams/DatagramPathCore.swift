internal import Timing

/// How packets travel to a peer of ours, for `status`.
package enum PathState: Hashable, Sendable {
    /// By the stream: no datagram path has been asked for, or it does not pass.
    case stream
    /// By the stream, while keys are agreed on or probes are under way.
    case trying
    /// By datagrams.
    case datagrams
}

/// When datagrams carry the packets to one peer: when keys are agreed on and renewed, which of them are used, and
/// when the stream takes over.
///
/// ```
///           packets            keys agreed           echo
///   stream ────────► agreeing ────────────► probing ──────► datagrams ─┐ silence: probing, still in use
///     ▲                 │ failed               │ no echo        ▲      │ two minutes: agreeing, still in use
///     └──── waiting ◄───┴──────────────────────┘                └──────┘
/// ```
///
/// Without packets nothing is sent: an unused session is forgotten when its keys are too old.
struct DatagramPathCore: Sendable {
    /// The constants of a path.
    struct Configuration: Hashable, Sendable {
        /// How long an answer on the stream, or an echo, may take.
        var handshakePatience: Duration = .seconds(5)
        var probeInterval: Duration = .milliseconds(250)
        var probes = 5
        /// Something was sent for so long, and nothing came back: the path is probed.
        var silence: Duration = .milliseconds(1500)
        /// The first wait after a failure, doubled up to `maximumWait`.
        var minimumWait: Duration = .seconds(5)
        var maximumWait: Duration = .seconds(120)
        /// The age of keys at which their initiator renews them; the responder does so a little later.
        var rekeyAfter: Duration = .seconds(120)
        var responderDelay: Duration = .seconds(15)
        /// The age at which keys are used no more.
        var rejectAfter: Duration = .seconds(180)
        /// How long keys are kept to open what is still under way.
        var forgetAfter: Duration = .seconds(200)
        /// How often a path is looked at while it is busy, and while it carries a trickle or nothing. All paths
        /// are looked at in the same moments, multiples of these, so that many of them that carry little cost a
        /// node one waking.
        var checkInterval: Duration = .milliseconds(500)
        var trickleInterval: Duration = .seconds(2)
        /// How many messages between two looks are no more than a trickle.
        var trickle: UInt64 = 8
        /// How many of these looks find nothing until there are no more, so that a path that carries a packet
        /// now and then need not say each time that it is in use again.
        var idleChecks = 16
    }

    /// What was used since the last tick.
    struct Use: Hashable, Sendable {
        /// Packets were given to the stream.
        var stream = false
        /// Packets were sent in datagrams.
        var sent = false
        /// How many messages the busiest session sealed, probes and echoes among them.
        var messages: UInt64 = 0
        /// Authentic datagrams came.
        var received = false
    }

    enum Input: Hashable, Sendable {
        /// Packets want to go to the peer, and no tick is due.
        case wanted
        /// A handshake, of either end, gave the session `index`.
        case agreed(index: UInt32, isInitiator: Bool)
        case handshakeFailed
        /// The echo of a probe came by `index`.
        case echoed(index: UInt32)
        /// A probe of the peer came by `index`.
        case probed(index: UInt32)
        /// Authentic datagrams of `index` come from another address.
        case moved(index: UInt32)
        /// The kernel does not send to the peer, or the connection to it is gone.
        case doubted
        /// `nextDeadline` has come.
        case tick(Use)
    }

    enum Effect: Hashable, Sendable {
        /// Agree on keys.
        case handshake
        /// Send a probe by the session.
        case probe(index: UInt32)
        /// Send packets by the session; nil: by the stream.
        case use(index: UInt32?)
        /// Forget the session's keys.
        case forget(index: UInt32)
    }

    private struct Session: Hashable {
        var index: UInt32
        var isInitiator: Bool
        var since: Instant
    }

    private struct Probing: Hashable {
        var index: UInt32
        var left: Int
        var next: Instant
    }

    /// How many sessions are kept: the one in use, its predecessor, and both of a double handshake.
    static let maximumSessions = 4

    let configuration: Configuration
    private var sessions: [Session] = []
    private var inUse: UInt32?
    private var probing: Probing?
    private var handshakeUntil: Instant?
    private var waitUntil: Instant?
    private var failures = 0
    private var lastReceived = Instant.zero
    /// Since when packets have been sent without an answer.
    private var unansweredSince: Instant?
    private var nextCheck: Instant?
    /// How many looks in a row found the path unused.
    private var idle = 0

    init(configuration: Configuration = Configuration()) {
        self.configuration = configuration
    }

    var state: PathState {
        if inUse != nil { return .datagrams }
        return probing != nil || handshakeUntil != nil ? .trying : .stream
    }

    /// Whether packets travelled of late, either way.
    var isInUse: Bool { isWatched || handshakeUntil != nil }

    /// Whether there is a look to come, which finds what is sent until then.
    var isWatched: Bool { nextCheck != nil }

    /// When the core wants `.tick`; nil when nothing is to be done until packets come.
    var nextDeadline: Instant? {
        let forgetting = sessions.map { $0.since + configuration.forgetAfter }
        return ([probing?.next, handshakeUntil, nextCheck].compactMap { $0 } + forgetting).min()
    }

    mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .wanted:
            scheduleCheck(in: configuration.checkInterval, at: now)
            return inUse == nil ? begin(at: now) : []
        case .agreed(let index, let isInitiator):
            handshakeUntil = nil
            sessions.append(Session(index: index, isInitiator: isInitiator, since: now))
            var effects: [Effect] = []
            while sessions.count > Self.maximumSessions {
                effects += drop(sessions.first { $0.index != inUse }?.index ?? index)
            }
            return effects + startProbing(index, at: now)
        case .handshakeFailed:
            guard handshakeUntil != nil else { return [] }
            handshakeUntil = nil
            fail(at: now)
            return []
        case .echoed(let index):
            return echoed(index, at: now)
        case .probed(let index):
            // The peer's probe got here, so ours may get there: no reason to wait for the next.
            guard let probing, probing.index == index, inUse != index else { return [] }
            return tryAgain(at: now)
        case .moved(let index):
            guard inUse == index, probing == nil else { return [] }
            return startProbing(index, at: now)
        case .doubted:
            guard let inUse, probing == nil else { return [] }
            return startProbing(inUse, at: now)
        case .tick(let use):
            return tick(use, at: now)
        }
    }

    private mutating func echoed(_ index: UInt32, at now: Instant) -> [Effect] {
        guard let session = sessions.first(where: { $0.index == index }) else { return [] }
        lastReceived = now
        unansweredSince = nil
        failures = 0
        waitUntil = nil
        if probing?.index == index { probing = nil }
        // An older session does not take over from a newer one.
        if let inUse, let present = sessions.first(where: { $0.index == inUse }),
            present.since > session.since
        {
            return []
        }
        inUse = index
        scheduleCheck(in: configuration.checkInterval, at: now)
        // Told again even if it is in use: the echo may have come from another address.
        return [.use(index: index)]
    }

    private mutating func tick(_ use: Use, at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        for session in sessions where now - session.since >= configuration.forgetAfter {
            effects += drop(session.index)
        }
        if use.received {
            lastReceived = now
            unansweredSince = nil
        } else if use.sent, unansweredSince == nil {
            unansweredSince = now
        }
        if let handshakeUntil, now >= handshakeUntil {
            self.handshakeUntil = nil
            fail(at: now)
        }
        if let probing, now >= probing.next { effects += tryAgain(at: now) }
        if let nextCheck, now >= nextCheck { effects += check(use, at: now) }
        return effects
    }

    /// Looks at the path; goes on for as long as it is used.
    private mutating func check(_ use: Use, at now: Instant) -> [Effect] {
        let isUsed = use.stream || use.sent || use.received
        let unused = isUsed ? 0 : idle + 1
        nextCheck = nil
        let isBusy = use.messages > configuration.trickle
        let interval = isBusy ? configuration.checkInterval : configuration.trickleInterval
        if unused < configuration.idleChecks { scheduleCheck(in: interval, at: now) }
        idle = unused
        guard let inUse, let session = sessions.first(where: { $0.index == inUse }) else {
            return use.stream ? begin(at: now) : []
        }
        let age = now - session.since
        if age >= configuration.rejectAfter {
            self.inUse = nil
            return [.use(index: nil)] + (isUsed ? begin(at: now) : [])
        }
        if use.sent, probing == nil, let unansweredSince, now - unansweredSince >= configuration.silence {
            return startProbing(inUse, at: now)
        }
        let limit = configuration.rekeyAfter + (session.isInitiator ? .zero : configuration.responderDelay)
        return use.sent && age >= limit ? begin(at: now) : []
    }

    private mutating func begin(at now: Instant) -> [Effect] {
        guard handshakeUntil == nil, probing == nil else { return [] }
        if let waitUntil, now < waitUntil { return [] }
        handshakeUntil = now + configuration.handshakePatience
        return [.handshake]
    }

    private mutating func startProbing(_ index: UInt32, at now: Instant) -> [Effect] {
        probing = Probing(index: index, left: configuration.probes, next: now)
        return tryAgain(at: now)
    }

    private mutating func tryAgain(at now: Instant) -> [Effect] {
        guard var current = probing else { return [] }
        guard current.left > 0 else {
            probing = nil
            fail(at: now)
            // A newer session that does not pass leaves an older one alone, which has its own probes.
            guard inUse == current.index else { return drop(current.index) }
            inUse = nil
            unansweredSince = nil
            return [.use(index: nil)] + drop(current.index)
        }
        current.left -= 1
        current.next = now + configuration.probeInterval
        probing = current
        return [.probe(index: current.index)]
    }

    private mutating func fail(at now: Instant) {
        waitUntil = now + min(configuration.minimumWait * (1 << min(failures, 6)), configuration.maximumWait)
        failures += 1
        scheduleCheck(in: configuration.checkInterval, at: now)
    }

    /// The path was used, or is to be looked at as if it were.
    private mutating func scheduleCheck(in time: Duration, at now: Instant) {
        idle = 0
        guard nextCheck == nil else { return }
        nextCheck = (now + time).rounded(downTo: time)
    }

    private mutating func drop(_ index: UInt32) -> [Effect] {
        sessions.removeAll { $0.index == index }
        if probing?.index == index { probing = nil }
        var effects: [Effect] = []
        if inUse == index {
            inUse = nil
            effects.append(.use(index: nil))
        }
        return effects + [.forget(index: index)]
    }
}
