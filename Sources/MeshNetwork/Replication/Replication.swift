package import Ledger
package import LibP2P
package import Timing

/// Keeps this node's ledger and those of its peers the same.
///
/// - A local change is published in the room at once, as a block that holds only what changed.
/// - Admitted peers compare digests when they meet and on a slow timer (`Trickle`), and at once after
///   an exchange brought news; only what differs travels.
/// - While stock nodes are in the room, whole blocks are broadcast as they do (contract/wire.md J.11),
///   unless somebody else's block has just said everything that ours would.
/// - Among our own nodes presence keeps a node's address its own (`PresenceLog`). Stock nodes want a
///   heartbeat younger than 480 s: it is renewed every 120 s while such a node is in the room, every 360 s
///   while one is known by its own heartbeat alone, as beyond another network, and not at all otherwise.
///   It begins with the first entry in `machines`, because stock nodes wait for a live node that has no
///   address (contract L.3).
///
/// Pure: the driver brings peers, blocks, frames and clocks, and carries the effects out.
package struct Replication: Sendable {
    private struct Peer: Sendable {
        var frames: TokenBucket
        var bytes: TokenBucket
        var answers: TokenBucket
    }

    package private(set) var ledger: Ledger
    package private(set) var counters = Counters()
    private let identity: Identity
    /// This node as the owner of its entries.
    private let own: LedgerText
    private let configuration: Configuration
    private var generator: SeededGenerator
    private var peers: [PeerID: Peer] = [:]
    private var schedule = SnapshotSchedule()
    private var trickle: Trickle
    private var verifications: VerificationBudget
    private var stockPeers = 0
    /// Whether another node's ledger was merged in this life.
    package private(set) var hasCaughtUp = false
    private var broadcastAt: Instant?
    private var summaryAt: Instant?
    /// When the heartbeat is looked at next; nil while nobody needs it.
    private var heartbeatAt: Instant?
    /// Whether it is renewed then, if it is old, although nobody is known to need it.
    private var renewsHeartbeat = true
    private var presence = PresenceLog()
    /// When each owner's heartbeat last changed, by this node's own clock.
    private var heartbeatsHeard: [LedgerText: Instant] = [:]
    /// What the wall clock showed when the monotonic one began, by the last reading.
    private var clockStart: UnixTime?
    private var reapAt: Instant
    private var forgetAt: Instant

    /// Makes the core of a node whose stored ledger is `stored`.
    package init(
        identity: Identity, stored: Block?, configuration: Configuration = Configuration(),
        generator: SeededGenerator, at now: Instant
    ) {
        self.identity = identity
        self.own = LedgerText(identity.peerID.description)
        self.configuration = configuration
        self.generator = generator
        ledger =
            stored.map { Ledger(restoring: $0, configuration: configuration.ledger) }
            ?? Ledger(configuration: configuration.ledger)
        trickle = Trickle(at: now, generator: &self.generator)
        verifications = VerificationBudget(at: now)
        reapAt = now + configuration.reapInterval
        forgetAt = now + .seconds(60)
        // A heartbeat from before the restart may be about to expire; the first tick decides.
        heartbeatAt = now
        notePresence()
    }

    private mutating func notePresence() {
        ledger.presentOwners = presence.owners.union([own])
    }

    /// The admitted peers.
    package var admittedPeers: Set<PeerID> { Set(peers.keys) }

    /// Whether changes are not on disk yet.
    package var hasUnsavedChanges: Bool { schedule.hasUnsavedChanges }

    /// How many changes there were since the start, and how many of them are on disk: who waits for
    /// durability waits until the second has reached what the first is now.
    package var changeCount: UInt64 { schedule.changes }
    package var savedChangeCount: UInt64 { schedule.savedChanges }

    /// The earliest instant at which `.tick` has something to do.
    package var nextDeadline: Instant? {
        var deadlines = [reapAt, forgetAt]
        if !peers.isEmpty { deadlines.append(trickle.nextDeadline) }
        for deadline in [broadcastAt, summaryAt, heartbeatAt, presence.nextDeadline, schedule.nextDeadline] {
            if let deadline { deadlines.append(deadline) }
        }
        return deadlines.min()
    }

    /// Whether a message of `bytes` by `author` may cost the work of opening and merging it now.
    package mutating func allowsRoomMessage(from author: PeerID, bytes: Int, at now: Instant) -> Bool {
        if verifications.allows(author, at: now) { return true }
        counters.rateLimited += 1
        return false
    }

    package mutating func receive(_ input: Input, at moment: Moment) -> [Effect] {
        var effects: [Effect]
        watchClock(moment)
        switch input {
        case .write(let writes, let durable): effects = write(writes, durable: durable, moment)
        case .roomBlock(let block, let author): effects = roomBlock(block, author, moment)
        case .peerAdmitted(let peer): effects = peerAdmitted(peer, moment)
        case .peerLeft(let peer):
            peers[peer] = nil
            trickle.forget(peer)
            effects = []
        case .frame(let peer, let bytes): effects = frame(bytes, from: peer, moment)
        case .present(let peers):
            if presence.update(peers, at: moment.instant) { notePresence() }
            effects = []
        case .stockPeers(let count): effects = setStockPeers(count, moment)
        case .persisted(let succeeded):
            schedule.finished(succeeded: succeeded, at: moment.instant)
            effects = []
        case .flush:
            schedule.hurry()
            effects = []
        case .tick: effects = tick(moment)
        }
        if schedule.shouldWrite(at: moment.instant) {
            effects.append(.persist(ledger.snapshot(at: moment.wall)))
        }
        return effects
    }

    // MARK: local changes

    private mutating func write(_ writes: [Write], durable: Bool, _ moment: Moment) -> [Effect] {
        var changes: [EntryChange] = []
        var effects: [Effect] = []
        // An address counts only while its owner is live: the heartbeat comes first, in the same block.
        if writes.contains(where: { $0.isAddress }),
            (heartbeatAge(moment.wall) ?? .seconds(3600)) >= .seconds(60),
            let beat = beat(moment)
        {
            changes.append(beat)
        }
        for write in writes {
            if case .retract(let id, let version) = write {
                if let tombstone = ledger.retraction(of: id, version: version, by: identity, at: moment.wall)
                {
                    effects.append(.publish(Block(storage: [id.bucket: [id.key: tombstone]])))
                }
                continue
            }
            do {
                if let change = try apply(write, moment.wall) { changes.append(change) }
            } catch {
                effects.append(.refused(write, error))
            }
        }
        return effects + publish(changes, durable: durable, moment)
    }

    private mutating func apply(_ write: Write, _ now: UnixTime) throws(LedgerError) -> EntryChange? {
        switch write {
        case .put(let id, let value, let floor):
            try ledger.put(id, value: value, above: floor, by: identity, at: now)
        case .delete(let id): try ledger.delete(id, by: identity, at: now)
        // Changes nothing here; `write` publishes it.
        case .retract: nil
        }
    }

    private mutating func publish(_ changes: [EntryChange], durable: Bool = false, _ moment: Moment)
        -> [Effect]
    {
        guard !changes.isEmpty else { return [] }
        schedule.changed(urgent: durable)
        trickle.reset(at: moment.instant, generator: &generator)
        counters.deltasPublished += 1
        return [.changed(changes), .publish(ledger.delta(of: changes.map(\.id), at: moment.wall))]
    }

    // MARK: the room

    private mutating func roomBlock(_ block: Block, _ author: PeerID, _ moment: Moment) -> [Effect] {
        counters.blocksReceived += 1
        let report = merge(block, from: author, moment)
        let held = report.fates.lazy.filter { $0.fate == .identical || $0.fate == .accepted }.count
        if held >= ledger.usage.total.entries, broadcastAt != nil {
            // Somebody just said everything that this node would say.
            broadcastAt = moment.instant + broadcastDelay()
        }
        if !report.changes.isEmpty { trickle.reset(at: moment.instant, generator: &generator) }
        // A block with an index is a whole one; what only changed carries none.
        return news(of: report, in: block, moment) + (block.index > 0 ? caughtUp() : [])
    }

    /// What observers are told of a merge, and what is answered to an entry that was rejected.
    ///
    /// Two nodes that hold one address each reject the other's entry, and only the newer one travels
    /// when ledgers are compared. So the owner of the older entry, who was first, says it again in the
    /// room; the other then learns of it. Only the older one answers, so they cannot answer for ever.
    private func news(of report: MergeReport, in block: Block, _ moment: Moment) -> [Effect] {
        var effects: [Effect] = report.changes.isEmpty ? [] : [.changed(report.changes)]
        for (id, reason) in report.rejections where id.bucket == .machines && reason != .invalidSignature {
            guard let entry = block.storage[id.bucket]?[id.key] else { continue }
            effects.append(.rejected(id, entry, reason))
            if let held = ledger.entry(id), held.owner == own, !held.isDeleted, entry.owner != own,
                !entry.isDeleted, held.version < entry.version
            {
                effects.append(.publish(ledger.delta(of: [id], at: moment.wall)))
            }
        }
        return effects
    }

    private mutating func caughtUp() -> [Effect] {
        guard !hasCaughtUp else { return [] }
        hasCaughtUp = true
        return [.caughtUp]
    }

    private mutating func merge(_ block: Block, from peer: PeerID, _ moment: Moment) -> MergeReport {
        let before = ledger.signaturesVerified
        let report = ledger.merge(block, at: moment.wall, settlesTies: true)
        verifications.charge(peer, ledger.signaturesVerified - before, at: moment.instant)
        counters.entriesAccepted += report.changes.count
        counters.entriesRejected += report.rejections.count
        if !report.changes.isEmpty { schedule.changed() }
        let beats = report.changes.filter { $0.id.bucket == .healthcheck && $0.new?.isDeleted == false }
        for beat in beats { heartbeatsHeard[beat.id.key] = moment.instant }
        if !beats.isEmpty { listenForStrangers(moment) }
        return report
    }

    private mutating func setStockPeers(_ count: Int, _ moment: Moment) -> [Effect] {
        let grew = count > stockPeers
        stockPeers = max(0, count)
        if stockPeers == 0 {
            broadcastAt = nil
        } else if grew {
            // A newcomer knows nothing: it need not wait for the next round.
            let soon = moment.instant + generator.duration(in: .milliseconds(50) ... .milliseconds(1000))
            broadcastAt = min(broadcastAt ?? soon, soon)
            heartbeatAt = moment.instant
        }
        return []
    }

    private mutating func broadcastDelay() -> Duration {
        generator.duration(
            in: (configuration.broadcastInterval / 2)...(configuration.broadcastInterval * 3 / 2))
    }

    // MARK: admitted peers

    private mutating func peerAdmitted(_ peer: PeerID, _ moment: Moment) -> [Effect] {
        guard peers[peer] == nil else { return [] }
        let now = moment.instant
        peers[peer] = Peer(
            frames: TokenBucket(capacity: 512, perSecond: 32, at: now),
            bytes: TokenBucket(capacity: 8 << 20, perSecond: 262_144, at: now),
            answers: TokenBucket(capacity: 8 << 20, perSecond: 524_288, at: now))
        // One of the two begins; the other stands behind it, in case that frame was lost.
        if identity.peerID < peer { return [summary(to: peer)] }
        let backstop = now + generator.duration(in: .milliseconds(1000) ... .milliseconds(1500))
        summaryAt = summaryAt ?? backstop
        return []
    }

    private mutating func frame(_ bytes: [UInt8], from peer: PeerID, _ moment: Moment) -> [Effect] {
        let now = moment.instant
        guard peers[peer] != nil else { return [] }
        guard peers[peer]?.frames.take(at: now) == true,
            peers[peer]?.bytes.take(bytes.count, at: now) == true,
            verifications.allows(peer, at: now)
        else {
            counters.rateLimited += 1
            return []
        }
        counters.framesReceived += 1
        let frame: LedgerFrame
        do {
            frame = try LedgerFrame(decoding: bytes)
        } catch {
            counters.badFrames += 1
            return []
        }
        switch frame {
        case .entries(let block): return entries(block, from: peer, moment) + caughtUp()
        case .equal:
            trickle.heardEqual(from: peer)
            return caughtUp()
        case .summary(let theirs) where theirs == ledger.digest().fingerprint(of: .whole):
            trickle.heardEqual(from: peer)
            return [send(.equal, to: peer, now)].compactMap { $0 } + caughtUp()
        case .summary, .branches, .leaves, .want: break
        }
        return Reconciliation.answer(frame, ledger: &ledger, now: moment.wall).compactMap {
            send($0, to: peer, now)
        }
    }

    private mutating func entries(_ block: Block, from peer: PeerID, _ moment: Moment) -> [Effect] {
        let report = merge(block, from: peer, moment)
        let correction = Reconciliation.correction(
            of: block, report: report, ledger: ledger, now: moment.wall)
        let answers = correction.compactMap { send($0, to: peer, moment.instant) }
        if !report.changes.isEmpty {
            trickle.reset(at: moment.instant, generator: &generator)
            // What one peer knew and this one did not, others may not know either; and the peer may
            // have more than fitted into one answer.
            let soon = moment.instant + generator.duration(in: .milliseconds(20) ... .milliseconds(120))
            summaryAt = summaryAt ?? soon
        }
        return news(of: report, in: block, moment) + answers
    }

    private mutating func send(_ frame: LedgerFrame, to peer: PeerID, _ now: Instant) -> Effect? {
        let bytes = frame.encoded
        guard bytes.count <= LedgerFrame.maximumLength,
            peers[peer]?.answers.take(bytes.count, at: now) == true
        else {
            counters.rateLimited += 1
            return nil
        }
        return .send(peer, counted(bytes))
    }

    private mutating func summary(to peer: PeerID) -> Effect {
        .send(peer, counted(LedgerFrame.summary(ledger.digest().fingerprint(of: .whole)).encoded))
    }

    private mutating func counted(_ bytes: [UInt8]) -> [UInt8] {
        counters.framesSent += 1
        counters.frameBytesSent += bytes.count
        return bytes
    }

    // MARK: time

    private mutating func tick(_ moment: Moment) -> [Effect] {
        let now = moment.instant
        var effects: [Effect] = []
        if let due = summaryAt, due <= now {
            summaryAt = nil
            let chosen = peers.keys.sorted().shuffled(using: &generator).prefix(8)
            effects += chosen.map { summary(to: $0) }
        }
        if !peers.isEmpty, trickle.nextDeadline <= now {
            for peer in trickle.tick(at: now, peers: peers.keys, generator: &generator) {
                effects.append(summary(to: peer))
            }
        }
        if presence.expire(at: now) { notePresence() }
        if let due = heartbeatAt, due <= now { effects += heartbeat(moment) }
        if reapAt <= now {
            reapAt = now + configuration.reapInterval
            // Whose heartbeat goes on is alive, even if its time looks old because this node's clock is wrong.
            heartbeatsHeard = heartbeatsHeard.filter { now - $0.value < PresenceLog.window }
            // A node that sees nobody else live is alone.
            if ledger.availableNodes(at: moment.wall).count > 1 {
                let reaped = ledger.reap(by: identity, sparing: Set(heartbeatsHeard.keys), at: moment.wall)
                effects += publish(reaped, moment)
            }
        }
        if forgetAt <= now {
            forgetAt = now + .seconds(60)
            let forgotten = ledger.forgetTombstones(at: moment.wall)
            if !forgotten.isEmpty { schedule.changed() }
            verifications.forgetIdle(at: now)
        }
        if let due = broadcastAt, due <= now {
            broadcastAt = now + broadcastDelay()
            if !ledger.storage.isEmpty {
                counters.blocksPublished += 1
                effects.append(.publish(ledger.block(at: moment.wall)))
            }
        }
        return effects
    }

    /// A wall clock that was set makes the heartbeat look old, or from the future, to everybody.
    private mutating func watchClock(_ moment: Moment) {
        let start = moment.wall + (.zero - moment.instant)
        if let clockStart, abs((start - clockStart).inSeconds) > 30 {
            heartbeatAt = moment.instant
            renewsHeartbeat = true
        }
        clockStart = start
    }

    // MARK: heartbeat

    private var beats: Bool {
        configuration.beatsWithoutAddress
            || ledger.storage[.machines]?.values.contains { $0.owner == own && !$0.isDeleted } == true
    }

    /// How often somebody needs this node's heartbeat; nil when nobody does.
    private func heartbeatPeriod(_ now: UnixTime) -> Duration? {
        if stockPeers > 0 { return configuration.stockHeartbeat }
        return ledger.hasStrangers(besides: own, at: now) ? configuration.distantHeartbeat : nil
    }

    /// A stock node that others meet and this one does not is known by its heartbeat. All nodes learn of it
    /// at once and do not answer at once. Whoever is here was taken for a stranger when its heartbeat came
    /// before the news that it is here; then nothing is written.
    private mutating func listenForStrangers(_ moment: Moment) {
        guard heartbeatAt == nil, ledger.hasStrangers(besides: own, at: moment.wall) else { return }
        heartbeatAt = moment.instant + generator.duration(in: .seconds(10) ... .seconds(60))
    }

    private mutating func heartbeat(_ moment: Moment) -> [Effect] {
        let needed = heartbeatPeriod(moment.wall)
        let isWanted = needed != nil || renewsHeartbeat
        renewsHeartbeat = false
        let period = needed ?? configuration.distantHeartbeat
        let wait = generator.duration(in: (period * 9 / 10)...period)
        // Without an address it begins with the first one, which comes as a local write.
        if isWanted, beats {
            if let age = heartbeatAge(moment.wall), age < period * 9 / 10 {
                heartbeatAt = needed.map { _ in moment.instant + (wait - age) }
                return []
            }
            heartbeatAt = needed.map { _ in moment.instant + wait }
            return publish(beat(moment).map { [$0] } ?? [], moment)
        }
        heartbeatAt = needed.map { _ in moment.instant + wait }
        return []
    }

    /// How old this node's heartbeat is; nil when there is none, or one from the future, which stems
    /// from a clock that has been set back and is to be replaced.
    private func heartbeatAge(_ now: UnixTime) -> Duration? {
        guard let entry = ledger.entry(EntryID(.healthcheck, own)), !entry.isDeleted, entry.owner == own
        else {
            return nil
        }
        let written = UnixTime(seconds: entry.updatedAt)
        return written <= now ? now - written : nil
    }

    private mutating func beat(_ moment: Moment) -> EntryChange? {
        let value = LedgerText("\"\(GoTime.rfc3339(moment.wall))\"")
        // It cannot be refused: the key is this node's own, and only its version could be exhausted.
        return try? ledger.put(EntryID(.healthcheck, own), value: value, by: identity, at: moment.wall)
    }
}
