internal import LibP2P
internal import Multiformats

/// What two admitted peers say to one another on `/kairos/links/1.0.0`. Each frame is preceded by its
/// length as a uvarint and starts with a byte for its type; counts are uvarints, integers big-endian.
enum OverlayFrame: Hashable, Sendable {
    /// Records that are new to the sender, each with its length.
    case records([[UInt8]])
    /// How many peers the sender sees and a sum over their records' versions: equal sums, equal records.
    case digest(OverlayDigest)
    /// The versions of all records that the sender sees. Answered with the records of which it has an
    /// older version or none, and then `want`.
    case versions([Version])
    /// The tags of records that the sender asks for; ends an answer to `versions`, and may be empty.
    case want([UInt64])
    /// Whether the other is there; answered with `alive` at once.
    case probe
    case alive

    struct Version: Hashable, Sendable {
        let tag: UInt64
        let version: UInt64
    }

    static let maximumLength = 96 << 10
    /// The most bytes of records that one frame is filled with.
    static let recordBudget = 64 << 10
    static let maximumRecords = 512
    static let maximumVersions = 4096

    private enum Kind: UInt8 {
        case records = 1
        case digest = 2
        case versions = 3
        case want = 4
        case probe = 5
        case alive = 6
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .records(let records):
            bytes.append(Kind.records.rawValue)
            bytes.appendUvarint(UInt64(records.count))
            for record in records { bytes.appendLengthPrefixed(record) }
        case .digest(let digest):
            bytes.append(Kind.digest.rawValue)
            bytes.appendBigEndian(digest.count)
            bytes.appendBigEndian(digest.sum)
        case .versions(let versions):
            bytes.append(Kind.versions.rawValue)
            bytes.appendUvarint(UInt64(versions.count))
            for item in versions {
                bytes.appendBigEndian(item.tag)
                bytes.appendBigEndian(item.version)
            }
        case .want(let tags):
            bytes.append(Kind.want.rawValue)
            bytes.appendUvarint(UInt64(tags.count))
            for tag in tags { bytes.appendBigEndian(tag) }
        case .probe: bytes.append(Kind.probe.rawValue)
        case .alive: bytes.append(Kind.alive.rawValue)
        }
        return bytes
    }

    /// Reads a frame's bytes; nil when they are no frame or go over a limit.
    init?(decoding bytes: [UInt8]) {
        guard bytes.count <= Self.maximumLength, let frame = try? Self.read(bytes) else { return nil }
        self = frame
    }

    private static func read(_ bytes: [UInt8]) throws -> OverlayFrame? {
        var cursor = ByteCursor(bytes)
        let frame: OverlayFrame
        switch Kind(rawValue: try cursor.readUInt8()) {
        case .records:
            frame = .records(
                try list(&cursor, maximumRecords) {
                    Array(try $0.readLengthPrefixed(maximum: LinkRecord.maximumLength))
                })
        case .digest:
            frame = .digest(OverlayDigest(count: try cursor.readUInt32(), sum: try cursor.readUInt64()))
        case .versions:
            frame = .versions(
                try list(&cursor, maximumVersions) {
                    Version(tag: try $0.readUInt64(), version: try $0.readUInt64())
                })
        case .want: frame = .want(try list(&cursor, maximumVersions) { try $0.readUInt64() })
        case .probe: frame = .probe
        case .alive: frame = .alive
        case nil: return nil
        }
        try cursor.expectEnd()
        return frame
    }

    private static func list<Element>(
        _ cursor: inout ByteCursor, _ most: Int, _ element: (inout ByteCursor) throws -> Element
    ) throws -> [Element] {
        let count = try cursor.readUvarint()
        guard count <= UInt64(most) else { throw LinkRecordError.tooLarge }
        var elements: [Element] = []
        for _ in 0..<count { elements.append(try element(&cursor)) }
        return elements
    }

    /// Records in as many frames as they need.
    static func frames(_ records: [[UInt8]]) -> [OverlayFrame] {
        var frames: [OverlayFrame] = []
        var batch: [[UInt8]] = []
        var size = 0
        for record in records {
            if !batch.isEmpty, size + record.count > recordBudget || batch.count >= maximumRecords {
                frames.append(.records(batch))
                (batch, size) = ([], 0)
            }
            batch.append(record)
            size += record.count + 2
        }
        if !batch.isEmpty { frames.append(.records(batch)) }
        return frames
    }
}

/// A summary of the records that a node sees.
struct OverlayDigest: Hashable, Sendable {
    var count: UInt32 = 0
    var sum: UInt64 = 0

    /// Takes one record in; the order does not matter.
    mutating func add(tag: UInt64, version: UInt64) {
        count &+= 1
        // The finalizer of SplitMix64: a sum of plain versions would be equal too easily.
        var mixed = tag &+ version &* 0x9e37_79b9_7f4a_7c15
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        sum &+= mixed ^ mixed >> 31
    }
}
