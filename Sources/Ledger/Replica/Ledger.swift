package import Timing

/// A replica of the ledger: a map from bucket and key to a signed entry, changed by local writes and
/// by merging blocks under the rules of contract/wire.md J.7 to J.13.
///
/// A pure value: no clock, no disk, no network. Mode `off` of stock nodes, in which any member
/// replaces the whole ledger unsigned, is not spoken.
package struct Ledger: Sendable {
    /// What a merge does with an entry that breaks the ownership rules.
    package enum Mode: Hashable, Sendable {
        /// Rejects it. What Kairos runs.
        case enforce
        /// Takes it and says what was wrong.
        case observe
        /// Judges nothing: a whole block takes the place of everything when it is newer. What Kairos'
        /// recovery and pairing networks run (contract J.10).
        case off
    }

    /// How a ledger judges entries and how much it holds.
    package struct Configuration: Hashable, Sendable {
        package var mode: Mode = .enforce
        /// How long a heartbeat proves that its owner is live.
        package var livenessWindow: Duration = .seconds(480)
        /// How long a tombstone is kept, or nil to keep and to accept tombstones of any age.
        package var tombstoneRetention: Duration? = .seconds(2700)
        package var limits = LedgerLimits()

        package init() {}
    }

    package let configuration: Configuration
    /// Every entry, tombstones included.
    package private(set) var storage: Block.Storage = [:]
    /// How many changes this replica has seen: the index of its blocks.
    package private(set) var index: Int64 = 0
    package private(set) var usage = LedgerUsage()
    /// The owners that are known to be here, or were a short while ago, otherwise than by a heartbeat: they
    /// count as live.
    package var presentOwners: Set<LedgerText> = []
    private var lastHash: LedgerText = genesisHash
    private var cache: VerificationCache
    private var digestCache: LedgerDigest?

    /// The hash that every stock chain starts from.
    private static let genesisHash: LedgerText =
        "993c923422cd134b6aad0235ebfd4290a7b27b83d1bcd6b1fb2addc4b45b2fa6"

    /// Makes an empty ledger.
    package init(configuration: Configuration = Configuration()) {
        self.configuration = configuration
        self.cache = VerificationCache(capacity: configuration.limits.verificationCacheSize)
    }

    /// Makes a ledger of the entries that this node itself once stored: they are taken as they are,
    /// within the limits; what does not fit is left out.
    package init(restoring block: Block, configuration: Configuration = Configuration()) {
        self.init(configuration: configuration)
        for (id, entry) in block.entries where sizeProblem(entry, at: id, replacing: nil) == nil {
            storage[id.bucket, default: [:]][id.key] = entry
            usage.add(entry, at: id)
        }
        index = max(0, block.index)
        if !block.hash.isEmpty { lastHash = block.hash }
    }

    /// Adopts `block` in place of everything when its index is greater than this ledger's, or equal
    /// with the greater hash as text; otherwise leaves the ledger as it is (contract J.10).
    mutating func adopt(_ block: Block) -> MergeReport {
        var report = MergeReport()
        guard block.index > index || (block.index == index && lastHash < block.hash) else { return report }
        let before = storage
        var adopted = Ledger(restoring: block, configuration: configuration)
        adopted.cache = cache
        adopted.presentOwners = presentOwners
        self = adopted
        for (bucket, entries) in before {
            for (key, old) in entries where storage[bucket]?[key] == nil {
                report.changes.append(EntryChange(id: EntryID(bucket, key), old: old, new: nil))
            }
        }
        for (id, entry) in block.entries where storage[id.bucket]?[id.key] != nil {
            let old = before[id.bucket]?[id.key]
            if old?.isIdentical(to: entry) != true {
                report.changes.append(EntryChange(id: id, old: old, new: entry))
            }
        }
        return report
    }

    // MARK: reading

    /// The entry under `id`, tombstones included.
    package func entry(_ id: EntryID) -> Entry? {
        storage[id.bucket]?[id.key]
    }

    /// The value that readers see under `id`, or nil when there is none or it was deleted.
    package func value(_ id: EntryID) -> LedgerText? {
        guard let entry = entry(id), !entry.isDeleted else { return nil }
        return entry.value
    }

    /// The value under `key` of `bucket`, or nil when there is none or it was deleted.
    package func value(bucket: LedgerText, key: LedgerText) -> LedgerText? {
        value(EntryID(bucket, key))
    }

    /// The entries of `bucket` that were not deleted.
    package func entries(in bucket: LedgerText) -> [LedgerText: Entry] {
        storage[bucket]?.filter { !$0.value.isDeleted } ?? [:]
    }

    /// The names of the buckets that hold entries, deleted ones included, sorted.
    package var buckets: [LedgerText] {
        storage.filter { !$0.value.isEmpty }.keys.sorted()
    }

    /// How many signatures were verified since the ledger was made; the rest was remembered.
    package var signaturesVerified: Int { cache.verifications }

    // MARK: changing

    /// Puts `entry` under `id` and takes it into account; the caller has judged it.
    mutating func store(_ entry: Entry, at id: EntryID) -> EntryChange {
        let old = storage[id.bucket, default: [:]].updateValue(entry, forKey: id.key)
        if let old { usage.remove(old, at: id) }
        usage.add(entry, at: id)
        digestCache?.update(id, from: old, to: entry)
        return EntryChange(id: id, old: old, new: entry)
    }

    /// Takes the entry under `id` out altogether.
    mutating func drop(_ id: EntryID) -> EntryChange? {
        guard let old = storage[id.bucket]?.removeValue(forKey: id.key) else { return nil }
        if storage[id.bucket]?.isEmpty == true { storage[id.bucket] = nil }
        usage.remove(old, at: id)
        digestCache?.update(id, from: old, to: nil)
        return EntryChange(id: id, old: old, new: nil)
    }

    /// Counts one change of the chain.
    mutating func advance() {
        if index < Int64.max { index += 1 }
    }

    /// Whether `entry` is signed by its owner; remembered.
    mutating func isSigned(_ entry: Entry, at id: EntryID) -> Bool {
        cache.isValid(entry, at: id)
    }

    /// Hashes of the live entries for comparison with another replica.
    package mutating func digest() -> LedgerDigest {
        if let digestCache { return digestCache }
        let digest = LedgerDigest(of: storage)
        digestCache = digest
        return digest
    }

    // MARK: limits

    /// What forbids putting `entry` under `id` in place of `old`, by size and room.
    func sizeProblem(_ entry: Entry, at id: EntryID, replacing old: Entry?) -> RejectionReason? {
        let limits = configuration.limits
        let longest = max(id.bucket.utf8.count, id.key.utf8.count, entry.owner.utf8.count)
        guard longest <= limits.maximumNameBytes, entry.value.utf8.count <= limits.maximumValueBytes,
            entry.signature?.count ?? 0 <= limits.maximumNameBytes
        else { return .entryTooLarge }
        let isOpen = BucketPolicy.of(id.bucket) == .open
        let share = isOpen ? usage.open : usage.amount(of: entry.owner)
        let cost = LedgerUsage.cost(of: entry, at: id)
        let oldCost = old.map { LedgerUsage.cost(of: $0, at: id) }
        let growth = LedgerUsage.Amount(entries: old == nil ? 1 : 0, bytes: cost - (oldCost ?? 0))
        let staysInShare = isOpen || old?.owner == entry.owner
        let shareGrowth = staysInShare ? growth : LedgerUsage.Amount(entries: 1, bytes: cost)
        // What does not grow is never refused: a full ledger still renews what it holds.
        let fits =
            fits(usage.total.entries, growing: growth.entries, within: limits.maximumEntries)
            && fits(usage.total.bytes, growing: growth.bytes, within: limits.maximumBytes)
            && fits(
                share.entries, growing: shareGrowth.entries,
                within: isOpen ? limits.maximumOpenEntries : limits.maximumOwnerEntries)
            && fits(
                share.bytes, growing: shareGrowth.bytes,
                within: isOpen ? limits.maximumOpenBytes : limits.maximumOwnerBytes)
        return fits ? nil : .ledgerFull
    }

    private func fits(_ amount: Int, growing growth: Int, within limit: Int) -> Bool {
        growth <= 0 || amount + growth <= limit
    }

    // MARK: blocks

    /// A block of everything that is held, with a hash and the index of this replica's chain.
    package mutating func block(at now: UnixTime) -> Block {
        var block = Block(
            index: index, timestamp: GoTime.timestamp(now), storage: storage, previousHash: lastHash)
        block.hash = block.computedHash
        lastHash = block.hash
        return block
    }

    /// A block of everything that is held, for this node's own disk: it carries no new hash, which
    /// would take longer than all the rest and which nobody reads.
    package func snapshot(at now: UnixTime) -> Block {
        Block(index: index, timestamp: GoTime.timestamp(now), storage: storage, hash: lastHash)
    }

    /// A block of the entries under `ids` alone. Its index is 0: a library-based stock node without
    /// ownership rules adopts whole blocks by index and must not take this one for the ledger.
    package func delta(of ids: some Sequence<EntryID>, at now: UnixTime) -> Block {
        var block = Block(timestamp: GoTime.timestamp(now), hash: Self.genesisHash)
        for id in ids {
            if let entry = entry(id) { block.storage[id.bucket, default: [:]][id.key] = entry }
        }
        return block
    }
}
