package import LibP2P
package import Timing

/// The founding election of one member: single-decree Paxos in which every message is a register
/// that only its owner writes (`ElectionRegister`), carried by the ledger.
///
///              prepare                 promises of a quorum            accepts of a quorum
///   idle ────────────────► preparing ────────────────────► proposing ────────────────────► decided
///     ▲   quorum present,      │ a higher ballot, or         │ a higher ballot, or
///     └── my turn ─────────────┴── no answer in time ────────┘ no answer in time
///
/// Every member is an acceptor; any may drive an attempt, the preferred candidate first and the
/// others later, so that attempts rarely meet. Two quorums share a member as long as
/// `2 · quorum > members`, and that member's promise is what keeps two founders impossible.
///
/// The order that makes it safe: the state is changed in memory, written and synced, and only then
/// published. A register is always a function of what is on disk (`durable`), never of what is only
/// in memory.
package struct FoundingElection: Sendable {
    /// What a member needs to take part.
    package struct Configuration: Sendable {
        package let scope: ElectionScope
        package let identity: Identity
        package let card: MemberCard
        package var timing: Pace

        package init(scope: ElectionScope, identity: Identity, card: MemberCard, timing: Pace = Pace()) {
            self.scope = scope
            self.identity = identity
            self.card = card
            self.timing = timing
        }
    }

    /// How patient the members are. No value here matters for safety.
    package struct Pace: Sendable {
        /// How long the set of present members must have been unchanged before the first attempt,
        /// so that members that boot together are all considered as candidates.
        package var settle: Duration = .milliseconds(400)
        /// The longest that late arrivals may put off the first attempt.
        package var longestSettle: Duration = .seconds(2)
        /// How long a node that may found alone (a quorum of one) first looks for others.
        package var lookAround: Duration = .seconds(2)
        /// How long after a failed write it is tried again.
        package var writeRetry: Duration = .seconds(1)
        /// How much later each less preferred member drives an attempt.
        package var stagger: Duration = .seconds(1)
        /// How long an attempt may go without a decision before its driver gives it up.
        package var attempt: Duration = .seconds(3)
        /// The longest pause after attempts that failed.
        package var longestPause: Duration = .seconds(8)

        package init() {}
    }

    package enum Input: Sendable {
        /// A register of the ledger: new, changed, or this node's own as others hold it. The ledger
        /// has checked that only its owner wrote it.
        case register(PeerID, ElectionRegister)
        /// A certificate of the ledger, and whose entry holds it. It is already checked: one that
        /// proves nothing cannot be made.
        case certificate(FoundingCertificate, holder: PeerID)
        /// The members that can be talked to now, without this node.
        case present(Set<PeerID>)
        /// The state of this number is on disk.
        case persisted(UInt64)
        /// The state of this number could not be written; the text says why. The driver retries.
        case persistFailed(UInt64, reason: String)
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Write and sync, then answer with `.persisted` of the same number.
        case persist(ElectionState, number: UInt64)
        /// Write this node's register entry.
        case publish(ElectionRegister)
        /// Write this node's copy of the certificate.
        case publishCertificate(FoundingCertificate)
        /// The founder is known, and the certificate is on this node's disk. Given once.
        case decided(FoundingCertificate)
    }

    private enum Phase: Hashable {
        case idle
        case preparing(Ballot, since: Instant)
        case proposing(Ballot, FoundingValue, since: Instant)
        case decided
    }

    private let configuration: Configuration
    private let localPeer: PeerID
    private var random: SeededGenerator

    private var phase: Phase = .idle
    private var state: ElectionState
    private var durable: ElectionState
    private var writing: (state: ElectionState, number: UInt64)?
    private var lastNumber: UInt64 = 0
    private var writeFailure: String?
    private var retryWriteAt: Instant = .zero

    private var registers: [PeerID: ElectionRegister] = [:]
    private var strangers: [PeerID: ElectionScope] = [:]
    private var holders: Set<PeerID> = []
    private var present: Set<PeerID> = []
    private var lastPublished: ElectionRegister?
    private var certificatePublished = false
    private var announced = false

    private var presenceChanged: Instant
    private var quorumSince: Instant?
    /// When this node last promised or accepted another's ballot: that attempt is given its time.
    private var lastHeard: Instant?
    private var failures = 0
    private var pauseUntil: Instant = .zero

    /// The most registers that are kept; the mesh is bounded well below it.
    package static let mostMembers = 4096

    /// Makes the election of this node from what its disk remembers, or from nothing. `restored` is
    /// ignored when it is another peer's or another scope's.
    package init(
        configuration: Configuration, restored: ElectionState?, random: SeededGenerator, at now: Instant
    ) {
        self.configuration = configuration
        self.localPeer = configuration.identity.peerID
        self.random = random
        self.presenceChanged = now
        if let restored, restored.scope == configuration.scope,
            restored.owner == configuration.identity.peerID
        {
            self.state = restored
        } else {
            self.state = ElectionState(scope: configuration.scope, owner: configuration.identity.peerID)
        }
        self.durable = state
        if state.certificate != nil { phase = .decided }
    }

    /// Whose founding is decided, and by how many.
    package var scope: ElectionScope { configuration.scope }

    /// Why the last write failed, while it has not been repeated with success.
    package var diskFailure: String? { writeFailure }

    /// The decision, once it is known and on this node's disk.
    package var certificate: FoundingCertificate? { durable.certificate }

    /// The members known from their registers, this node included.
    package var members: [PeerID: MemberCard] {
        var cards = registers.mapValues(\.card)
        cards[localPeer] = configuration.card
        return cards
    }

    /// The members that take part in this scope and can be talked to now, this node included.
    package var presentMembers: [PeerID: MemberCard] {
        members.filter { $0.key == localPeer || present.contains($0.key) }
    }

    /// Members whose registers name another network, epoch or quorum: a differing
    /// `p2p.minimum_nodes` shows here.
    package var membersOfOtherScopes: [PeerID: ElectionScope] { strangers }

    /// When the election wants a `.tick`, or nil when only news can move it.
    package var nextDeadline: Instant? {
        let retry = state != durable && writing == nil ? retryWriteAt : nil
        let step: Instant? =
            switch phase {
            case .decided: nil
            case .preparing(_, let since), .proposing(_, _, let since): since + configuration.timing.attempt
            case .idle: nextAttempt
            }
        return [retry, step].compactMap { $0 }.min()
    }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .register(let peer, let register): learn(register, of: peer)
        case .certificate(let certificate, let holder): learn(certificate, holder: holder)
        case .present(let peers): updatePresence(peers, at: now)
        case .persisted(let number): completeWrite(number)
        case .persistFailed(let number, let reason):
            if writing?.number == number { writing = nil }
            writeFailure = reason
            retryWriteAt = now + configuration.timing.writeRetry
        case .tick:
            break
        }
        return advance(at: now)
    }

    // MARK: learning

    private mutating func learn(_ register: ElectionRegister, of peer: PeerID) {
        guard register.scope == configuration.scope else {
            if peer != localPeer, strangers.count < Self.mostMembers { strangers[peer] = register.scope }
            registers[peer] = nil
            return
        }
        strangers[peer] = nil
        if peer == localPeer {
            recoverOwnPromises(from: register)
            return
        }
        guard registers[peer] != nil || registers.count < Self.mostMembers else { return }
        registers[peer] = register
    }

    /// The network remembers more than this node's disk: the disk lost what was synced. The promises
    /// made are kept all the same.
    private mutating func recoverOwnPromises(from register: ElectionRegister) {
        if let promised = register.promised, promised > (state.promised ?? Self.below(promised)) {
            state.promised = promised
        }
        if let accepted = register.accepted, accepted.acceptor == localPeer,
            accepted.isValid(in: configuration.scope)
        {
            if let own = state.accepted, own.ballot >= accepted.ballot {
                // Nothing newer.
            } else {
                state.accepted = accepted
            }
        }
        if let drive = register.drive, drive.ballot.round > state.highestDrivenRound {
            state.highestDrivenRound = drive.ballot.round
        }
    }

    private static func below(_ ballot: Ballot) -> Ballot {
        Ballot(round: 0, proposer: ballot.proposer)
    }

    private mutating func learn(_ certificate: FoundingCertificate, holder: PeerID) {
        guard certificate.scope == configuration.scope else {
            if holder != localPeer, strangers.count < Self.mostMembers {
                strangers[holder] = certificate.scope
            }
            return
        }
        if holders.count < Self.mostMembers { holders.insert(holder) }
        if state.certificate == nil { decide(certificate) }
    }

    private mutating func updatePresence(_ peers: Set<PeerID>, at now: Instant) {
        guard peers != present else { return }
        present = peers
        presenceChanged = now
    }

    private mutating func completeWrite(_ number: UInt64) {
        guard let writing, writing.number == number else { return }
        durable = writing.state
        self.writing = nil
        writeFailure = nil
    }

    // MARK: advancing

    private mutating func advance(at now: Instant) -> [Effect] {
        if state.certificate == nil {
            answerDrives(at: now)
            drive(at: now)
            detectDecision()
        }
        trackQuorum(at: now)
        var effects: [Effect] = []
        if state != durable, writing == nil, now >= retryWriteAt {
            lastNumber += 1
            writing = (state, lastNumber)
            effects.append(.persist(state, number: lastNumber))
        }
        let register = publishable
        if register != lastPublished {
            lastPublished = register
            effects.append(.publish(register))
        }
        if let certificate = durable.certificate {
            let holds = certificate.accepts.contains { $0.acceptor == localPeer }
            if !certificatePublished, holds || holders.isEmpty {
                certificatePublished = true
                effects.append(.publishCertificate(certificate))
            }
            if !announced {
                announced = true
                effects.append(.decided(certificate))
            }
        }
        return effects
    }

    /// What may be said: only what is on disk.
    private var publishable: ElectionRegister {
        var register = ElectionRegister(
            scope: configuration.scope, card: configuration.card, promised: durable.promised,
            accepted: durable.accepted)
        switch phase {
        case .preparing(let ballot, _) where durable.highestDrivenRound >= ballot.round:
            register.drive = .init(ballot: ballot, value: nil)
        case .proposing(let ballot, let value, _) where durable.highestDrivenRound >= ballot.round:
            register.drive = .init(ballot: ballot, value: value)
        default:
            break
        }
        return register
    }

    // MARK: the acceptor

    private mutating func answerDrives(at now: Instant) {
        for (peer, register) in registers {
            guard let drive = register.drive, drive.ballot.proposer == peer else { continue }
            answer(drive, at: now, isOwn: false)
        }
        switch phase {
        case .preparing(let ballot, _): answer(.init(ballot: ballot, value: nil), at: now, isOwn: true)
        case .proposing(let ballot, let value, _):
            answer(.init(ballot: ballot, value: value), at: now, isOwn: true)
        case .idle, .decided: break
        }
    }

    private mutating func answer(_ drive: ElectionRegister.Drive, at now: Instant, isOwn: Bool) {
        if let promised = state.promised, drive.ballot < promised { return }
        var answered = false
        if state.promised.map({ drive.ballot > $0 }) ?? true {
            state.promised = drive.ballot
            answered = true
        }
        if let value = drive.value, state.accepted.map({ $0.ballot < drive.ballot }) ?? true {
            let statement = SignedAccept.statement(
                in: configuration.scope, acceptor: localPeer, ballot: drive.ballot, value: value)
            state.accepted = SignedAccept(
                acceptor: localPeer, ballot: drive.ballot, value: value,
                signature: configuration.identity.sign(statement))
            answered = true
        }
        if answered, !isOwn { lastHeard = now }
    }

    // MARK: the proposer

    private mutating func drive(at now: Instant) {
        switch phase {
        case .decided:
            return
        case .idle:
            guard let start = nextAttempt, now >= start, writeFailure == nil else { return }
            begin(at: now)
        case .preparing(let ballot, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { return fail(at: now) }
            guard let value = valueFixedByPromises(for: ballot) else { return }
            phase = .proposing(ballot, value, since: now)
            answer(.init(ballot: ballot, value: value), at: now, isOwn: true)
        case .proposing(let ballot, _, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { fail(at: now) }
        }
    }

    private mutating func begin(at now: Instant) {
        let highest = max(
            state.highestDrivenRound, state.promised?.round ?? 0,
            registers.values.map { max($0.promised?.round ?? 0, $0.drive?.ballot.round ?? 0) }.max() ?? 0)
        // A register that names the last round there is would end the election for everyone.
        guard highest < UInt64.max else { return }
        let ballot = Ballot(round: highest + 1, proposer: localPeer)
        state.highestDrivenRound = ballot.round
        phase = .preparing(ballot, since: now)
        answer(.init(ballot: ballot, value: nil), at: now, isOwn: true)
    }

    private func isPreempted(_ ballot: Ballot) -> Bool {
        if let promised = state.promised, promised > ballot { return true }
        return registers.values.contains { $0.promised.map { $0 > ballot } ?? false }
    }

    private mutating func fail(at now: Instant) {
        failures = min(failures + 1, 16)
        phase = .idle
        let ceiling = min(
            configuration.timing.longestPause, .milliseconds(250) * (1 << min(failures, 6)))
        pauseUntil = now + random.duration(in: .milliseconds(100)...max(.milliseconds(100), ceiling))
    }

    /// The value that a quorum's promises allow at `ballot`: that of their highest accept, or, when
    /// none has accepted anything, the preferred candidate. Nil until a quorum has promised.
    private func valueFixedByPromises(for ballot: Ballot) -> FoundingValue? {
        var promisers: [SignedAccept?] = registers.values.filter { $0.promised == ballot }.map(\.accepted)
        if durable.promised == ballot { promisers.append(durable.accepted) }
        guard promisers.count >= configuration.scope.quorum else { return nil }
        if let highest = promisers.compactMap({ $0 }).max(by: { $0.ballot < $1.ballot }) {
            return highest.value
        }
        let present = presentMembers
        guard let founder = CandidateOrder.candidates(among: present).first, let card = present[founder]
        else {
            return nil
        }
        return FoundingValue(founder: founder, uuid: card.uuid)
    }

    private mutating func detectDecision() {
        struct Choice: Hashable {
            let ballot: Ballot
            let value: FoundingValue
        }
        var votes: [Choice: [SignedAccept]] = [:]
        for (peer, register) in registers {
            guard let accept = register.accepted, accept.acceptor == peer else { continue }
            votes[Choice(ballot: accept.ballot, value: accept.value), default: []].append(accept)
        }
        if let own = durable.accepted {
            votes[Choice(ballot: own.ballot, value: own.value), default: []].append(own)
        }
        for (choice, accepts) in votes where accepts.count >= configuration.scope.quorum {
            let valid = accepts.filter { $0.isValid(in: configuration.scope) }
            if let certificate = FoundingCertificate(
                scope: configuration.scope, ballot: choice.ballot, value: choice.value, accepts: valid)
            {
                return decide(certificate)
            }
        }
    }

    private mutating func decide(_ certificate: FoundingCertificate) {
        state.certificate = certificate
        phase = .decided
    }

    // MARK: timing

    private mutating func trackQuorum(at now: Instant) {
        if presentMembers.count >= configuration.scope.quorum {
            if quorumSince == nil { quorumSince = now }
        } else {
            quorumSince = nil
        }
    }

    /// When this node may drive an attempt: once a quorum is here and settled, in its turn, after
    /// another's running attempt has had its time.
    private var nextAttempt: Instant? {
        guard state.certificate == nil else { return nil }
        let present = presentMembers
        guard present.count >= configuration.scope.quorum, !CandidateOrder.candidates(among: present).isEmpty
        else { return nil }
        let timing = configuration.timing
        let rank = CandidateOrder.proposers(among: present).firstIndex(of: localPeer) ?? present.count
        // A quorum of one founds alone; before it does it gives a running cluster time to be found.
        let settle = configuration.scope.quorum == 1 ? timing.lookAround : timing.settle
        var start = presenceChanged + settle
        if let quorumSince { start = min(start, quorumSince + timing.longestSettle) }
        start = start + timing.stagger * min(rank, 8)
        if let lastHeard { start = max(start, lastHeard + timing.attempt + timing.stagger * min(rank, 8)) }
        return max(start, pauseUntil)
    }
}
