internal import LibP2P

/// The first 16 bytes of a SHA-256: short enough to exchange by the hundred, long enough that nobody
/// finds two things with the same one.
package struct Fingerprint: Hashable, Comparable, Sendable {
    package let high: UInt64
    package let low: UInt64

    /// The length of the wire form in bytes.
    package static let length = 16

    /// The fingerprint of nothing.
    package static let zero = Fingerprint(high: 0, low: 0)

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The fingerprint of `bytes`.
    package init(of bytes: [UInt8]) {
        var words: [UInt64] = [0, 0]
        for (index, byte) in Crypto.sha256(bytes).prefix(16).enumerated() {
            words[index / 8] = words[index / 8] << 8 | UInt64(byte)
        }
        self.init(high: words[0], low: words[1])
    }

    package static func < (left: Fingerprint, right: Fingerprint) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }

    /// Appends the 16 bytes, big-endian.
    package func append(to bytes: inout [UInt8]) {
        withUnsafeBytes(of: high.bigEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: low.bigEndian) { bytes.append(contentsOf: $0) }
    }

    /// The four bits at `place`, counted from the most significant; 0 to 31.
    package func nibble(_ place: Int) -> UInt8 {
        let word = place < 16 ? high : low
        return UInt8(truncatingIfNeeded: word >> UInt64((15 - place & 15) * 4)) & 15
    }
}

extension Entry {
    /// What tells this entry from every other one: its canonical bytes and its signature. The time of an
    /// unsigned one does not count, because it is lost when the entry travels.
    package func fingerprint(at id: EntryID) -> Fingerprint {
        var entry = self
        if isBare { entry.updatedAt = 0 }
        return Fingerprint(of: CanonicalEntry.bytes(of: entry, at: id) + (signature ?? []))
    }
}

extension EntryID {
    /// The entry's place in the digest: a hash of its bucket and key, spread evenly.
    package var fingerprint: Fingerprint {
        var bytes: [UInt8] = []
        withUnsafeBytes(of: UInt64(bucket.utf8.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: bucket.utf8)
        bytes.append(contentsOf: key.utf8)
        return Fingerprint(of: bytes)
    }
}
