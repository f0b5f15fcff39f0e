/// The Internet checksum (RFC 1071), over words in the machine's byte order: the sum of swapped
/// words is the swapped sum, so results are stored and loaded without a swap.
enum InternetChecksum {
    /// The unfolded sum of `bytes`, an odd last byte padded with zero, added to `initial`.
    static func sum(_ bytes: UnsafeRawBufferPointer, initial: UInt64 = 0) -> UInt64 {
        var sum = initial
        var offset = 0
        // 64 KiB of 32-bit words stay far below 2^64.
        while offset + 4 <= bytes.count {
            sum &+= UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset += 4
        }
        if offset + 2 <= bytes.count {
            sum &+= UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset += 2
        }
        if offset < bytes.count {
            sum &+= UInt64(UInt16(bigEndian: UInt16(bytes[offset]) << 8))
        }
        return sum
    }

    /// Folds a sum to 16 bits, not complemented.
    static func fold(_ sum: UInt64) -> UInt16 {
        var sum = sum
        while sum >> 16 != 0 { sum = (sum & 0xffff) + (sum >> 16) }
        return UInt16(truncatingIfNeeded: sum)
    }

    /// The pseudo header's sum for a segment of `length` bytes (RFC 9293 3.1).
    static func pseudoHeader(ipHeader: UnsafeRawBufferPointer, transport: UInt8, length: Int) -> UInt64 {
        sum(UnsafeRawBufferPointer(rebasing: ipHeader[12..<20]))
            &+ UInt64(UInt16(bigEndian: UInt16(transport)))
            &+ UInt64(UInt16(bigEndian: UInt16(truncatingIfNeeded: length)))
    }
}
