/// How much the ledger holds. Everything that can arrive from outside counts against these; what this
/// node writes itself is bounded by its own code and only has to respect the sizes of one entry.
///
/// At a bound a new key, or a value that grows, is refused with `RejectionReason.ledgerFull`; the
/// entries that are held stay and may be renewed. Old tombstones are dropped before anything is
/// refused. Open buckets, where anybody can write under any name, may fill only their share, so they
/// never crowd out signed entries, and no signer may hold more than the share of one owner.
package struct LedgerLimits: Hashable, Sendable {
    /// Entries of all buckets together, tombstones included.
    package var maximumEntries = 8192
    /// Bytes of all entries: texts, signatures and `entryOverhead` each.
    package var maximumBytes = 8 << 20
    /// Entries and bytes of the open buckets together.
    package var maximumOpenEntries = 4096
    package var maximumOpenBytes = 4 << 20
    /// Entries and bytes of one owner in the signed buckets.
    package var maximumOwnerEntries = 512
    package var maximumOwnerBytes = 1 << 20
    /// Bytes of a bucket's name, a key or an owner's text.
    package var maximumNameBytes = 1024
    /// Bytes of one value.
    package var maximumValueBytes = 256 << 10
    /// Signature checks remembered.
    package var verificationCacheSize = 8192

    /// What an entry costs besides its texts, in bytes.
    package static let entryOverhead = 128

    package init() {}
}

/// What a ledger holds against its limits.
package struct LedgerUsage: Hashable, Sendable {
    /// A number of entries and their bytes.
    package struct Amount: Hashable, Sendable {
        package var entries = 0
        package var bytes = 0
    }

    package private(set) var total = Amount()
    package private(set) var open = Amount()
    private var owners: [LedgerText: Amount] = [:]

    /// What one owner holds in the signed buckets.
    package func amount(of owner: LedgerText) -> Amount { owners[owner] ?? Amount() }

    mutating func add(_ entry: Entry, at id: EntryID) { change(entry, at: id, by: 1) }

    mutating func remove(_ entry: Entry, at id: EntryID) { change(entry, at: id, by: -1) }

    private mutating func change(_ entry: Entry, at id: EntryID, by sign: Int) {
        let bytes = sign * LedgerUsage.cost(of: entry, at: id)
        total.entries += sign
        total.bytes += bytes
        if BucketPolicy.of(id.bucket) == .open {
            open.entries += sign
            open.bytes += bytes
        } else {
            owners[entry.owner, default: Amount()].entries += sign
            owners[entry.owner, default: Amount()].bytes += bytes
            if owners[entry.owner]?.entries == 0 { owners[entry.owner] = nil }
        }
    }

    static func cost(of entry: Entry, at id: EntryID) -> Int {
        entry.size + id.bucket.utf8.count + id.key.utf8.count + LedgerLimits.entryOverhead
    }
}
