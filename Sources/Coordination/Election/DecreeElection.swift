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
        /// For how long a founder whose cluster does not run may be away before another is chosen.
        package var founderPatience: Duration = .seconds(15)

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

    private enum Phase: Hashable {
        case idle
        case preparing(Ballot, since: Instant)
        case proposing(Ballot, Decree, since: Instant)
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
    /// This node's own register as others hold it, of a number that its disk does not know of.
    private var remembered: ElectionRegister?
    private var rivals: [PeerID: Decree] = [:]
    /// Who publishes the certificate of the newest decree.
    private var holders: Set<PeerID> = []
    private var present: Set<PeerID> = []
    private var wishes = ElectionWishes()
    private var wished: (decree: Decree, since: Instant)?
    private var lastPublished: ElectionRegister?
    private var publishedNumber: UInt64 = 0
    private var announcedNumber: UInt64 = 0
    private var founderMissedSince: Instant?
    private var missesFounder = false

    private var presenceChanged: Instant
    private var quorumSince: Instant?
    /// When this node last promised or accepted another's ballot: that attempt is given its time.
    private var lastHeard: Instant?
    private var failures = 0
    private var pauseUntil: Instant = .zero

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
        members.filter { $0.key == localPeer || present.contains($0.key) }
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
        case .register(let peer, let register): learn(register, of: peer)
        case .certificate(let certificate, let holder): learn(certificate, holder: holder)
        case .present(let peers): updatePresence(peers, at: now)
        case .wishes(let wishes): self.wishes = wishes
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

    // MARK: learning

    private mutating func learn(_ register: ElectionRegister, of peer: PeerID) {
        guard register.scope.network == configuration.scope.network else { return }
        if peer == localPeer {
            recoverOwnPromises(from: register)
            return
        }
        guard registers[peer] != nil || registers.count < Self.mostMembers else { return }
        registers[peer] = register
    }

    /// The network remembers more than this node's disk: the disk lost what was synced. The promises
    /// made are kept all the same, those of a later number until the decisions before it are known.
    private mutating func recoverOwnPromises(from register: ElectionRegister) {
        if register.number > state.number {
            if register.number >= remembered?.number ?? 0 { remembered = register }
            return
        }
        guard register.number == state.number else { return }
        if let promised = register.promised, promised > (state.promised ?? Self.below(promised)) {
            state.promised = promised
        }
        if let accepted = register.accepted, accepted.acceptor == localPeer,
            accepted.decree.number == state.number, accepted.isValid(in: scope)
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

    private mutating func learn(_ certificate: DecreeCertificate, holder: PeerID) {
        guard certificate.scope.network == configuration.scope.network else { return }
        let decree = certificate.decree
        guard let known = state.certificate?.decree else {
            // A network that asks for the word of two does not take that of one.
            guard certificate.scope.quorum >= min(2, configuration.scope.quorum) else { return }
            decide(certificate)
            holders.insert(holder)
            return
        }
        if decree == known {
            if holders.count < Self.mostMembers { holders.insert(holder) }
            rivals[holder] = nil
        } else if decree.descends(from: known) {
            guard certificate.scope.quorum >= min(2, known.quorum) else { return }
            decide(certificate)
            holders.insert(holder)
            rivals[holder] = nil
        } else if decree.number >= known.number
            || decree.epoch == known.epoch && decree.founder != known.founder,
            holder != localPeer, rivals.count < Self.mostMembers
        {
            rivals[holder] = decree
        } else {
            // An older decree of the same line: its holder has yet to hear of the newer one.
            rivals[holder] = nil
        }
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
        missFounder(at: now)
        trackQuorum(at: now)
        trackWish(at: now)
        answerDrives(at: now)
        drive(at: now)
        detectDecision()
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
    private var publishable: ElectionRegister {
        let decree = durable.certificate?.decree
        let scope = ElectionScope(
            network: configuration.scope.network, quorum: decree?.quorum ?? configuration.scope.quorum)
        var register = ElectionRegister(
            scope: scope, card: configuration.card, number: durable.number, promised: durable.promised,
            accepted: durable.accepted, missesFounder: missesFounder && durable.number == state.number,
            hasLeft: durable.hasLeft)
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
    private mutating func missFounder(at now: Instant) {
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

    // MARK: the acceptor

    /// The registers that are about the open decree, of those whose word counts.
    private var votes: [PeerID: ElectionRegister] {
        let forgotten = state.certificate?.decree.forgotten ?? []
        let scope = scope
        return registers.filter {
            $0.value.number == state.number && $0.value.scope == scope && !forgotten.contains($0.key)
        }
    }

    private mutating func answerDrives(at now: Instant) {
        for (peer, register) in votes {
            guard let drive = register.drive, drive.ballot.proposer == peer else { continue }
            answer(drive, at: now, isOwn: false)
        }
        switch phase {
        case .preparing(let ballot, _): answer(.init(ballot: ballot, decree: nil), at: now, isOwn: true)
        case .proposing(let ballot, let decree, _):
            answer(.init(ballot: ballot, decree: decree), at: now, isOwn: true)
        case .idle: break
        }
    }

    private mutating func answer(_ drive: ElectionRegister.Drive, at now: Instant, isOwn: Bool) {
        if let promised = state.promised, drive.ballot < promised { return }
        // All who know the last decree judge this alike, so a refusal never blocks what others accept.
        if let decree = drive.decree, !decree.follows(state.certificate?.decree) { return }
        if isForgotten { return }
        var answered = false
        if state.promised.map({ drive.ballot > $0 }) ?? true {
            state.promised = drive.ballot
            answered = true
        }
        if let decree = drive.decree, state.accepted.map({ $0.ballot < drive.ballot }) ?? true {
            let statement = SignedAccept.statement(
                in: scope, acceptor: localPeer, ballot: drive.ballot, decree: decree)
            state.accepted = SignedAccept(
                acceptor: localPeer, ballot: drive.ballot, decree: decree,
                signature: configuration.identity.sign(statement))
            answered = true
        }
        if answered, !isOwn { lastHeard = now }
    }

    /// Whether the others have agreed that this node is gone for good: its word counts no more.
    private var isForgotten: Bool { state.certificate?.decree.isForgotten(localPeer) ?? false }

    // MARK: the proposer

    private mutating func drive(at now: Instant) {
        switch phase {
        case .idle:
            guard let start = nextAttempt, now >= start, writeFailure == nil else { return }
            begin(at: now)
        case .preparing(let ballot, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { return fail(at: now) }
            guard let promises = promises(for: ballot) else { return }
            guard let decree = promises.highestAccepted ?? wished?.decree else { return fail(at: now) }
            phase = .proposing(ballot, decree, since: now)
            answer(.init(ballot: ballot, decree: decree), at: now, isOwn: true)
        case .proposing(let ballot, _, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { fail(at: now) }
        }
    }

    private mutating func begin(at now: Instant) {
        let highest = max(
            state.highestDrivenRound, state.promised?.round ?? 0,
            votes.values.map { max($0.promised?.round ?? 0, $0.drive?.ballot.round ?? 0) }.max() ?? 0)
        // A register that names the last round there is would end the election for everyone.
        guard highest < UInt64.max else { return }
        let ballot = Ballot(round: highest + 1, proposer: localPeer)
        state.highestDrivenRound = ballot.round
        phase = .preparing(ballot, since: now)
        answer(.init(ballot: ballot, decree: nil), at: now, isOwn: true)
    }

    private func isPreempted(_ ballot: Ballot) -> Bool {
        if let promised = state.promised, promised > ballot { return true }
        return votes.values.contains { $0.promised.map { $0 > ballot } ?? false }
    }

    private mutating func fail(at now: Instant) {
        failures = min(failures + 1, 16)
        phase = .idle
        let ceiling = min(
            configuration.timing.longestPause, .milliseconds(250) * (1 << min(failures, 6)))
        pauseUntil = now + random.duration(in: .milliseconds(100)...max(.milliseconds(100), ceiling))
    }

    /// What a quorum's promises at `ballot` say: the decree of their highest accept, which must then be
    /// proposed again, or none when nothing was accepted. Nil until a quorum has promised.
    private func promises(for ballot: Ballot) -> Promises? {
        var promisers: [SignedAccept?] = votes.filter { $0.value.promised == ballot }.map { vote in
            vote.value.accepted.flatMap { $0.acceptor == vote.key ? $0 : nil }
        }
        if durable.number == state.number, durable.promised == ballot { promisers.append(durable.accepted) }
        guard promisers.count >= scope.quorum else { return nil }
        let accepted = promisers.compactMap { $0 }.filter { $0.decree.follows(state.certificate?.decree) }
        return Promises(highestAccepted: accepted.max { $0.ballot < $1.ballot }?.decree)
    }

    private struct Promises {
        let highestAccepted: Decree?
    }

    private mutating func detectDecision() {
        struct Choice: Hashable {
            let ballot: Ballot
            let decree: Decree
        }
        var choices: [Choice: [SignedAccept]] = [:]
        for (peer, register) in votes {
            guard let accept = register.accepted, accept.acceptor == peer else { continue }
            choices[Choice(ballot: accept.ballot, decree: accept.decree), default: []].append(accept)
        }
        if durable.number == state.number, let own = durable.accepted {
            choices[Choice(ballot: own.ballot, decree: own.decree), default: []].append(own)
        }
        for (choice, accepts) in choices
        where accepts.count >= scope.quorum && choice.decree.follows(state.certificate?.decree) {
            let valid = accepts.filter { $0.isValid(in: scope) }
            if let certificate = DecreeCertificate(
                scope: scope, ballot: choice.ballot, decree: choice.decree, accepts: valid)
            {
                return decide(certificate)
            }
        }
    }

    /// The decree is decided: what comes now is about the next.
    private mutating func decide(_ certificate: DecreeCertificate) {
        state.advance(to: certificate)
        phase = .idle
        failures = 0
        pauseUntil = .zero
        lastHeard = nil
        wished = nil
        holders = []
        founderMissedSince = nil
        missesFounder = false
        if let remembered, remembered.number <= state.number {
            self.remembered = nil
            recoverOwnPromises(from: remembered)
        }
    }

    // MARK: wishes

    /// The decree that this node would have next, if any.
    private var wishedDecree: Decree? {
        let present = presentMembers
        guard !isForgotten else { return nil }
        guard let decree = state.certificate?.decree else {
            return preferredFounder(among: present).map { .founding($0, quorum: scope.quorum) }
        }
        if wishes.refoundAfter == decree.epoch {
            return preferredFounder(among: present).map { decree.refounded(by: $0) }
        }
        if !decree.isRunning {
            if decree.founder.peer == localPeer { return wishes.founderIsReady ? decree.running : nil }
            let missing = votes.filter { $0.value.missesFounder && self.present.contains($0.key) }.count
            guard missesFounder, missing + 1 >= scope.quorum else { return nil }
            return preferredFounder(among: present).map { decree.refounded(by: $0) }
        }
        var gone = wishes.forget.subtracting(decree.forgotten)
        if state.hasLeft { gone.insert(localPeer) }
        if !gone.isEmpty, let next = decree.forgetting(gone) { return next }
        let back = decree.forgotten.filter { peer in
            self.present.contains(peer) && registers[peer].map { !$0.hasLeft } ?? false
                && !wishes.forget.contains(peer)
        }
        if let back = back.min() { return decree.recalling(back) }
        if configuration.scope.quorum > decree.quorum, present.count >= configuration.scope.quorum {
            return decree.raising(quorum: configuration.scope.quorum)
        }
        return decreeForMoreServers(after: decree, present: present)
    }

    private func preferredFounder(among present: [PeerID: MemberCard]) -> ElectedServer? {
        guard let peer = CandidateOrder.candidates(among: present).first, let card = present[peer] else {
            return nil
        }
        return ElectedServer(peer: peer, uuid: card.uuid)
    }

    /// One server more, when more are asked for and all there are can be reached and are ready: etcd takes
    /// one new member at a time (contract/k3s.md §11.1). All of them must have shown that they know this
    /// decree: leases count on it that the sets of servers that two of them know are at most one apart.
    private func decreeForMoreServers(after decree: Decree, present: [PeerID: MemberCard]) -> Decree? {
        guard let additional = wishes.additionalServers, decree.servers.count < Decree.mostServers,
            decree.servers.allSatisfy({ present[$0.peer] != nil && wishes.readyServers.contains($0.peer) }),
            decree.servers.allSatisfy({ $0.peer == localPeer || votes[$0.peer] != nil })
        else { return nil }
        let candidates = CandidateOrder.candidates(among: present).filter { !decree.isServer($0) }
        guard let next = candidates.first, let card = present[next] else { return nil }
        guard decree.servers.count < 1 + additional || card.forcedRole == .master else { return nil }
        return decree.adding(ElectedServer(peer: next, uuid: card.uuid))
    }

    private mutating func trackWish(at now: Instant) {
        let wish = wishedDecree
        if wish != wished?.decree { wished = wish.map { ($0, now) } }
    }

    // MARK: timing

    private mutating func trackQuorum(at now: Instant) {
        if presentMembers.count >= configuration.scope.quorum {
            if quorumSince == nil { quorumSince = now }
        } else {
            quorumSince = nil
        }
    }

    /// When this node may drive an attempt: once it has a wish and a quorum is here and settled, in its
    /// turn, after another's running attempt has had its time.
    private var nextAttempt: Instant? {
        let present = presentMembers
        guard let wished, present.count >= scope.quorum else { return nil }
        let timing = configuration.timing
        let rank = self.rank(wished.decree, among: present)
        var start: Instant
        if state.certificate == nil {
            // A quorum of one founds alone; before it does it gives a running cluster time to be found.
            start = presenceChanged + (scope.quorum == 1 ? timing.lookAround : timing.settle)
            if let quorumSince { start = min(start, quorumSince + timing.longestSettle) }
        } else {
            start = wished.since
        }
        start = start + timing.stagger * min(rank, 8)
        if let lastHeard { start = max(start, lastHeard + timing.attempt + timing.stagger * min(rank, 8)) }
        return max(start, pauseUntil)
    }

    /// In which order this node goes. What only one member can wish for needs no order.
    private func rank(_ wish: Decree, among present: [PeerID: MemberCard]) -> Int {
        if let decree = state.certificate?.decree {
            let isOperators =
                wishes.refoundAfter == decree.epoch || wish.forgotten.count > decree.forgotten.count
            if isOperators || wish == decree.running { return 0 }
        }
        return CandidateOrder.proposers(among: present).firstIndex(of: localPeer) ?? present.count
    }
}
