package import Ledger
internal import Multiformats

/// What two admitted peers say to one another on `/kairos/ledger/1.0.0` to find and to send what
/// differs between their ledgers.
///
/// Each frame is preceded by its length as a uvarint and starts with a byte for its type. Counts are
/// uvarints, versions 8 bytes big-endian, fingerprints 16 bytes, prefixes a count of groups of four bits
/// and one byte for each.
package enum LedgerFrame: Hashable, Sendable {
    /// The fingerprint of the sender's whole ledger. One that differs is answered with `branches` or
    /// `leaves`, one that is equal with `equal`.
    case summary(Fingerprint)
    /// The ledger is the one that a summary described. Not answered.
    case equal
    /// The fingerprints of the sixteen parts of some parts.
    case branches([Branch])
    /// Every entry that the sender holds in some parts.
    case leaves([Leaf])
    /// The places of entries that the sender asks for.
    case want([Fingerprint])
    /// Entries, as the JSON of a block.
    case entries(Block)

    /// A part and the fingerprints of its sixteen parts.
    package struct Branch: Hashable, Sendable {
        package let prefix: LedgerDigest.Prefix
        package let children: [Fingerprint]

        package init(prefix: LedgerDigest.Prefix, children: [Fingerprint]) {
            self.prefix = prefix
            self.children = children
        }
    }

    /// A part and the entries in it.
    package struct Leaf: Hashable, Sendable {
        /// One entry: its place, its version, and the hash that tells it from others.
        package struct Item: Hashable, Sendable {
            package let place: Fingerprint
            package let version: UInt64
            package let fingerprint: Fingerprint

            package init(place: Fingerprint, version: UInt64, fingerprint: Fingerprint) {
                self.place = place
                self.version = version
                self.fingerprint = fingerprint
            }
        }

        package let prefix: LedgerDigest.Prefix
        package let items: [Item]

        package init(prefix: LedgerDigest.Prefix, items: [Item]) {
            self.prefix = prefix
            self.items = items
        }
    }

    /// The longest frame in bytes, without its length: one entry of the greatest size fits, however its
    /// characters are escaped.
    package static let maximumLength = 1792 << 10
    /// The most branches, leaves or places of one frame, and the most items of one leaf.
    package static let maximumItems = 512
    /// The most bytes of entries that one frame is filled with; a single larger entry still travels.
    package static let entryBudget = 64 << 10

    private enum Kind: UInt8 {
        case summary = 1
        case branches = 2
        case leaves = 3
        case want = 4
        case entries = 5
        case equal = 6
    }

    /// The frame's bytes, without its length.
    package var encoded: [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .summary(let fingerprint):
            bytes.append(Kind.summary.rawValue)
            fingerprint.append(to: &bytes)
        case .equal:
            bytes.append(Kind.equal.rawValue)
        case .branches(let branches):
            bytes.append(Kind.branches.rawValue)
            bytes.appendUvarint(UInt64(branches.count))
            for branch in branches {
                Self.append(branch.prefix, to: &bytes)
                for child in branch.children { child.append(to: &bytes) }
            }
        case .leaves(let leaves):
            bytes.append(Kind.leaves.rawValue)
            bytes.appendUvarint(UInt64(leaves.count))
            for leaf in leaves {
                Self.append(leaf.prefix, to: &bytes)
                bytes.appendUvarint(UInt64(leaf.items.count))
                for item in leaf.items {
                    item.place.append(to: &bytes)
                    bytes.appendBigEndian(item.version)
                    item.fingerprint.append(to: &bytes)
                }
            }
        case .want(let places):
            bytes.append(Kind.want.rawValue)
            bytes.appendUvarint(UInt64(places.count))
            for place in places { place.append(to: &bytes) }
        case .entries(let block):
            bytes.append(Kind.entries.rawValue)
            bytes.append(contentsOf: block.encoded())
        }
        return bytes
    }

    /// Reads a frame's bytes. Throws `LedgerFrameError` when they are no frame or go over a limit.
    package init(decoding bytes: [UInt8]) throws(LedgerFrameError) {
        guard bytes.count <= Self.maximumLength else { throw .tooLarge }
        do {
            self = try Self.read(bytes)
        } catch let error as LedgerFrameError {
            throw error
        } catch {
            throw .malformed
        }
    }

    private static func read(_ bytes: [UInt8]) throws -> LedgerFrame {
        var cursor = ByteCursor(bytes)
        guard let kind = Kind(rawValue: try cursor.readUInt8()) else { throw LedgerFrameError.unknownKind }
        let frame: LedgerFrame
        switch kind {
        case .summary: frame = .summary(try fingerprint(&cursor))
        case .equal: frame = .equal
        case .branches:
            frame = .branches(
                try list(&cursor) { cursor in
                    let prefix = try prefix(&cursor)
                    return Branch(
                        prefix: prefix, children: try (0..<16).map { _ in try fingerprint(&cursor) })
                })
        case .leaves:
            // The limit holds for the items of all leaves together.
            var total = 0
            frame = .leaves(
                try list(&cursor) { cursor in
                    let prefix = try prefix(&cursor)
                    let items = try list(&cursor) { cursor in
                        Leaf.Item(
                            place: try fingerprint(&cursor), version: try cursor.readUInt64(),
                            fingerprint: try fingerprint(&cursor))
                    }
                    total += items.count
                    guard total <= maximumItems * 4, items.allSatisfy({ prefix.contains($0.place) }) else {
                        throw LedgerFrameError.malformed
                    }
                    return Leaf(prefix: prefix, items: items)
                })
        case .want: frame = .want(try list(&cursor) { try fingerprint(&$0) })
        case .entries:
            let limits = BlockLimits(maximumBytes: maximumLength, maximumItems: 4096)
            return .entries(try Block.decode(Array(cursor.readRest()), limits: limits))
        }
        try cursor.expectEnd()
        try checkDistinct(frame)
        return frame
    }

    /// A part named again and again would make its fingerprint be computed as often, and an entry be sent as often.
    private static func checkDistinct(_ frame: LedgerFrame) throws(LedgerFrameError) {
        let prefixes: [LedgerDigest.Prefix] =
            switch frame {
            case .branches(let branches): branches.map(\.prefix)
            case .leaves(let leaves): leaves.map(\.prefix)
            case .summary, .equal, .want, .entries: []
            }
        guard Set(prefixes).count == prefixes.count else { throw .malformed }
        if case .want(let places) = frame, Set(places).count != places.count { throw .malformed }
    }

    private static func list<Element>(
        _ cursor: inout ByteCursor, _ element: (inout ByteCursor) throws -> Element
    ) throws -> [Element] {
        let count = try cursor.readUvarint()
        guard count <= UInt64(maximumItems) else { throw LedgerFrameError.tooLarge }
        var elements: [Element] = []
        for _ in 0..<count { elements.append(try element(&cursor)) }
        return elements
    }

    private static func fingerprint(_ cursor: inout ByteCursor) throws -> Fingerprint {
        Fingerprint(high: try cursor.readUInt64(), low: try cursor.readUInt64())
    }

    private static func append(_ prefix: LedgerDigest.Prefix, to bytes: inout [UInt8]) {
        bytes.append(UInt8(prefix.nibbles.count))
        bytes.append(contentsOf: prefix.nibbles)
    }

    private static func prefix(_ cursor: inout ByteCursor) throws -> LedgerDigest.Prefix {
        let count = Int(try cursor.readUInt8())
        guard count <= LedgerDigest.Prefix.maximumLength,
            let prefix = LedgerDigest.Prefix(nibbles: Array(try cursor.readBytes(count)))
        else { throw LedgerFrameError.malformed }
        return prefix
    }
}

/// Why bytes are no frame.
package enum LedgerFrameError: Error, Hashable, Sendable {
    case unknownKind
    case malformed
    case tooLarge
}
