/// Hashes of a replica's live entries, arranged so that two replicas find what differs in few bytes.
///
/// Entries are sorted by a hash of their bucket and key and so spread evenly; a prefix of that hash,
/// in steps of four bits, names a part of the ledger, and every part has one fingerprint. Comparing
/// parts downwards from the whole finds a difference among n entries in about log16(n) steps.
/// Tombstones are not counted: two replicas of which one knows the tombstone and the other nothing
/// show readers the same.
package struct LedgerDigest: Hashable, Sendable {
    /// One live entry.
    package struct Item: Hashable, Sendable {
        /// The hash of bucket and key.
        package let place: Fingerprint
        /// The hash of the entry.
        package let fingerprint: Fingerprint
        package let id: EntryID
        package let version: UInt64
    }

    /// A part of the ledger: the entries whose place starts with these groups of four bits.
    package struct Prefix: Hashable, Sendable {
        package let nibbles: [UInt8]

        /// Everything.
        package static let whole = Prefix(unchecked: [])

        /// The most groups a prefix can have.
        package static let maximumLength = 32

        private init(unchecked nibbles: [UInt8]) {
            self.nibbles = nibbles
        }

        /// Makes a prefix, or nil when there are too many groups or one is over 15.
        package init?(nibbles: [UInt8]) {
            guard nibbles.count <= Prefix.maximumLength, nibbles.allSatisfy({ $0 < 16 }) else { return nil }
            self.nibbles = nibbles
        }

        /// The sixteen parts of this part, or nil when it cannot be divided further.
        package var children: [Prefix]? {
            guard nibbles.count < Prefix.maximumLength else { return nil }
            return (0..<16).map { Prefix(unchecked: nibbles + [$0]) }
        }

        /// Whether a place lies in this part.
        package func contains(_ place: Fingerprint) -> Bool {
            for (index, nibble) in nibbles.enumerated() where place.nibble(index) != nibble { return false }
            return true
        }

        /// The least and the greatest place in this part.
        fileprivate var bounds: (first: Fingerprint, last: Fingerprint) {
            var high: UInt64 = 0
            var low: UInt64 = 0
            for (index, nibble) in nibbles.enumerated() {
                let shift = UInt64((15 - index & 15) * 4)
                if index < 16 { high |= UInt64(nibble) << shift } else { low |= UInt64(nibble) << shift }
            }
            let highMask = nibbles.count >= 16 ? 0 : UInt64.max >> UInt64(nibbles.count * 4)
            let lowBits = max(0, nibbles.count - 16) * 4
            let lowMask = lowBits >= 64 ? 0 : UInt64.max >> UInt64(lowBits)
            return (Fingerprint(high: high, low: low), Fingerprint(high: high | highMask, low: low | lowMask))
        }
    }

    /// The live entries, sorted by place.
    package private(set) var items: [Item]

    /// The digest of what `storage` holds.
    package init(of storage: Block.Storage) {
        items = []
        for (bucket, keys) in storage {
            for (key, entry) in keys where !entry.isDeleted {
                items.append(Self.item(EntryID(bucket, key), entry))
            }
        }
        items.sort { $0.place < $1.place }
    }

    private static func item(_ id: EntryID, _ entry: Entry) -> Item {
        Item(place: id.fingerprint, fingerprint: entry.fingerprint(at: id), id: id, version: entry.version)
    }

    /// Follows one change.
    mutating func update(_ id: EntryID, from old: Entry?, to new: Entry?) {
        let place = id.fingerprint
        let index = firstIndex(atOrAfter: place)
        if index < items.count, items[index].place == place { items.remove(at: index) }
        if let new, !new.isDeleted { items.insert(Self.item(id, new), at: index) }
    }

    /// The entries of one part, sorted by place.
    package func items(in prefix: Prefix) -> ArraySlice<Item> {
        let (first, last) = prefix.bounds
        let start = firstIndex(atOrAfter: first)
        var end = firstIndex(atOrAfter: last)
        if end < items.count, items[end].place == last { end += 1 }
        return items[start..<end]
    }

    /// The entry at a place.
    package func item(at place: Fingerprint) -> Item? {
        let index = firstIndex(atOrAfter: place)
        guard index < items.count, items[index].place == place else { return nil }
        return items[index]
    }

    /// The fingerprint of one part: zero when it is empty.
    package func fingerprint(of prefix: Prefix) -> Fingerprint {
        let part = items(in: prefix)
        if part.isEmpty { return .zero }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(part.count * 2 * Fingerprint.length)
        for item in part {
            item.place.append(to: &bytes)
            item.fingerprint.append(to: &bytes)
        }
        return Fingerprint(of: bytes)
    }

    private func firstIndex(atOrAfter place: Fingerprint) -> Int {
        var low = 0
        var high = items.count
        while low < high {
            let middle = (low + high) / 2
            if items[middle].place < place { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
