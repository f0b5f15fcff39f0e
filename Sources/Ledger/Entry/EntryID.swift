/// Where an entry stands in the ledger: a bucket and a key within it.
package struct EntryID: Hashable, Sendable {
    package let bucket: LedgerText
    package let key: LedgerText

    /// Names the entry under `key` of `bucket`.
    package init(_ bucket: LedgerText, _ key: LedgerText) {
        self.bucket = bucket
        self.key = key
    }

    /// Names the entry under `key` of `bucket`, given as strings.
    package init(bucket: String, key: String) {
        self.init(LedgerText(bucket), LedgerText(key))
    }
}

extension EntryID: Comparable {
    package static func < (left: EntryID, right: EntryID) -> Bool {
        left.bucket == right.bucket ? left.key < right.key : left.bucket < right.bucket
    }
}

extension EntryID: CustomStringConvertible {
    package var description: String { "\(bucket)/\(key)" }
}
