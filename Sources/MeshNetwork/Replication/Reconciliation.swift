internal import Ledger
internal import Timing

/// Answers a peer's frames by comparing its ledger with this one. Without state: every frame says all
/// that its answer needs, so nothing has to be kept for a peer, and a lost frame costs one round.
enum Reconciliation {
    /// Parts with so few entries are listed rather than divided.
    private static let leafSize = 16
    /// The most bytes of entries that one frame of a peer is answered with; the rest follows with the
    /// next comparison, which comes at once because something changed.
    private static let answerBudget = 512 << 10

    /// What to send back for `frame`, except for `.entries`, which the caller merges.
    static func answer(_ frame: LedgerFrame, ledger: inout Ledger, now: UnixTime) -> [LedgerFrame] {
        let digest = ledger.digest()
        switch frame {
        case .summary(let theirs):
            return theirs == digest.fingerprint(of: .whole) ? [.equal] : describe([.whole], digest)
        case .branches(let branches):
            var differing: [LedgerDigest.Prefix] = []
            for branch in branches {
                for (child, theirs) in zip(branch.prefix.children ?? [], branch.children)
                where digest.fingerprint(of: child) != theirs {
                    differing.append(child)
                }
            }
            return describe(differing, digest)
        case .leaves(let leaves):
            return settle(leaves, ledger, digest, now)
        case .want(let places):
            return entries(places.compactMap { digest.item(at: $0)?.id }, ledger, now)
        case .entries, .equal:
            return []
        }
    }

    /// What to send back for entries that were not taken because this ledger holds greater versions: a
    /// tombstone is in no digest, so the peer may know nothing of it.
    static func correction(
        of block: Block, report: MergeReport, ledger: Ledger, now: UnixTime
    ) -> [LedgerFrame] {
        let older = report.fates.filter { id, fate in
            switch fate {
            case .accepted, .acceptedWithWarning, .identical: return false
            case .kept, .rejected:
                guard let mine = ledger.entry(id), let theirs = block.storage[id.bucket]?[id.key] else {
                    return false
                }
                return mine.version > theirs.version
            }
        }
        return entries(older.map(\.id), ledger, now)
    }

    /// Lists small parts and divides large ones.
    private static func describe(_ prefixes: [LedgerDigest.Prefix], _ digest: LedgerDigest) -> [LedgerFrame] {
        var leaves: [LedgerFrame.Leaf] = []
        var branches: [LedgerFrame.Branch] = []
        for prefix in prefixes.prefix(LedgerFrame.maximumItems) {
            let items = digest.items(in: prefix)
            if items.count > leafSize, let children = prefix.children {
                branches.append(.init(prefix: prefix, children: children.map { digest.fingerprint(of: $0) }))
            } else {
                let listed = items.prefix(LedgerFrame.maximumItems).map {
                    LedgerFrame.Leaf.Item(place: $0.place, version: $0.version, fingerprint: $0.fingerprint)
                }
                leaves.append(.init(prefix: prefix, items: listed))
            }
        }
        var frames: [LedgerFrame] = []
        for start in stride(from: 0, to: leaves.count, by: 64) {
            frames.append(.leaves(Array(leaves[start..<min(start + 64, leaves.count)])))
        }
        for start in stride(from: 0, to: branches.count, by: 64) {
            frames.append(.branches(Array(branches[start..<min(start + 64, branches.count)])))
        }
        return frames
    }

    /// Sends what the peer lacks or has an older version of, and asks for the opposite. At the same
    /// version both travel, and the merge settles it on both sides alike.
    private static func settle(
        _ leaves: [LedgerFrame.Leaf], _ ledger: Ledger, _ digest: LedgerDigest, _ now: UnixTime
    ) -> [LedgerFrame] {
        var send: [EntryID] = []
        var want: [Fingerprint] = []
        var tombstones: [Fingerprint: (id: EntryID, version: UInt64)]?
        for leaf in leaves {
            var theirs: [Fingerprint: LedgerFrame.Leaf.Item] = [:]
            for item in leaf.items { theirs[item.place] = item }
            for mine in digest.items(in: leaf.prefix) {
                guard let other = theirs.removeValue(forKey: mine.place) else {
                    send.append(mine.id)
                    continue
                }
                if other.fingerprint == mine.fingerprint { continue }
                if mine.version >= other.version { send.append(mine.id) }
                if mine.version <= other.version { want.append(mine.place) }
            }
            for other in theirs.values {
                if tombstones == nil { tombstones = places(ofTombstonesIn: ledger) }
                if let mine = tombstones?[other.place], mine.version > other.version {
                    send.append(mine.id)
                } else {
                    want.append(other.place)
                }
            }
        }
        var frames = entries(send, ledger, now)
        if !want.isEmpty { frames.append(.want(Array(want.sorted().prefix(LedgerFrame.maximumItems)))) }
        return frames
    }

    private static func places(ofTombstonesIn ledger: Ledger) -> [Fingerprint: (id: EntryID, version: UInt64)]
    {
        var places: [Fingerprint: (id: EntryID, version: UInt64)] = [:]
        for (bucket, keys) in ledger.storage {
            for (key, entry) in keys where entry.isDeleted {
                let id = EntryID(bucket, key)
                places[id.fingerprint] = (id, entry.version)
            }
        }
        return places
    }

    /// The entries under `ids` in as many frames as they need, up to the budget.
    private static func entries(_ ids: [EntryID], _ ledger: Ledger, _ now: UnixTime) -> [LedgerFrame] {
        var frames: [LedgerFrame] = []
        var batch: [EntryID] = []
        var batchSize = 0
        var total = 0
        for id in ids {
            guard let entry = ledger.entry(id) else { continue }
            // Escapes in JSON can double a text; signatures grow by a third.
            let size = entry.size * 2 + id.bucket.utf8.count + id.key.utf8.count + 160
            guard total + size <= answerBudget else { break }
            if batchSize + size > LedgerFrame.entryBudget, !batch.isEmpty {
                frames.append(.entries(ledger.delta(of: batch, at: now)))
                (batch, batchSize) = ([], 0)
            }
            batch.append(id)
            batchSize += size
            total += size
        }
        if !batch.isEmpty { frames.append(.entries(ledger.delta(of: batch, at: now))) }
        return frames
    }
}
