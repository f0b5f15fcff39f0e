/// One entry of the ledger: a value with the owner and the signature that stand for it
/// (contract/wire.md J.6, J.7).
package struct Entry: Hashable, Sendable {
    /// The value's text, itself JSON by convention: opaque here, signed character for character.
    /// Empty in a tombstone.
    package var value: LedgerText
    /// The text of the signer's peer ID, or empty when the entry is unsigned.
    package var owner: LedgerText
    /// Greater versions win: normally the writer's wall clock in nanoseconds since 1970.
    package var version: UInt64
    /// When the owner wrote the entry, in seconds since 1970.
    package var updatedAt: Int64
    /// Whether the entry is a tombstone: it says that the key was deleted.
    package var isDeleted: Bool
    /// The owner's signature over the canonical bytes, or nil when there is none. An empty signature
    /// is not the same on the wire.
    package var signature: [UInt8]?

    package init(
        value: LedgerText, owner: LedgerText = "", version: UInt64 = 0, updatedAt: Int64 = 0,
        isDeleted: Bool = false, signature: [UInt8]? = nil
    ) {
        self.value = value
        self.owner = owner
        self.version = version
        self.updatedAt = updatedAt
        self.isDeleted = isDeleted
        self.signature = signature
    }

    /// Whether the entry travels as a bare JSON string: nobody signed it.
    package var isBare: Bool {
        owner.isEmpty && signature == nil && !isDeleted && version == 0
    }

    /// Whether the entry says the same as `other` in every field; a missing signature equals an
    /// empty one.
    package func isIdentical(to other: Entry) -> Bool {
        version == other.version && updatedAt == other.updatedAt && isDeleted == other.isDeleted
            && owner == other.owner && value == other.value && (signature ?? []) == (other.signature ?? [])
    }

    /// The bytes that the entry's texts and signature take.
    package var size: Int {
        value.utf8.count + owner.utf8.count + (signature?.count ?? 0)
    }
}
