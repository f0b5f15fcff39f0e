package import LibP2P
package import Timing

/// Why a local write was refused.
package enum LedgerError: Error, Hashable, Sendable {
    /// Every other node would reject the entry, so writing it here would only make views differ.
    case wouldBeRejected(EntryID, RejectionReason)
    /// The key carries the greatest version there is, so nothing can follow it.
    case versionExhausted(EntryID)
    /// There is nothing under the key to delete.
    case nothingToDelete(EntryID)
}

extension LedgerError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .wouldBeRejected(let id, let reason): "\(id) cannot be written: \(reason.rawValue)"
        case .versionExhausted(let id): "\(id) cannot be written: its version is the greatest there is"
        case .nothingToDelete(let id): "\(id) cannot be deleted: there is no such entry"
        }
    }
}

extension Ledger {
    /// Writes `value` under `id`, signed by `identity`, with the version max(previous + 1, now in
    /// nanoseconds) (contract J.7). Returns nil, and leaves the entry exactly as it is, when it
    /// holds the same value, signed by the same identity, with a version above `floor`: a version
    /// that others are known to hold, such as that of a tombstone which this ledger refused.
    ///
    /// Throws `LedgerError` when other nodes would reject the entry.
    package mutating func put(
        _ id: EntryID, value: LedgerText, above floor: UInt64 = 0, by identity: Identity, at now: UnixTime
    ) throws(LedgerError) -> EntryChange? {
        let owner = LedgerText(identity.peerID.description)
        if let current = entry(id), !current.isDeleted, current.value == value, current.owner == owner,
            current.signature != nil, floor == 0 || current.version > floor
        {
            return nil
        }
        return try write(Entry(value: value, owner: owner), at: id, by: identity, above: floor, now: now)
    }

    /// Deletes the entry under `id` by a tombstone that `identity` signs. Returns nil when it is
    /// deleted already.
    ///
    /// Throws `LedgerError` when there is nothing to delete or other nodes would reject the tombstone.
    package mutating func delete(
        _ id: EntryID, by identity: Identity, at now: UnixTime
    ) throws(LedgerError) -> EntryChange? {
        guard let current = entry(id) else { throw .nothingToDelete(id) }
        if current.isDeleted { return nil }
        return try write(Entry(value: "", isDeleted: true), at: id, by: identity, above: 0, now: now)
    }

    private mutating func write(
        _ draft: Entry, at id: EntryID, by identity: Identity, above floor: UInt64, now: UnixTime
    ) throws(LedgerError) -> EntryChange {
        var entry = draft
        let clock = UInt64(max(0, now.nanoseconds))
        let highest = max(self.entry(id)?.version ?? 0, floor)
        let (next, overflow) = highest.addingReportingOverflow(1)
        guard !overflow else { throw .versionExhausted(id) }
        entry.version = highest == 0 ? clock : max(next, clock)
        return try signAndStore(&entry, at: id, by: identity, now: now)
    }

    private mutating func signAndStore(
        _ entry: inout Entry, at id: EntryID, by identity: Identity, now: UnixTime
    ) throws(LedgerError) -> EntryChange {
        entry.updatedAt = now.seconds
        entry.sign(at: id, with: identity)
        switch judge(entry, at: id, liveness: liveness(at: now), now: now) {
        case .accepted, .acceptedWithWarning, .rejected(.ledgerFull): break
        case .identical, .kept: throw .wouldBeRejected(id, .rollback)
        case .rejected(let reason): throw .wouldBeRejected(id, reason)
        }
        let change = store(entry, at: id)
        advance()
        return change
    }
}
