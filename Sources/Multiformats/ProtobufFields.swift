/// Reads the fields of one protobuf message in order, without a schema.
///
/// It serves the few messages whose exact bytes are hashed or signed (keys, envelopes, peer records,
/// the Noise payload): generated code promises equal values, not equal bytes, and these messages are
/// read before a peer is authenticated, where every length wants to be checked in one small place.
package struct ProtobufFields {
    /// The value of a field by wire type.
    package enum Value: Hashable, Sendable {
        case varint(UInt64)
        case fixed64(UInt64)
        case bytes(ArraySlice<UInt8>)
        case fixed32(UInt32)
    }

    /// A field's number and value.
    package struct Field: Hashable, Sendable {
        package let number: UInt64
        package let value: Value

        /// The value as a varint; throws when the field has another wire type.
        package func varint() throws(WireError) -> UInt64 {
            guard case .varint(let value) = value else { throw .wrongWireType(field: number) }
            return value
        }

        /// The value as bytes; throws when the field has another wire type.
        package func bytes() throws(WireError) -> ArraySlice<UInt8> {
            guard case .bytes(let bytes) = value else { throw .wrongWireType(field: number) }
            return bytes
        }

        /// The value as text; throws when the field has another wire type or is not UTF-8.
        package func text() throws(WireError) -> String {
            let bytes = try bytes()
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw .invalidField("protobuf field \(number) is not UTF-8")
            }
            return text
        }
    }

    private var cursor: ByteCursor

    /// Reads the message that `bytes` are, to their end.
    package init(_ bytes: ArraySlice<UInt8>) {
        self.cursor = ByteCursor(bytes)
    }

    /// Reads the message that `bytes` are, to their end.
    package init(_ bytes: [UInt8]) {
        self.cursor = ByteCursor(bytes)
    }

    /// The next field, nil after the last. Groups, which protobuf gave up long ago, are refused.
    package mutating func next() throws(WireError) -> Field? {
        guard !cursor.isAtEnd else { return nil }
        let tag = try cursor.readProtobufVarint()
        let number = tag >> 3
        guard number != 0, number < 1 << 29 else { throw .wrongWireType(field: number) }
        switch tag & 7 {
        case 0: return Field(number: number, value: .varint(try cursor.readProtobufVarint()))
        case 1: return Field(number: number, value: .fixed64(try cursor.readUInt64LittleEndian()))
        case 2:
            let length = try cursor.readProtobufVarint()
            return Field(number: number, value: .bytes(try cursor.readBytes(length)))
        case 5: return Field(number: number, value: .fixed32(try cursor.readUInt32LittleEndian()))
        default: throw .wrongWireType(field: number)
        }
    }
}

extension [UInt8] {
    /// Appends a protobuf field of wire type varint, also when `value` is 0.
    package mutating func appendProtobuf(field number: UInt64, varint value: UInt64) {
        appendUvarint(number << 3)
        appendUvarint(value)
    }

    /// Appends a protobuf field of wire type bytes, also when `bytes` are empty.
    package mutating func appendProtobuf(field number: UInt64, bytes: some Collection<UInt8>) {
        appendUvarint(number << 3 | 2)
        appendLengthPrefixed(bytes)
    }
}
