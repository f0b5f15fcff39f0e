/// A block of the ledger as it travels (contract/wire.md J.6): entries by bucket and key, and the
/// chain's fields, which no receiver checks in the signed modes.
package struct Block: Hashable, Sendable {
    /// Entries by bucket and key.
    package typealias Storage = [LedgerText: [LedgerText: Entry]]

    /// The sender's count of its own changes; a block that holds only what changed carries 0.
    package var index: Int64
    /// Go's text of the moment at which the block was made; never parsed.
    package var timestamp: LedgerText
    package var storage: Storage
    /// Lower-case hex, or any text.
    package var hash: LedgerText
    package var previousHash: LedgerText

    package init(
        index: Int64 = 0, timestamp: LedgerText = "", storage: Storage = [:], hash: LedgerText = "",
        previousHash: LedgerText = ""
    ) {
        self.index = index
        self.timestamp = timestamp
        self.storage = storage
        self.hash = hash
        self.previousHash = previousHash
    }

    /// The number of entries.
    package var entryCount: Int {
        storage.values.reduce(0) { $0 + $1.count }
    }

    /// The entries with their places, sorted.
    package var entries: [(id: EntryID, entry: Entry)] {
        var list: [(id: EntryID, entry: Entry)] = []
        for (bucket, keys) in storage {
            for (key, entry) in keys { list.append((EntryID(bucket, key), entry)) }
        }
        return list.sorted { $0.id < $1.id }
    }
}
