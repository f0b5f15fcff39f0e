/// Unsigned LEB128: seven bits a byte, least significant group first, bit 7 set on all but the last
/// byte (contract/wire.md 0).
package enum Uvarint {
    /// How many bytes the shortest form of `value` takes: 1 to 10.
    package static func encodedLength(of value: UInt64) -> Int {
        value == 0 ? 1 : (UInt64.bitWidth - value.leadingZeroBitCount + 6) / 7
    }

    /// The shortest form of `value`.
    package static func encode(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encodedLength(of: value))
        bytes.appendUvarint(value)
        return bytes
    }

    /// Reads a varint of at most `maximumLength` (9 or 10) bytes off the front of `bytes`; returns it
    /// and the number of bytes it took, whether or not that is the shortest form.
    ///
    /// Throws `WireError.truncated` while more bytes could complete it, so a reader of a stream can
    /// wait for them, and `.varintTooLong` when none could.
    package static func decode(
        _ bytes: some Sequence<UInt8>, maximumLength: Int
    ) throws(WireError) -> (value: UInt64, length: Int) {
        var value: UInt64 = 0
        var length = 0
        for byte in bytes {
            guard length < maximumLength else { throw .varintTooLong }
            // The tenth byte holds bit 63 alone.
            if length == 9, byte > 1 { throw .varintTooLong }
            value |= UInt64(byte & 0x7f) << UInt64(7 * length)
            length += 1
            if byte & 0x80 == 0 { return (value, length) }
        }
        guard length < maximumLength else { throw .varintTooLong }
        throw .truncated(needed: length + 1, available: length)
    }
}

extension [UInt8] {
    /// Appends the shortest varint of `value`.
    package mutating func appendUvarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// Appends the length of `bytes` as a varint, then `bytes`.
    package mutating func appendLengthPrefixed(_ bytes: some Collection<UInt8>) {
        appendUvarint(UInt64(bytes.count))
        append(contentsOf: bytes)
    }

    /// Appends `value` big endian.
    package mutating func appendBigEndian(_ value: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }
}
