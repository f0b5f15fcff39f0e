package import LibP2P
package import Timing

extension Ledger {
    /// A tombstone over the entry of `identity` that others hold with `version`, while this ledger has
    /// another node's entry there. It is to be published and is not stored: the other's entry stands
    /// here, and everywhere else it is taken over the tombstone if its version is newer (contract
    /// J.9 e). Nil when no version is above.
    package func retraction(
        of id: EntryID, version: UInt64, by identity: Identity, at now: UnixTime
    ) -> Entry? {
        guard version < .max else { return nil }
        var tombstone = Entry(value: "", version: version + 1, updatedAt: now.seconds, isDeleted: true)
        tombstone.sign(at: id, with: identity)
        return tombstone
    }
}
