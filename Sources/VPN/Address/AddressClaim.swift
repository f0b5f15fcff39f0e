package import MeshNetwork
internal import OrderedCollections
package import Timing

/// The claim of this node's mesh address: which one it takes, when it may use it, and when it must
/// give it up (docs/architecture.md, address claims; contract L.3, J.8, J.9).
///
/// ```
///            room answers, or lease, or own entry              quiet time over
///   waiting ─────────────────────────────────────► claiming ───────────────────► settled
///      ▲  ▲                                           │                             │
///      │  └───────────── another claim prevails ──────┴─────────────────────────────┘
///      └── fixed address held by a live node, or subnet full: waits, and says for what
/// ```
///
/// There is no leader. A claim is the signed ledger entry `machines/<address>`. The merge keeps
/// the first live owner, so after a partition each of two holders still has its own entry and is
/// shown the other's as a `RefusedClaim`; `ClaimStanding` names one winner from the two. The loser
/// deletes its entry and takes another address. Its tombstone may be newer than the winner's
/// entry for nodes that had the loser's one, so the winner, who is shown the tombstone, writes its
/// entry again above it.
///
/// What differs from stock EdgeVPN, on purpose: one node alone can have an address, nothing waits
/// for a leader, gaps are used, the subnet's end is respected, a lease is checked for conflicts.
///
/// The composition performs each effect before it gives the next input.
package struct AddressClaim: Sendable {
    /// The constants of a claim.
    package struct Configuration: Hashable, Sendable {
        package var subnet: VirtualSubnet
        /// The address the configuration insists on.
        package var fixedAddress: VirtualAddress?
        /// The address set aside for the API server, never claimed; nil when there is none.
        package var apiAddress: VirtualAddress?
        /// With 1 a node claims at once; with more it first waits for another node's ledger.
        package var minimumNodes: Int
        /// How long a first claim must stay uncontested before it is used.
        package var quietTime: Duration

        package init(
            subnet: VirtualSubnet = .standard, fixedAddress: VirtualAddress? = nil,
            apiAddress: VirtualAddress?? = .none, minimumNodes: Int = 2,
            quietTime: Duration = .milliseconds(500)
        ) {
            self.subnet = subnet
            self.fixedAddress = fixedAddress
            switch apiAddress {
            case .none: self.apiAddress = subnet.standardAPIAddress
            case .some(let given): self.apiAddress = given
            }
            self.minimumNodes = minimumNodes
            self.quietTime = quietTime
        }
    }

    package enum Input: Sendable {
        /// The node runs. The wall clock is only for `waiting` and for the bound on versions.
        case start(UnixTime)
        /// Whether the ledger of at least one other node has been merged.
        case room(answered: Bool)
        /// The ledger's machine entries have changed, or who is live.
        case machines(MachinesView)
        /// The merge refused an entry for an address (any address may be given).
        case refused(RefusedClaim)
        /// The node leaves the network for good: it deletes its entry and its lease.
        case release
        /// `nextDeadline` has come.
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Write the entry with a version greater than `above`, even when the value is unchanged.
        case put(bucket: String, key: String, value: String, above: UInt64)
        /// Delete the entry.
        case delete(bucket: String, key: String)
        /// Publish a tombstone over our own entry of `version` that others still have, without touching
        /// the entry that this node's ledger holds there.
        case retract(bucket: String, key: String, version: UInt64)
        /// Write the lease file.
        case writeLease(VirtualAddress)
        /// Remove the lease file.
        case removeLease
        /// The address is this node's: bring the device up with it.
        case settled(VirtualAddress)
        /// The address is lost: take it off the device.
        case withdrawn(VirtualAddress)
    }

    private enum Phase: Hashable {
        case notStarted
        case waitingForRoom
        case blocked(VirtualAddress, holder: String)
        case exhausted
        case claiming(VirtualAddress, quietUntil: Instant)
        case settled(VirtualAddress)
        case released
    }

    /// An address that another node keeps.
    private struct Loss: Hashable {
        var winner: String
        /// When we stop taking the winner's word for it: it may have given the address up as well.
        var until: Instant
    }

    /// How long a lost address is left alone without a sign of its winner's claim.
    private static let lossMemory = Duration.seconds(10)

    /// How many refused claims and lost addresses are remembered: more than any honest network
    /// shows, and a bound against a peer that forges many.
    private static let memory = 64

    /// How far ahead of this node's clock a tombstone's version may lie to be answered.
    private static let versionTolerance: UInt64 = 86_400_000_000_000

    private let configuration: Configuration
    private let owner: String
    private let description: MachineEntry
    private var phase = Phase.notStarted
    private var phaseSince = Instant.zero
    private var startedAt = Instant.zero
    private var startedAtWall = UnixTime(nanoseconds: 0)
    private var lease: VirtualAddress?
    private var roomAnswered = false
    private var view = MachinesView()
    /// Claims of others for the address we hold, by owner.
    private var rivals: OrderedDictionary<String, ClaimStanding> = [:]
    /// Addresses that we lost: until the winner's entry reaches us they look free.
    private var lost: OrderedDictionary<VirtualAddress, Loss> = [:]
    /// Up to which version each owner has given our address up, so that a late copy of its entry
    /// does not count as a claim.
    private var retired: OrderedDictionary<String, UInt64> = [:]
    /// The version that our next entry must exceed.
    private var floor: UInt64 = 0
    /// Whether the entry has been put since the address was taken, so that it is not put again at
    /// every view.
    private var hasPut = false

    /// Makes the claim of the node `description.peerID`; the description's address is ignored.
    /// `lease` is what the lease file holds.
    ///
    /// Throws `AddressError` when the fixed address cannot be a node's.
    package init(
        configuration: Configuration, description: MachineEntry, lease: VirtualAddress?
    ) throws(AddressError) {
        let subnet = configuration.subnet
        if let fixed = configuration.fixedAddress {
            guard subnet.contains(fixed) else { throw .outsideSubnet(fixed, subnet) }
            guard subnet.isHost(fixed) else { throw .notAHost(fixed, subnet) }
            guard fixed != configuration.apiAddress else { throw .reservedForAPI(fixed) }
        }
        self.configuration = configuration
        self.owner = description.peerID
        self.description = description
        // A lease of another subnet, or one that a fixed address overrules, is of no use.
        if let lease, subnet.isHost(lease), lease != configuration.apiAddress,
            configuration.fixedAddress == nil || configuration.fixedAddress == lease
        {
            self.lease = lease
        }
    }

    /// The address that this node may use now.
    package var address: VirtualAddress? {
        if case .settled(let address) = phase { return address }
        return nil
    }

    /// When the claim wants `.tick`.
    package var nextDeadline: Instant? {
        switch phase {
        case .claiming(_, let quietUntil): quietUntil
        case .blocked, .exhausted: lost.values.map(\.until).min()
        case .notStarted, .waitingForRoom, .settled, .released: nil
        }
    }

    /// What the claim waits for; nil once it is settled.
    package var waiting: Waiting? {
        let since = startedAtWall + (phaseSince - startedAt)
        switch phase {
        case .notStarted, .settled, .released:
            return nil
        case .waitingForRoom:
            return Waiting(
                step: .address, what: "the ledger of another node",
                remedy: "check that another node of this network token runs and can be reached, "
                    + "or set p2p.minimum_nodes to 1", since: since)
        case .claiming(let address, _):
            return Waiting(step: .address, what: "no other node to claim \(address)", since: since)
        case .blocked(let address, let holder):
            return Waiting(
                step: .address, what: "the address \(address), which is taken by the node \(holder)",
                remedy: "give one of the two nodes another address", since: since)
        case .exhausted:
            return Waiting(
                step: .address, what: "a free address in \(configuration.subnet)",
                remedy: "use a larger subnet on all nodes", since: since)
        }
    }

    /// Takes one input and returns what is to be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        switch input {
        case .start(let wallClock):
            guard phase == .notStarted else { return [] }
            startedAt = now
            startedAtWall = wallClock
            enter(.waitingForRoom, at: now)
        case .room(let answered):
            roomAnswered = answered
        case .machines(let view):
            self.view = view
        case .refused(let claim):
            note(claim, at: now, &effects)
        case .release:
            release(at: now, &effects)
        case .tick:
            break
        }
        advance(at: now, &effects)
        return effects
    }

    // MARK: - moving on

    /// Compares what is with what should be, until nothing moves any more.
    private mutating func advance(at now: Instant, _ effects: inout [Effect]) {
        switch phase {
        case .notStarted, .released:
            return
        case .waitingForRoom, .blocked, .exhausted:
            begin(at: now, &effects)
        case .claiming(let address, let quietUntil):
            if let holder = prevailingHolder(of: address) {
                lose(address, to: holder, at: now, &effects)
            } else if now >= quietUntil {
                settle(on: address, at: now, &effects)
            } else {
                assert(address, &effects)
            }
        case .settled(let address):
            if let holder = prevailingHolder(of: address) {
                lose(address, to: holder, at: now, &effects)
            } else {
                assert(address, &effects)
            }
        }
    }

    /// Chooses an address and claims it, or says what is missing.
    private mutating func begin(at now: Instant, _ effects: inout [Effect]) {
        forgetLosses(at: now)
        if let lease {
            if holder(of: lease) == nil { return settle(on: lease, at: now, &effects) }
            self.lease = nil
            effects.append(.removeLease)
        }
        if let fixed = configuration.fixedAddress {
            if let holder = holder(of: fixed) { return enter(.blocked(fixed, holder: holder), at: now) }
            return claim(fixed, at: now, &effects)
        }
        if let own = ownRecord() { return settle(on: own, at: now, &effects) }
        guard roomAnswered || configuration.minimumNodes <= 1 else { return enter(.waitingForRoom, at: now) }
        guard let candidate = freeAddress() else { return enter(.exhausted, at: now) }
        claim(candidate, at: now, &effects)
    }

    /// Publishes a claim. Alone in a network of one, nobody can contest it.
    private mutating func claim(_ address: VirtualAddress, at now: Instant, _ effects: inout [Effect]) {
        guard roomAnswered else {
            if configuration.minimumNodes <= 1 { return settle(on: address, at: now, &effects) }
            return enter(.waitingForRoom, at: now)
        }
        enter(.claiming(address, quietUntil: now + configuration.quietTime), at: now)
        assert(address, &effects)
    }

    private mutating func settle(on address: VirtualAddress, at now: Instant, _ effects: inout [Effect]) {
        enter(.settled(address), at: now)
        assert(address, &effects)
        // One that was restored is on disk already.
        if lease != address { effects.append(.writeLease(address)) }
        lease = address
        effects.append(.settled(address))
    }

    /// Makes the ledger say that `address` is ours, and nothing else.
    private mutating func assert(_ address: VirtualAddress, _ effects: inout [Effect]) {
        let strays = view.records.filter { $1.owner == owner && !$1.isDeleted && $0 != address }
        for stray in strays.keys.sorted() {
            effects.append(.delete(bucket: MachineEntry.bucket, key: stray.description))
            view.records[stray] = nil
        }
        let record = view.records[address]
        let isOurs = record.map { $0.owner == owner && !$0.isDeleted } ?? false
        var entry = description
        entry.address = address
        // An entry that is there is put again only to rise above a tombstone; its value is
        // compared by the ledger, which leaves an unchanged one as it is.
        if let record, isOurs, record.version > floor, hasPut { return }
        hasPut = true
        effects.append(
            .put(bucket: MachineEntry.bucket, key: address.description, value: entry.value, above: floor))
    }

    private mutating func lose(
        _ address: VirtualAddress, to holder: String, at now: Instant, _ effects: inout [Effect]
    ) {
        let wasSettled = phase == .settled(address)
        if let record = view.records[address], record.owner == owner {
            effects.append(.delete(bucket: MachineEntry.bucket, key: address.description))
            view.records[address] = nil
        }
        if lost.count >= Self.memory { lost.removeFirst() }
        lost[address] = Loss(winner: holder, until: now + Self.lossMemory)
        if lease == address {
            lease = nil
            effects.append(.removeLease)
        }
        if wasSettled { effects.append(.withdrawn(address)) }
        enter(.waitingForRoom, at: now)
        begin(at: now, &effects)
    }

    private mutating func release(at now: Instant, _ effects: inout [Effect]) {
        switch phase {
        case .claiming(let address, _), .settled(let address):
            effects.append(.delete(bucket: MachineEntry.bucket, key: address.description))
            if case .settled = phase { effects.append(.withdrawn(address)) }
        case .notStarted, .waitingForRoom, .blocked, .exhausted, .released:
            break
        }
        effects.append(.removeLease)
        lease = nil
        enter(.released, at: now)
    }

    /// Enters `new`. Waiting for the same thing again keeps the time at which the wait began.
    private mutating func enter(_ new: Phase, at now: Instant) {
        if phase == new { return }
        if case .settled(let address) = new, case .claiming(address, _) = phase {
            // What is known of the address stays.
        } else {
            rivals.removeAll()
            retired.removeAll()
            floor = 0
            hasPut = false
            noteTombstone(under: new)
        }
        phase = new
        phaseSince = now
    }

    /// Remembers who gave the address up before we took it: late copies of that node's entry, whose
    /// tombstone ours replaces everywhere, are no claims.
    private mutating func noteTombstone(under phase: Phase) {
        switch phase {
        case .claiming(let address, _), .settled(let address):
            if let record = view.records[address], record.isDeleted { retired[record.owner] = record.version }
        case .notStarted, .waitingForRoom, .blocked, .exhausted, .released:
            break
        }
    }

    // MARK: - who holds what

    /// Takes note of an entry for our address that the merge refused.
    private mutating func note(_ claim: RefusedClaim, at now: Instant, _ effects: inout [Effect]) {
        if claim.owner == owner { return disown(claim, &effects) }
        if !claim.isDeleted, lost[claim.address]?.winner == claim.owner {
            lost[claim.address]?.until = now + Self.lossMemory
        }
        switch phase {
        case .claiming(claim.address, _), .settled(claim.address): break
        default: return
        }
        if claim.isDeleted {
            rivals[claim.owner] = nil
            if retired.count >= Self.memory && retired[claim.owner] == nil { retired.removeFirst() }
            retired[claim.owner] = max(retired[claim.owner] ?? 0, claim.version)
            let wall = startedAtWall + (now - startedAt)
            let bound = UInt64(clamping: wall.nanoseconds).addingReportingOverflow(Self.versionTolerance)
            guard !bound.overflow, claim.version <= bound.partialValue else { return }
            // Whoever had the loser's entry now has its tombstone and refuses ours below it. A
            // version of ours that is already higher makes the put unnecessary; `assert` sees to it.
            floor = max(floor, claim.version)
        } else if retired[claim.owner].map({ claim.version > $0 }) ?? true {
            if rivals.count >= Self.memory && rivals[claim.owner] == nil { rivals.removeFirst() }
            rivals[claim.owner] = ClaimStanding(
                owner: claim.owner, version: claim.version, isStock: claim.isStock)
        }
    }

    /// Withdraws an entry of ours that some nodes still have for an address that is another's now: our
    /// tombstone never reached them because the true owner's newer entry took its place on the way.
    private func disown(_ claim: RefusedClaim, _ effects: inout [Effect]) {
        guard !claim.isDeleted, let record = view.records[claim.address], record.owner != owner else {
            return
        }
        effects.append(
            .retract(bucket: MachineEntry.bucket, key: claim.address.description, version: claim.version))
    }

    /// Who keeps `address` instead of us: the live owner that the ledger shows, or a live rival
    /// whose claim prevails over ours.
    private func prevailingHolder(of address: VirtualAddress) -> String? {
        guard let record = view.records[address], !record.isDeleted else { return nil }
        if record.owner != owner { return view.liveOwners.contains(record.owner) ? record.owner : nil }
        let own = ClaimStanding(owner: owner, version: record.version, isStock: false)
        return rivals.values.first { $0.prevails(over: own) && isCurrent($0) }?.owner
    }

    /// Whether the rival lives and has not moved on: a node has one address, so an entry of it that
    /// is newer than its claim of ours says that the claim is an old copy.
    private func isCurrent(_ rival: ClaimStanding) -> Bool {
        view.liveOwners.contains(rival.owner)
            && !view.records.values.contains {
                $0.owner == rival.owner && !$0.isDeleted && $0.version > rival.version
            }
    }

    /// The node other than us that `address` belongs to and that is live, or may be.
    private func holder(of address: VirtualAddress) -> String? {
        if let loss = lost[address] { return loss.winner }
        guard let record = view.records[address], !record.isDeleted, record.owner != owner,
            view.isSettling || view.liveOwners.contains(record.owner)
        else { return nil }
        return record.owner
    }

    /// Forgets lost addresses whose winner is gone, has moved elsewhere, or has been silent for long.
    private mutating func forgetLosses(at now: Instant) {
        guard !lost.isEmpty else { return }
        var holdings: [String: Set<VirtualAddress>] = [:]
        for (address, record) in view.records where !record.isDeleted {
            holdings[record.owner, default: []].insert(address)
        }
        lost.removeAll { address, loss in
            guard view.liveOwners.contains(loss.winner), now < loss.until else { return true }
            guard let held = holdings[loss.winner] else { return false }
            return !held.contains(address)
        }
    }

    /// An address that the ledger says is ours, the longest held one first: after the loss of the
    /// lease file the network still knows it.
    private func ownRecord() -> VirtualAddress? {
        view.records
            .filter { address, record in
                record.owner == owner && !record.isDeleted && configuration.subnet.isHost(address)
                    && address != configuration.apiAddress && lost[address] == nil
            }
            .min { ($0.value.version, $0.key) < ($1.value.version, $1.key) }?
            .key
    }

    /// The first candidate that nobody ever had; else one that was given back; else one whose owner
    /// is gone.
    private func freeAddress() -> VirtualAddress? {
        var givenBack: VirtualAddress?
        var abandoned: VirtualAddress?
        let candidates = CandidateSequence(
            owner: owner, subnet: configuration.subnet, reserved: configuration.apiAddress)
        for candidate in candidates where lost[candidate] == nil {
            guard let record = view.records[candidate] else { return candidate }
            if record.isDeleted {
                givenBack = givenBack ?? candidate
            } else if record.owner == owner
                || !view.isSettling && !view.liveOwners.contains(record.owner)
            {
                abandoned = abandoned ?? candidate
            }
        }
        return givenBack ?? abandoned
    }
}
