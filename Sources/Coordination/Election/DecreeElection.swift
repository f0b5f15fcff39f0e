package import LibP2P
package import Timing

/// How one member takes part in the decrees: the founding of the cluster, and every later change of it.
/// Each decree is decided by single-decree Paxos in which every message is a register that only its owner
/// writes (`ElectionRegister`), carried by the ledger; a member takes up the next number when it knows the
/// decision of the last.
///
///              prepare                 promises of enough              accepts of enough
///   idle ────────────────► preparing ────────────────────► proposing ────────────────────► idle,
///     ▲   a wish, enough       │ a higher ballot, or         │ a higher ballot, or         next number
///     └── here, my turn ───────┴── no answer in time ────────┘ no answer in time
///
/// Who decides is the `Electorate`: `p2p.minimum_nodes` of the members that were met for the founding, and a
/// majority of the voters that the last decree has named for all that comes later. Each of them is an acceptor and
/// may drive an attempt, the preferred candidate first and the others later, so that attempts rarely meet. Two
/// majorities share a voter, and so do two quorums of the founding while `2 · quorum > members`; that one's
/// promise is what keeps two values of one number impossible (docs/election.md).
///
/// An acceptor accepts only what it has reason for itself (`hasReason`), so that one member that lies does not move
/// the others.
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
        /// Whether this node's disk may have lost votes: it has an identity, and nothing of the election.
        package let isAmnesiac: Bool

        package init(
            scope: ElectionScope, identity: Identity, card: MemberCard, timing: Pace = Pace(),
            isAmnesiac: Bool = false
        ) {
            self.scope = scope
            self.identity = identity
            self.card = card
            self.timing = timing
            self.isAmnesiac = isAmnesiac
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
        /// How long a member must have been here before it is made a voter.
        package var voterTenure: Duration = .seconds(60)
        /// How long a voter that is no server may be away before it is replaced: as long as stock tools believe an
        /// advertisement.
        package var voterPatience: Duration = .seconds(15 * 60)
        /// How long none of a running cluster's servers may have been seen before this node accepts another
        /// founding, which an operator has to have asked for all the same.
        package var serverPatience: Duration = .seconds(10 * 60)
        /// For how long the same nodes must have been here before they go on without lost voters: one that has just
        /// started sees nobody yet, and would go on alone.
        package var recoverySettle: Duration = .seconds(15)
        /// How long a node whose disk may have lost its votes looks for others before it founds alone.
        package var amnesiacLookAround: Duration = .seconds(5 * 60)
        /// How long such a node does not vote on a founding.
        package var amnesiacSilence: Duration = .seconds(60)

        package init() {}
    }

    package enum Input: Sendable {
        /// A register of the ledger: new, changed, or this node's own as others hold it. The ledger
        /// has checked that only its owner wrote it.
        case register(PeerID, ElectionRegister)
        /// A certificate of the ledger, and whose entry holds it. Its signatures are checked: one that
        /// proves nothing cannot be made. Whether it is to be believed is found out here.
        case certificate(DecreeCertificate, holder: PeerID)
        /// The members that can be talked to now, without this node.
        case present(Set<PeerID>)
        /// What this node would have decided.
        case wishes(ElectionWishes)
        /// The cloud-config asks for another role.
        case settings(forcedRole: ForcedRole?)
        /// An operator's word: this node leaves the cluster, and is not called back.
        case leave
        /// An operator's word: the voters are lost for good, and the nodes on which this is said go on without.
        case recover
        /// Whether this node may vote and drive attempts: not while its key is alive elsewhere.
        case mayVote(Bool)
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
    /// What members hold while this node knows no decree, by holder.
    var heard: [PeerID: DecreeCertificate] = [:]
    /// Who publishes the certificate of the newest decree.
    var holders: Set<PeerID> = []
    var present: Set<PeerID> = []
    /// Who has been here in this life, and since when those are here who are.
    var met: Set<PeerID> = []
    var presentSince: [PeerID: Instant] = [:]
    /// Since when each voter is away.
    var voterAwaySince: [PeerID: Instant] = [:]
    /// When the voters that this node would name may be others because time has passed.
    var voterDeadline: Instant?
    /// Since when none of the servers of a running cluster has been here.
    var serversMissedSince: Instant?
    /// When this node will have missed the founder, or the servers, for long.
    var patienceEnds: Instant?
    let startedAt: Instant
    /// Whether this node may have forgotten what it has voted on the founding, and waits for the network to tell.
    var isSilentNow = false
    var mayVote = true
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
        self.startedAt = now
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

    /// Names the network.
    var network: String { configuration.scope.network }

    /// Who decides the open decree.
    package var electorate: Electorate { electorate(after: state) }

    func electorate(after state: ElectionState) -> Electorate {
        guard let decree = state.certificate?.decree else {
            return .members(quorum: configuration.scope.quorum)
        }
        return state.recovers ? .recovered(recovering) : .voters(decree.voters)
    }

    /// The nodes that decide without the lost voters, sorted: the voters and servers that are here, or whoever is here
    /// where none of them is. All of them have to be told. Keys that nobody named cannot hold them up.
    package var recovering: [PeerID] {
        let here = Set(presentMembers.keys)
        guard let decree = state.certificate?.decree else { return here.sorted() }
        let named = here.intersection(decree.voters + decree.servers.map(\.peer))
        return (named.isEmpty ? here : named).sorted()
    }

    /// Whether this node's word counts in the open decree.
    package var isElector: Bool { electorate.includes(localPeer) && !isForgotten }

    /// How many of those who decide the open decree are here, this node among them where it is one.
    package var electorsHere: Int {
        guard let named = electorate.named else { return presentCount }
        let forgotten = state.certificate?.decree.forgotten ?? []
        return named.count {
            ($0 == localPeer || present.contains($0) && registers[$0] != nil) && !forgotten.contains($0)
        }
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
        for peer in present where !forgotten.contains(peer) {
            guard let register = registers[peer], !register.isFormer else { continue }
            cards[peer] = register.card
        }
        cards[localPeer] = forgotten.contains(localPeer) ? nil : configuration.card
        return cards
    }

    /// How many `presentMembers` there are.
    var presentCount: Int {
        let forgotten = state.certificate?.decree.forgotten ?? []
        let others = present.count {
            $0 != localPeer && registers[$0].map { !$0.isFormer } ?? false && !forgotten.contains($0)
        }
        return others + (forgotten.contains(localPeer) ? 0 : 1)
    }

    /// The members that were met in this life and are not forgotten, this node included.
    package var metMembers: Set<PeerID> {
        let forgotten = state.certificate?.decree.forgotten ?? []
        return met.union([localPeer]).subtracting(forgotten)
    }

    /// Before the founding, members that were met and whose `p2p.minimum_nodes` is another.
    package var membersOfOtherScopes: [PeerID: ElectionScope] {
        guard state.certificate == nil else { return [:] }
        return registers.filter {
            met.contains($0.key) && $0.value.number == state.number && $0.value.scope != configuration.scope
        }.mapValues(\.scope)
    }

    /// Decrees of the same network that do not follow from this node's, by which member holds them: two halves
    /// founded a cluster each, or the holder lies, or the voters that this node knows were given up without it.
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
            // A write that fails, and a node that must not vote, have moments of their own.
            case .idle: writeFailure == nil && !isSilentNow ? nextAttempt : nil
            }
        return [retry, step, patienceEnds, voterDeadline].compactMap { $0 }.min()
    }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .register(let peer, let register): learn(register, of: peer, at: now)
        case .certificate(let certificate, let holder): learn(certificate, holder: holder, at: now)
        case .present(let peers): updatePresence(peers, at: now)
        case .wishes(let wishes): self.wishes = wishes
        case .settings(let forcedRole):
            let card = configuration.card
            configuration.card = MemberCard(uuid: card.uuid, name: card.name, forcedRole: forcedRole)
        case .leave: state.hasLeft = true
        case .recover: if state.certificate != nil { state.recovers = true }
        case .mayVote(let may): mayVote = may
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
        isSilentNow = isSilent(at: now)
        believeMembers(at: now)
        missFounder(at: now)
        trackVoters(at: now)
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
            // Whoever comes believes what somebody that is here holds. Until it is on this disk the holders are
            // those of a newer decree.
            if publishedNumber < number,
                holds || holders.isDisjoint(with: present) || state.certificate != certificate
            {
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
        var register = ElectionRegister(
            scope: configuration.scope, card: configuration.card, number: durable.number,
            promised: durable.promised, accepted: durable.accepted,
            missesFounder: missesFounder && durable.number == state.number,
            hasLeft: durable.hasLeft || wishes.isDeparting, recovers: durable.recovers)
        guard durable.number == state.number, durable.recovers == state.recovers else { return register }
        switch phase {
        case .preparing(let ballot, _) where durable.highestDrivenRound >= ballot.round:
            register.drive = .init(ballot: ballot, decree: nil)
        case .proposing(let ballot, let decree, _) where durable.highestDrivenRound >= ballot.round:
            var recovered: [PeerID]?
            if case .recovered(let nodes) = electorate { recovered = nodes }
            register.drive = .init(ballot: ballot, decree: decree, recovered: recovered)
        default:
            break
        }
        return register
    }

    /// Keeps account of a founder that is away although nobody can have joined it, and of a running cluster whose
    /// servers are all away.
    mutating func missFounder(at now: Instant) {
        guard let decree = state.certificate?.decree else {
            (founderMissedSince, serversMissedSince, missesFounder, patienceEnds) = (nil, nil, false, nil)
            return
        }
        if !decree.isRunning, decree.founder.peer != localPeer, !present.contains(decree.founder.peer) {
            founderMissedSince = founderMissedSince ?? now
        } else {
            founderMissedSince = nil
        }
        if decree.isRunning,
            !decree.servers.contains(where: { $0.peer == localPeer || present.contains($0.peer) })
        {
            serversMissedSince = serversMissedSince ?? now
        } else {
            serversMissedSince = nil
        }
        let ends = [
            founderMissedSince.map { $0 + configuration.timing.founderPatience },
            serversMissedSince.map { $0 + configuration.timing.serverPatience },
        ].compactMap { $0 }.min()
        let isOver = ends.map { now >= $0 } ?? false
        missesFounder = isElector && (isOver || wishes.refoundAfter == decree.epoch)
        patienceEnds = isOver ? nil : ends
    }
}
