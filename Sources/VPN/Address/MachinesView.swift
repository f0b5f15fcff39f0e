/// One entry of the bucket `machines`, as the merged ledger holds it.
package struct MachineRecord: Hashable, Sendable {
    /// Who signed it: a base58 peer ID.
    package var owner: String
    /// The entry's version: by convention Unix nanoseconds at the time of writing.
    package var version: UInt64
    /// Whether it is a tombstone.
    package var isDeleted: Bool

    package init(owner: String, version: UInt64, isDeleted: Bool = false) {
        self.owner = owner
        self.version = version
        self.isDeleted = isDeleted
    }
}

/// What the merged ledger says of addresses at one moment. Given whole at every change: the claim
/// compares and acts, so a lost or repeated view does no harm.
package struct MachinesView: Hashable, Sendable {
    /// The entries by address, tombstones included.
    package var records: [VirtualAddress: MachineRecord]
    /// The peers that are here or have a live heartbeat (contract J.8), as base58 peer IDs.
    package var liveOwners: Set<String>
    /// Whether this node has only just begun to hear who is here, so that an owner may be live that is not
    /// among `liveOwners` yet.
    package var isSettling: Bool

    package init(
        records: [VirtualAddress: MachineRecord] = [:], liveOwners: Set<String> = [], isSettling: Bool = false
    ) {
        self.records = records
        self.liveOwners = liveOwners
        self.isSettling = isSettling
    }
}

/// An entry of another node for this node's address that the merge refused although its signature
/// and its owner rule hold: rules e, f and g of contract J.9. Refused entries are how two nodes
/// learn that they hold one address after a partition, for each keeps its own.
package struct RefusedClaim: Hashable, Sendable {
    package var address: VirtualAddress
    /// Who signed the entry: a base58 peer ID.
    package var owner: String
    package var version: UInt64
    /// Whether the refused entry is a tombstone.
    package var isDeleted: Bool
    /// Whether the entry comes from a stock node, which never gives an address up.
    package var isStock: Bool

    package init(address: VirtualAddress, owner: String, version: UInt64, isDeleted: Bool, isStock: Bool) {
        self.address = address
        self.owner = owner
        self.version = version
        self.isDeleted = isDeleted
        self.isStock = isStock
    }

    /// Makes it of an entry's fields; nil when the key is no IPv4 address.
    package init?(key: String, value: String, owner: String, version: UInt64, isDeleted: Bool) {
        guard let address = VirtualAddress(key) else { return nil }
        let entry = isDeleted ? nil : MachineEntry(value: value)
        self.init(
            address: address, owner: owner, version: version, isDeleted: isDeleted,
            isStock: entry.map { !$0.version.hasPrefix(MachineEntry.implementation) } ?? false)
    }
}

/// How two live claims of one address compare. Both holders compute the same answer from the two
/// signed entries.
struct ClaimStanding: Hashable, Sendable {
    var owner: String
    var version: UInt64
    /// Whether the holder is a stock node.
    var isStock: Bool

    /// Whether this claim keeps the address. A stock node never yields, so it always wins; then the
    /// claim that was made first, as in the merge the first live owner keeps an entry; at equal
    /// versions the greater owner text, as in the merge (contract J.9 g).
    func prevails(over other: ClaimStanding) -> Bool {
        if isStock != other.isStock { return isStock }
        if version != other.version { return version < other.version }
        return other.owner.utf8.lexicographicallyPrecedes(owner.utf8)
    }
}
