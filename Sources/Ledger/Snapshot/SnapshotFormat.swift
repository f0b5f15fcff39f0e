internal import LibP2P

/// The bytes of a snapshot file: a header of 80 bytes and the block as JSON.
///
/// ```
/// 0   8  magic "KAIROSLG"
/// 8   4  format version, big-endian
/// 12  4  zero
/// 16  32 tag of the network: only the ledger of the same network is read back
/// 48  8  length of the payload, big-endian
/// 56  24 start of the SHA-256 of the 56 bytes before and the payload
/// 80     payload
/// ```
package enum SnapshotFormat {
    /// The format that this version writes.
    package static let version: UInt32 = 1
    /// The length of a network's tag in bytes.
    package static let tagLength = 32
    /// The largest file that is written or read, in bytes.
    package static let maximumLength = 64 << 20

    private static let magic = Array("KAIROSLG".utf8)
    private static let headerLength = 80
    private static let checksumLength = 24

    /// The bytes of a snapshot of `block` for the network that `tag` names: 32 bytes.
    package static func encode(_ block: Block, tag: [UInt8]) -> [UInt8] {
        let payload = block.encoded()
        var bytes = magic
        append(version, to: &bytes)
        append(UInt32(0), to: &bytes)
        bytes.append(contentsOf: tag)
        append(UInt64(payload.count), to: &bytes)
        bytes.append(contentsOf: checksum(head: bytes, payload: payload[...]))
        bytes.append(contentsOf: payload)
        return bytes
    }

    /// The block in a snapshot's bytes. Throws `SnapshotProblem` unless every byte is as written.
    package static func decode(_ bytes: [UInt8], tag: [UInt8]) throws(SnapshotProblem) -> Block {
        guard bytes.starts(with: magic.prefix(bytes.count)), !bytes.isEmpty else {
            throw bytes.isEmpty ? .torn : .foreign
        }
        guard bytes.count >= headerLength else { throw .torn }
        let version = UInt32(truncatingIfNeeded: number(bytes[8..<12]))
        guard version == Self.version else { throw .unknownVersion(version) }
        let length = number(bytes[48..<56])
        let payload = bytes[headerLength...]
        guard length <= UInt64(maximumLength) else { throw .corrupt }
        guard UInt64(payload.count) >= length else { throw .torn }
        guard UInt64(payload.count) == length,
            bytes[56..<headerLength].elementsEqual(checksum(head: Array(bytes[..<56]), payload: payload))
        else { throw .corrupt }
        guard bytes[16..<48].elementsEqual(tag) else { throw .otherNetwork }
        do {
            return try Block.decode(Array(payload), limits: BlockLimits(maximumBytes: maximumLength))
        } catch {
            throw .corrupt
        }
    }

    private static func checksum(head: [UInt8], payload: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        Crypto.sha256(concatenating: head, Array(payload)).prefix(checksumLength)
    }

    private static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
