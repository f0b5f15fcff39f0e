/// Why an entry was not taken. The texts of the first nine are those of stock nodes.
package enum RejectionReason: String, Hashable, Sendable {
    case invalidSignature = "invalid signature"
    case tombstoneForUnknownKey = "tombstone for unknown key"
    case tombstoneByNonOwner = "tombstone by non-owner of a live entry"
    case staleTombstone = "stale tombstone"
    case ownerMismatch = "value owner does not match signer"
    case staleReclaim = "stale re-claim over tombstone"
    case overwriteOfLiveEntry = "overwrite of a live entry owned by another peer"
    case rollback = "rollback to an older version"
    case lostTieBreak = "lost deterministic tie-break"
    /// A name or a value is longer than `LedgerLimits` allows.
    case entryTooLarge = "entry larger than the limit"
    /// The ledger, the open buckets or the owner's share are full.
    case ledgerFull = "no room left in the ledger"
    /// A tombstone so old that it was dropped here already.
    case forgottenTombstone = "tombstone older than tombstones are kept"
}

/// What became of one received entry (contract J.9).
package enum EntryFate: Hashable, Sendable {
    case accepted
    /// It is held already, the same in every field.
    case identical
    /// An open bucket holds the same or a greater version.
    case kept
    case rejected(RejectionReason)
    /// Mode `observe` took what `enforce` would have rejected.
    case acceptedWithWarning(RejectionReason)
}

/// One entry that changed.
package struct EntryChange: Hashable, Sendable {
    package let id: EntryID
    /// What stood there before, tombstones included.
    package let old: Entry?
    /// What stands there now; nil when a tombstone was dropped.
    package let new: Entry?

    package init(id: EntryID, old: Entry?, new: Entry?) {
        self.id = id
        self.old = old
        self.new = new
    }

    /// The value that readers see now: nil when the key is deleted.
    package var value: LedgerText? {
        guard let new, !new.isDeleted else { return nil }
        return new.value
    }

    /// Whether readers see a difference: a tombstone over a tombstone shows none.
    package var isVisible: Bool {
        let before = old.flatMap { $0.isDeleted ? nil : $0.value }
        return before != value
    }
}

/// What a merge did.
package struct MergeReport: Hashable, Sendable {
    /// Every received entry with its fate, sorted by bucket and key.
    package var fates: [(id: EntryID, fate: EntryFate)] = []
    /// What changed, in the same order.
    package var changes: [EntryChange] = []

    package init() {}

    /// The entries that were rejected.
    package var rejections: [(id: EntryID, reason: RejectionReason)] {
        fates.compactMap { id, fate in
            if case .rejected(let reason) = fate { return (id, reason) }
            return nil
        }
    }

    package static func == (left: MergeReport, right: MergeReport) -> Bool {
        left.changes == right.changes && left.fates.elementsEqual(right.fates) { $0 == $1 }
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(changes)
        for (id, fate) in fates {
            hasher.combine(id)
            hasher.combine(fate)
        }
    }
}
