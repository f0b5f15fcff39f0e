package import Multiformats

/// The kinds of key that a peer's identity may be (contract/wire.md A.1).
package enum KeyType: UInt64, Hashable, Sendable {
    case rsa = 0
    case ed25519 = 1
    case secp256k1 = 2
    case ecdsa = 3
}

/// The message around a key, public or private: `{ 1 Type varint, 2 Data bytes }`, both always
/// written, in this order. Written by hand because a peer ID is a hash of exactly these bytes.
struct KeyMessage {
    /// The longest message read: a public RSA key of 8192 bits takes some 1100 bytes, a private one
    /// under 5000.
    static let maximumLength = 8192

    let type: KeyType
    let data: ArraySlice<UInt8>

    init(_ bytes: some Collection<UInt8>) throws(KeyError) {
        guard bytes.count <= Self.maximumLength else {
            throw .malformed(
                .tooLong(
                    length: UInt64(bytes.count), maximum: Self.maximumLength))
        }
        var type: UInt64?
        var data: ArraySlice<UInt8>?
        do throws(WireError) {
            var fields = ProtobufFields(Array(bytes))
            while let field = try fields.next() {
                switch field.number {
                case 1: type = try field.varint()
                case 2: data = try field.bytes()
                default: break
                }
            }
        } catch {
            throw .malformed(error)
        }
        guard let type else { throw .malformed(.missingField("Type")) }
        guard let data else { throw .malformed(.missingField("Data")) }
        guard let known = KeyType(rawValue: type) else { throw .unknownType(type) }
        self.type = known
        self.data = data
    }

    /// The message, in one piece of memory that is never moved: `data` may be secret.
    static func encode(type: KeyType, data: some Collection<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(data.count + 8)
        bytes.appendProtobuf(field: 1, varint: type.rawValue)
        bytes.appendProtobuf(field: 2, bytes: data)
        return bytes
    }
}

/// Why bytes are no key.
package enum KeyError: Error, Hashable, CustomStringConvertible {
    /// The message around the key cannot be read.
    case malformed(WireError)
    /// The message names a kind of key that does not exist.
    case unknownType(UInt64)
    /// The kind of key exists, but this node does not use it here.
    case unsupportedType(KeyType)
    /// The key is not one of its kind: a wrong length, a point off the curve, a size that is not
    /// allowed.
    case invalidKey(KeyType)
    /// A private key's public half does not belong to its seed.
    case halvesDisagree

    package var description: String {
        switch self {
        case .malformed(let error): "the key message is malformed: \(error)"
        case .unknownType(let type): "there is no key type \(type)"
        case .unsupportedType(let type): "keys of type \(type) are not supported here"
        case .invalidKey(let type): "the bytes are no key of type \(type)"
        case .halvesDisagree: "the public half of the private key does not belong to its seed"
        }
    }
}
