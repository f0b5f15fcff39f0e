package import Timing

extension Ledger {
    /// Merges a received block: judges every entry by the rules of contract J.9 and takes what they
    /// allow. Liveness is that of the heartbeats held before the merge, without those that the block says their
    /// owners have deleted: who gives everything up may have been followed by others already. Index and hashes of the block
    /// do not matter, and entries that it lacks stay. In mode `off` the block is adopted whole or not
    /// at all instead.
    ///
    /// - Parameter settlesTies: whether one of two entries of the same version in an open bucket is chosen
    ///   by its content. Stock nodes keep what they have, so that replicas differ for good where a node
    ///   wrote from a clock that was set back, or two wrote at once.
    package mutating func merge(
        _ block: Block, at now: UnixTime, settlesTies: Bool = false
    ) -> MergeReport {
        if configuration.mode == .off { return adopt(block) }
        var report = MergeReport()
        var liveness = liveness(at: now)
        var entries = block.entries
        // All of these first, then the others.
        let withdrawals = entries.filter { isWithdrawal($0.entry, at: $0.id) }
        if !withdrawals.isEmpty {
            merge(withdrawals, liveness: liveness, now: now, settlesTies: settlesTies, &report)
            liveness = self.liveness(at: now)
            entries.removeAll { isWithdrawal($0.entry, at: $0.id) }
        }
        merge(entries, liveness: liveness, now: now, settlesTies: settlesTies, &report)
        if !report.changes.isEmpty { advance() }
        return report
    }

    /// Whether an owner says by it that it has given up what was its own.
    private func isWithdrawal(_ entry: Entry, at id: EntryID) -> Bool {
        id.bucket == .healthcheck && entry.isDeleted && entry.owner == id.key
    }

    private mutating func merge(
        _ entries: [(id: EntryID, entry: Entry)], liveness: Liveness, now: UnixTime, settlesTies: Bool,
        _ report: inout MergeReport
    ) {
        for (id, entry) in entries {
            let fate = judge(entry, at: id, liveness: liveness, now: now, settlesTies: settlesTies)
            report.fates.append((id, fate))
            switch fate {
            case .accepted, .acceptedWithWarning: report.changes.append(store(entry, at: id))
            case .identical, .kept, .rejected: break
            }
        }
    }

    /// What the rules make of `entry`, the room that is left included.
    mutating func judge(
        _ entry: Entry, at id: EntryID, liveness: Liveness, now: UnixTime, settlesTies: Bool = false
    ) -> EntryFate {
        let current = self.entry(id)
        if let current, current.isIdentical(to: entry) { return .identical }
        let policy = BucketPolicy.of(id.bucket)
        var warning: RejectionReason?
        if policy == .open {
            if let current, entry.version < current.version { return .kept }
            if let current, entry.version == current.version, !settlesTies || !isGreater(entry, than: current)
            {
                return .kept
            }
        } else if let reason = violation(entry, at: id, over: current, policy: policy, liveness: liveness) {
            if configuration.mode == .enforce || policy == .ownerPrefix { return .rejected(reason) }
            warning = reason
        }
        if entry.isDeleted, current == nil, isForgotten(entry, at: now) {
            return .rejected(.forgottenTombstone)
        }
        if let reason = makeRoom(for: entry, at: id, replacing: current, now: now) {
            return .rejected(reason)
        }
        return warning.map { .acceptedWithWarning($0) } ?? .accepted
    }

    /// The first rule of an owned bucket that `entry` breaks, in the contract's order.
    private mutating func violation(
        _ entry: Entry, at id: EntryID, over current: Entry?, policy: BucketPolicy, liveness: Liveness
    ) -> RejectionReason? {
        guard isSigned(entry, at: id) else { return .invalidSignature }
        if policy == .ownerPrefix { return violationOfOwnBucket(entry, at: id, over: current) }
        if entry.isDeleted {
            guard let current else { return .tombstoneForUnknownKey }
            guard liveness.owner(of: current, at: id) == entry.owner || liveness.isExpired(current, at: id)
            else {
                return .tombstoneByNonOwner
            }
            return entry.version > current.version ? nil : .staleTombstone
        }
        if let owner = policy.owner(key: id.key, value: entry.value), owner != entry.owner {
            return .ownerMismatch
        }
        guard let current else { return nil }
        if current.isDeleted { return entry.version > current.version ? nil : .staleReclaim }
        let owner = liveness.owner(of: current, at: id)
        if owner != entry.owner, !liveness.isExpired(current, at: id), !hasMoved(owner, from: id, current) {
            return .overwriteOfLiveEntry
        }
        if entry.version < current.version { return .rollback }
        return entry.version == current.version && !wins(entry, over: current) ? .lostTieBreak : nil
    }

    /// Whether the owner of an address has claimed another one since: a node has one address, so the older
    /// entry is one whose tombstone has not come here. Stock nodes, which keep to
    /// contract J.9, wait for it.
    private func hasMoved(_ owner: LedgerText, from id: EntryID, _ entry: Entry) -> Bool {
        guard id.bucket == .machines else { return false }
        return storage[.machines, default: [:]].values.contains {
            $0.owner == owner && !$0.isDeleted && $0.version > entry.version
        }
    }

    /// Our own buckets: only the owner named by the key writes, the greater version wins, and two
    /// entries of one version settle on the greater signature so that replicas agree.
    private func violationOfOwnBucket(_ entry: Entry, at id: EntryID, over current: Entry?)
        -> RejectionReason?
    {
        guard BucketPolicy.ownerPrefix.owner(key: id.key, value: entry.value) == entry.owner else {
            return .ownerMismatch
        }
        guard let current else { return nil }
        if entry.version < current.version { return .rollback }
        return entry.version == current.version && !wins(entry, over: current) ? .lostTieBreak : nil
    }

    /// Settles two entries of the same version in a bucket that anyone writes.
    private func isGreater(_ entry: Entry, than current: Entry) -> Bool {
        if entry.isDeleted != current.isDeleted { return entry.isDeleted }
        if entry.value != current.value { return entry.value > current.value }
        return wins(entry, over: current)
    }

    /// Settles two entries of the same version: the greater owner, then the greater signature.
    private func wins(_ entry: Entry, over current: Entry) -> Bool {
        if entry.owner != current.owner { return entry.owner > current.owner }
        return (current.signature ?? []).lexicographicallyPrecedes(entry.signature ?? [])
    }

    /// Finds room for `entry`, dropping old tombstones when there is none.
    private mutating func makeRoom(
        for entry: Entry, at id: EntryID, replacing current: Entry?, now: UnixTime
    ) -> RejectionReason? {
        guard let problem = sizeProblem(entry, at: id, replacing: current) else { return nil }
        guard problem == .ledgerFull, !forgetTombstones(at: now).isEmpty else { return problem }
        return sizeProblem(entry, at: id, replacing: current)
    }
}
