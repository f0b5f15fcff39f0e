package import LibP2P
package import Timing

/// How one member takes part in the decrees: the founding of the cluster, and every later change of it.
/// Each decree is decided by single-decree Paxos in which every message is a register that only its owner
/// writes (`ElectionRegister`), carried by the ledger; a member takes up the next number when it knows the
/// decision of the last.
///
///              prepare                 promises of a quorum            accepts of a quorum
///   idle ────────────────► preparing ────────────────────► proposing ────────────────────► idle,
///     ▲   a wish, a quorum,    │ a higher ballot, or         │ a higher ballot, or         next number
///     └── my turn ─────────────┴── no answer in time ────────┘ no answer in time
///
/// Every member is an acceptor; any may drive an attempt, the preferred candidate first and the
/// others later, so that attempts rarely meet. Two quorums share a member as long as
/// `2 · quorum > members`, and that member's promise is what keeps two founders impossible.
///
/// The order that makes it safe: the state is changed in memory, written and synced, and only then
/// published. A register is always a function of what is on disk (`durable`), never of what is only
/// in memory.
package struct DecreeElection: Sendable {
    /// What a member needs to take part.
    package struct Configuration: Sendable {
        package internal(set) var scope: ElectionScope
        package let identity: Identity
        package internal(set) var card: MemberCard
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
        /// For how long a founder whose cluster does not run may be away before another is chosen.
        package var founderPatience: Duration = .seconds(15)
        /// How long until this node contradicts another register under its name again.
        package var restate: Duration = .seconds(30)

        package init() {}
    }

    package enum Input: Sendable {
        /// A register of the ledger: new, changed, or this node's own as others hold it. The ledger
        /// has checked that only its owner wrote it.
        case register(PeerID, ElectionRegister)
        /// A certificate of the ledger, and whose entry holds it. It is already checked: one that
        /// proves nothing cannot be made.
        case certificate(DecreeCertificate, holder: PeerID)
        /// The members that can be talked to now, without this node.
        case present(Set<PeerID>)
        /// What this node would have decided.
        case wishes(ElectionWishes)
        /// The cloud-config asks for another role, or for another quorum: the latter counts as a wish once
        /// there is a decree, and not at all before.
        case settings(forcedRole: ForcedRole?, quorum: Int)
        /// An operator's word: this node leaves the cluster, and is not called back.
        case leave
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
        case publishCertificate(DecreeCertificate)
        /// A newer decree than before is known, and its certificate is on this node's disk. Given for the
        /// decree on disk at the start, too.
        case decided(DecreeCertificate)
    }

    enum Phase: Hashable {
        case idle
        case preparing(Ballot, since: Instant)
        case proposing(Ballot, Decree, since: Instant)
    }

    var configuration: Configuration
    let localPeer: PeerID
    var random: SeededGenerator

    var phase: Phase = .idle
    var state: ElectionState
    var durable: ElectionState
    var writing: (state: ElectionState, number: UInt64)?
    var lastNumber: UInt64 = 0
    var writeFailure: String?
    var retryWriteAt: Instant = .zero

    var registers: [PeerID: ElectionRegister] = [:]
    /// This node's own register as others hold it, of a number that its disk does not know of.
    var remembered: ElectionRegister?
    var rivals: [PeerID: Decree] = [:]
    /// Who publishes the certificate of the newest decree.
    var holders: Set<PeerID> = []
    var present: Set<PeerID> = []
    var wishes = ElectionWishes()
    var wished: (decree: Decree, since: Instant)?
    var lastPublished: ElectionRegister?
    var publishedNumber: UInt64 = 0
    var announcedNumber: UInt64 = 0
    var founderMissedSince: Instant?
    var missesFounder = false

    /// When this node voted for the open decree, in this life.
    var votedAt: Instant?
    /// Whether this node was here when it was made the founder: it has voted for it in this life, less than half
    /// the time before that for which a founder is waited for.
    package internal(set) var foundsFreshly = false
    /// Until when another register under this node's name goes without an answer.
    var restateAfter: Instant = .zero

    var presenceChanged: Instant
    var quorumSince: Instant?
    /// When this node last promised or accepted another's ballot: that attempt is given its time.
    var lastHeard: Instant?
    var failures = 0
    var pauseUntil: Instant = .zero

    /// The most registers that are kept; the mesh is bounded well below it.
    package static let mostMembers = 4096

    /// Makes the election of this node from what its disk remembers, or from nothing. `restored` is
    /// ignored when it is another peer's or another network's. One without a decision is ignored when the
    /// quorum was another; a decision stands, whatever the cloud-config says now.
    package init(
        configuration: Configuration, restored: ElectionState?, random: SeededGenerator, at now: Instant
    ) {
        self.configuration = configuration
        self.localPeer = configuration.identity.peerID
        self.random = random
        self.presenceChanged = now
        if let restored, restored.scope.network == configuration.scope.network,
            restored.owner == configuration.identity.peerID,
            restored.certificate != nil || restored.scope == configuration.scope
        {
            self.state = restored
        } else {
            self.state = ElectionState(scope: configuration.scope, owner: configuration.identity.peerID)
        }
        self.durable = state
    }

    /// Whose decrees are decided, and by how many: by the newest decree, or by the cloud-config while
    /// there is none.
    package var scope: ElectionScope {
        guard let decree = state.certificate?.decree else { return configuration.scope }
        return ElectionScope(network: configuration.scope.network, quorum: decree.quorum)
    }

    /// The number of the decree that is open.
    package var number: UInt64 { state.number }

    /// Why the last write failed, while it has not been repeated with success.
    package var diskFailure: String? { writeFailure }

    /// The newest decision that is known and on this node's disk.
    package var certificate: DecreeCertificate? { durable.certificate }

    /// The decree in force on this node.
    package var decree: Decree? { durable.certificate?.decree }

    /// The members known from their registers, this node included and forgotten ones left out.
    package var members: [PeerID: MemberCard] {
        var cards = registers.mapValues(\.card)
        cards[localPeer] = configuration.card
        for peer in state.certificate?.decree.forgotten ?? [] { cards[peer] = nil }
        return cards
    }

    /// What is known of `peer`, forgotten or not.
    package func card(of peer: PeerID) -> MemberCard? {
        peer == localPeer ? configuration.card : registers[peer]?.card
    }

    /// The members that can be talked to now, this node included.
    package var presentMembers: [PeerID: MemberCard] {
        // Asked for at every step, so it is made from those who are here and not from all there are.
        let forgotten = state.certificate?.decree.forgotten ?? []
        var cards: [PeerID: MemberCard] = [:]
        for peer in present where !forgotten.contains(peer) { cards[peer] = registers[peer]?.card }
        cards[localPeer] = forgotten.contains(localPeer) ? nil : configuration.card
        return cards
    }

    /// How many `presentMembers` there are.
    var presentCount: Int {
        let forgotten = state.certificate?.decree.forgotten ?? []
        let others = present.count { $0 != localPeer && registers[$0] != nil && !forgotten.contains($0) }
        return others + (forgotten.contains(localPeer) ? 0 : 1)
    }

    /// Members that decide the open decree by another number of votes than this node: before the founding a
    /// differing `p2p.minimum_nodes` shows here.
    package var membersOfOtherScopes: [PeerID: ElectionScope] {
        registers.filter { $0.value.number == state.number && $0.value.scope != scope }.mapValues(\.scope)
    }

    /// Decrees of the same network that cannot have come from this node's, by who holds them: two halves
    /// founded a cluster each, which a quorum of more than half of the nodes makes impossible.
    package var rivalDecrees: [PeerID: Decree] { rivals }

    /// Whether this node was told to leave, and its disk remembers it.
    package var hasLeft: Bool { durable.hasLeft }
    /// Whether this node was told to leave.
    package var isLeaving: Bool { state.hasLeft }

    /// The members that are known to have accepted what this node wishes for.
    package var acknowledgers: Set<PeerID> {
        guard let wished else { return [] }
        var peers = Set(votes.filter { $0.value.accepted?.decree == wished.decree }.keys)
        if durable.accepted?.decree == wished.decree { peers.insert(localPeer) }
        return peers
    }

    /// Whether this node is waiting for a decree that it wants, and which.
    package var wish: Decree? { wished?.decree }

    /// When the election wants a `.tick`, or nil when only news can move it.
    package var nextDeadline: Instant? {
        let retry = state != durable && writing == nil ? retryWriteAt : nil
        let step: Instant? =
            switch phase {
            case .preparing(_, let since), .proposing(_, _, let since): since + configuration.timing.attempt
            case .idle: nextAttempt
            }
        let founder =
            missesFounder ? nil : founderMissedSince.map { $0 + configuration.timing.founderPatience }
        return [retry, step, founder].compactMap { $0 }.min()
    }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .register(let peer, let register): learn(register, of: peer, at: now)
        case .certificate(let certificate, let holder): learn(certificate, holder: holder, at: now)
        case .present(let peers): updatePresence(peers, at: now)
        case .wishes(let wishes): self.wishes = wishes
        case .settings(let forcedRole, let quorum):
            let card = configuration.card
            configuration.card = MemberCard(uuid: card.uuid, name: card.name, forcedRole: forcedRole)
            if state.certificate != nil {
                configuration.scope = ElectionScope(network: configuration.scope.network, quorum: quorum)
            }
        case .leave: state.hasLeft = true
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

    mutating func advance(at now: Instant) -> [Effect] {
        missFounder(at: now)
        trackQuorum(at: now)
        trackWish(at: now)
        answerDrives(at: now)
        drive(at: now)
        detectDecision(at: now)
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
            let number = certificate.decree.number
            let holds = certificate.accepts.contains { $0.acceptor == localPeer }
            // Until it is on this disk the holders are those of a newer decree.
            if publishedNumber < number, holds || holders.isEmpty || state.certificate != certificate {
                publishedNumber = number
                effects.append(.publishCertificate(certificate))
            }
            if announcedNumber < number {
                announcedNumber = number
                effects.append(.decided(certificate))
            }
        }
        return effects
    }

    /// What may be said: only what is on disk.
    var publishable: ElectionRegister {
        let decree = durable.certificate?.decree
        let scope = ElectionScope(
            network: configuration.scope.network, quorum: decree?.quorum ?? configuration.scope.quorum)
        var register = ElectionRegister(
            scope: scope, card: configuration.card, number: durable.number, promised: durable.promised,
            accepted: durable.accepted, missesFounder: missesFounder && durable.number == state.number,
            hasLeft: durable.hasLeft || wishes.isDeparting)
        guard durable.number == state.number else { return register }
        switch phase {
        case .preparing(let ballot, _) where durable.highestDrivenRound >= ballot.round:
            register.drive = .init(ballot: ballot, decree: nil)
        case .proposing(let ballot, let decree, _) where durable.highestDrivenRound >= ballot.round:
            register.drive = .init(ballot: ballot, decree: decree)
        default:
            break
        }
        return register
    }

    /// Keeps account of a founder that is away although nobody can have joined it.
    mutating func missFounder(at now: Instant) {
        guard let decree = state.certificate?.decree, !decree.isRunning, decree.founder.peer != localPeer,
            !present.contains(decree.founder.peer)
        else {
            founderMissedSince = nil
            missesFounder = false
            return
        }
        let since = founderMissedSince ?? now
        founderMissedSince = since
        missesFounder = now >= since + configuration.timing.founderPatience
    }
}
