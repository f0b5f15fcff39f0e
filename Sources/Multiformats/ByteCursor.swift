/// Reads values off the front of a run of bytes. It does every bounds check, so a parser built on it
/// has no arithmetic on lengths: whatever the bytes say, a read yields a value or throws `WireError`.
///
/// All integers are big endian unless their name says otherwise.
package struct ByteCursor: Sendable {
    private var rest: ArraySlice<UInt8>

    /// Starts at the front of `bytes`.
    package init(_ bytes: [UInt8]) {
        self.rest = bytes[...]
    }

    /// Starts at the front of `slice`.
    package init(_ slice: ArraySlice<UInt8>) {
        self.rest = slice
    }

    /// How many bytes have not been read.
    package var remaining: Int { rest.count }

    /// Whether everything has been read.
    package var isAtEnd: Bool { rest.isEmpty }

    /// The bytes that have not been read, left where they are.
    package var unread: ArraySlice<UInt8> { rest }

    /// The next byte, left where it is; nil at the end.
    package func peek() -> UInt8? { rest.first }

    package mutating func readUInt8() throws(WireError) -> UInt8 {
        guard let byte = rest.popFirst() else { throw .truncated(needed: 1, available: 0) }
        return byte
    }

    package mutating func readUInt16() throws(WireError) -> UInt16 { try readInteger() }

    package mutating func readUInt32() throws(WireError) -> UInt32 { try readInteger() }

    package mutating func readUInt64() throws(WireError) -> UInt64 { try readInteger() }

    package mutating func readUInt16LittleEndian() throws(WireError) -> UInt16 {
        try readUInt16().byteSwapped
    }

    package mutating func readUInt32LittleEndian() throws(WireError) -> UInt32 {
        try readUInt32().byteSwapped
    }

    package mutating func readUInt64LittleEndian() throws(WireError) -> UInt64 {
        try readUInt64().byteSwapped
    }

    /// Reads exactly `count` bytes; a negative `count` is refused like one that is too large.
    package mutating func readBytes(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= rest.count else { throw .truncated(needed: count, available: rest.count) }
        let bytes = rest.prefix(count)
        rest = rest.dropFirst(count)
        return bytes
    }

    /// Reads exactly `count` bytes, `count` being a value off the wire.
    package mutating func readBytes(_ count: UInt64) throws(WireError) -> ArraySlice<UInt8> {
        guard let count = Int(exactly: count) else { throw .truncated(needed: .max, available: rest.count) }
        return try readBytes(count)
    }

    /// Skips exactly `count` bytes.
    package mutating func skip(_ count: Int) throws(WireError) {
        _ = try readBytes(count)
    }

    /// Reads everything that is left.
    package mutating func readRest() -> ArraySlice<UInt8> {
        defer { rest = [] }
        return rest
    }

    /// Reads a varint as multiformats write it: shortest form, at most 9 bytes, so below 2^63
    /// (contract/wire.md 0).
    package mutating func readUvarint() throws(WireError) -> UInt64 {
        let (value, length) = try Uvarint.decode(rest, maximumLength: 9)
        guard length == Uvarint.encodedLength(of: value) else { throw .varintNotMinimal }
        rest = rest.dropFirst(length)
        return value
    }

    /// Reads a varint as protobuf writes it: at most 10 bytes, below 2^64, any length of form.
    package mutating func readProtobufVarint() throws(WireError) -> UInt64 {
        let (value, length) = try Uvarint.decode(rest, maximumLength: 10)
        rest = rest.dropFirst(length)
        return value
    }

    /// Reads a multiformats varint and as many bytes as it says; refuses more than `maximum` before
    /// anything else is looked at.
    package mutating func readLengthPrefixed(maximum: Int) throws(WireError) -> ArraySlice<UInt8> {
        let length = try readUvarint()
        guard length <= UInt64(clamping: maximum) else { throw .tooLong(length: length, maximum: maximum) }
        return try readBytes(length)
    }

    /// Throws unless everything has been read.
    package func expectEnd() throws(WireError) {
        guard rest.isEmpty else { throw .trailingBytes(rest.count) }
    }

    private mutating func readInteger<Integer: FixedWidthInteger & UnsignedInteger>() throws(WireError)
        -> Integer
    {
        let size = MemoryLayout<Integer>.size
        guard rest.count >= size else { throw .truncated(needed: size, available: rest.count) }
        var value: Integer = 0
        for byte in rest.prefix(size) { value = value << 8 | Integer(byte) }
        rest = rest.dropFirst(size)
        return value
    }
}

/// Why bytes off the wire could not be read as what they should be.
package enum WireError: Error, Hashable, CustomStringConvertible {
    /// A value is longer than the bytes that are left.
    case truncated(needed: Int, available: Int)
    /// Bytes are left after the last value.
    case trailingBytes(Int)
    /// A varint goes on for longer than its context allows, or holds too large a number.
    case varintTooLong
    /// A varint is not in its shortest form.
    case varintNotMinimal
    /// A length is above what its context allows.
    case tooLong(length: UInt64, maximum: Int)
    /// A protobuf field has a wire type that its number may not have, or a type that does not exist.
    case wrongWireType(field: UInt64)
    /// A field that must be there is missing.
    case missingField(String)
    /// A field holds what it may not hold; the text says what.
    case invalidField(String)

    package var description: String {
        switch self {
        case .truncated(let needed, let available): "\(needed) bytes are needed but \(available) are left"
        case .trailingBytes(let count): "\(count) bytes are left over"
        case .varintTooLong: "a varint is too long"
        case .varintNotMinimal: "a varint is not in its shortest form"
        case .tooLong(let length, let maximum): "a length of \(length) is above the limit of \(maximum)"
        case .wrongWireType(let field): "protobuf field \(field) has the wrong wire type"
        case .missingField(let name): "field \(name) is missing"
        case .invalidField(let text): text
        }
    }
}
