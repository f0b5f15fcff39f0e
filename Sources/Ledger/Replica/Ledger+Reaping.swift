package import LibP2P
package import Timing

extension Ledger {
    /// Tombstones every entry of an owned bucket that is expired, when this node is the leader among
    /// those that were seen within 900 s (contract J.12), except for those of the `spared` owners. Returns
    /// what changed: nothing on other nodes.
    package mutating func reap(
        by identity: Identity, sparing spared: Set<LedgerText> = [], at now: UnixTime
    ) -> [EntryChange] {
        let own = LedgerText(identity.peerID.description)
        guard LeaderFunction.leader(of: availableNodes(at: now)) == own else { return [] }
        let liveness = liveness(at: now)
        var expired: [EntryID] = []
        for (bucket, keys) in storage {
            switch BucketPolicy.of(bucket) {
            case .open, .ownerPrefix: continue
            case .ownerInKey, .ownerInValue, .firstSigner: break
            }
            for (key, entry) in keys where !entry.isDeleted {
                let id = EntryID(bucket, key)
                if liveness.isExpired(entry, at: id), !spared.contains(liveness.owner(of: entry, at: id)) {
                    expired.append(id)
                }
            }
        }
        // A tombstone that cannot be written (its version is exhausted) is passed over: the entry
        // hides nothing, it only takes room.
        return expired.sorted().compactMap { try? delete($0, by: identity, at: now) }
    }

    /// Drops tombstones older than `tombstoneRetention`. A replica that was away for longer can bring
    /// a deleted entry back, as among stock nodes; its owner's expiry then hides it again.
    package mutating func forgetTombstones(at now: UnixTime) -> [EntryChange] {
        var old: [EntryID] = []
        for (bucket, keys) in storage {
            for (key, entry) in keys where entry.isDeleted && isForgotten(entry, at: now) {
                old.append(EntryID(bucket, key))
            }
        }
        return old.sorted().compactMap { drop($0) }
    }

    /// Whether a tombstone is older than tombstones are kept.
    func isForgotten(_ entry: Entry, at now: UnixTime) -> Bool {
        guard let retention = configuration.tombstoneRetention else { return false }
        return UnixTime(seconds: entry.updatedAt) + retention < now
    }
}
