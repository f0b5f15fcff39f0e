package import LibP2P
package import Multiformats
package import Timing

/// One published message as it travels (contract/wire.md I.5).
///
/// The codec is written by hand because signatures cover exact bytes: fields in ascending order, an
/// empty field apart from an absent one, and unknown fields kept behind the known ones. A message is
/// kept in that one form, which is what is forwarded; its parts are views into it.
package struct GossipMessage: Hashable, Sendable {
    /// The fields of a message before they are put into their form; nil is absent.
    package struct Fields: Hashable, Sendable {
        package var from: ArraySlice<UInt8>?
        package var data: ArraySlice<UInt8>?
        package var sequenceNumber: ArraySlice<UInt8>?
        package var topic: ArraySlice<UInt8>?
        package var signature: ArraySlice<UInt8>?
        package var key: ArraySlice<UInt8>?
        /// Fields that this node does not know, encoded.
        package var unknown: [UInt8] = []

        package init() {}
    }

    /// The encoded message, without a length in front.
    package let encoded: [UInt8]
    private let fields: Fields

    /// Text that is signed in front of the message.
    static let signaturePrefix = Array("libp2p-pubsub:".utf8)

    /// The message of `fields`.
    package init(_ fields: Fields) {
        var encoded = Self.signedPart(
            of: fields, extra: 32 + (fields.signature?.count ?? 0) + (fields.key?.count ?? 0))
        if let signature = fields.signature { encoded.appendProtobuf(field: 5, bytes: signature) }
        if let key = fields.key { encoded.appendProtobuf(field: 6, bytes: key) }
        encoded += fields.unknown
        self.encoded = encoded
        self.fields = (try? Self.parse(encoded[...])) ?? fields
    }

    /// Reads an encoded message. Of a field that occurs twice the last one counts.
    package init(parsing bytes: ArraySlice<UInt8>) throws(WireError) {
        self.init(try Self.parse(bytes))
    }

    /// The author's binary peer ID.
    package var from: ArraySlice<UInt8>? { fields.from }
    /// What is published; empty when the field is absent.
    package var data: ArraySlice<UInt8> { fields.data ?? [] }
    package var sequenceNumber: ArraySlice<UInt8>? { fields.sequenceNumber }
    package var signature: ArraySlice<UInt8>? { fields.signature }
    package var key: ArraySlice<UInt8>? { fields.key }
    /// The topic; nil when it is absent or no name that could be subscribed to.
    package var topic: Topic? { fields.topic.flatMap(Topic.init(bytes:)) }

    /// What tells this message from all others.
    package var id: MessageID {
        MessageID(bytes: Array(fields.from ?? []) + Array(fields.sequenceNumber ?? []))
    }

    /// Who wrote the message; nil when that is no peer ID. Believe it only once `isAuthentic`.
    package var author: PeerID? {
        fields.from.flatMap { try? PeerID(bytes: $0) }
    }

    /// The bytes that the signature is made of.
    package var signedBytes: [UInt8] {
        var unsigned = fields
        unsigned.signature = nil
        unsigned.key = nil
        return Self.signaturePrefix + Self.signedPart(of: unsigned, extra: fields.unknown.count)
            + fields.unknown
    }

    /// Whether the author really signed the message (StrictSign): there is a signature, the key is in
    /// the author's ID or attached and matches it, and the signature is that key's.
    package var isAuthentic: Bool {
        guard let author, let signature = fields.signature, !signature.isEmpty else { return false }
        let publicKey: PublicKey
        if let key = fields.key {
            guard let attached = try? PublicKey(bytes: key), author.matches(attached) else { return false }
            publicKey = attached
        } else {
            guard let embedded = author.publicKey else { return false }
            publicKey = embedded
        }
        return publicKey.verify(signature, of: signedBytes)
    }

    package static func == (left: Self, right: Self) -> Bool { left.encoded == right.encoded }

    package func hash(into hasher: inout Hasher) { hasher.combine(id) }

    /// Fields 1 to 4. `extra` more bytes are reserved.
    private static func signedPart(of fields: Fields, extra: Int) -> [UInt8] {
        let parts = [fields.from, fields.data, fields.sequenceNumber, fields.topic]
        var bytes: [UInt8] = []
        bytes.reserveCapacity(parts.reduce(extra) { $0 + ($1?.count ?? 0) + 6 })
        for (number, part) in zip(UInt64(1)..., parts) {
            if let part { bytes.appendProtobuf(field: number, bytes: part) }
        }
        return bytes
    }

    private static func parse(_ bytes: ArraySlice<UInt8>) throws(WireError) -> Fields {
        var fields = Fields()
        var reader = ProtobufFields(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: fields.from = try field.bytes()
            case 2: fields.data = try field.bytes()
            case 3: fields.sequenceNumber = try field.bytes()
            case 4: fields.topic = try field.bytes()
            case 5: fields.signature = try field.bytes()
            case 6: fields.key = try field.bytes()
            default: fields.unknown.append(field)
            }
        }
        return fields
    }
}

extension [UInt8] {
    /// Appends a field as it was read.
    fileprivate mutating func append(_ field: ProtobufFields.Field) {
        switch field.value {
        case .varint(let value):
            appendProtobuf(field: field.number, varint: value)
        case .bytes(let bytes):
            appendProtobuf(field: field.number, bytes: bytes)
        case .fixed64(let value):
            appendUvarint(field.number << 3 | 1)
            appendBigEndian(value.byteSwapped)
        case .fixed32(let value):
            appendUvarint(field.number << 3 | 5)
            appendBigEndian(value.byteSwapped)
        }
    }
}

/// Tells messages apart: the author's ID and the sequence number behind it, 46 bytes as a rule
/// (contract/wire.md I.5).
package struct MessageID: Hashable, Sendable {
    /// Longer ones are nobody's and not kept.
    package static let maximumLength = 128

    package let bytes: [UInt8]

    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }
}

/// Writes and signs this node's own messages.
package struct MessageAuthor: Sendable {
    private let identity: Identity
    private var lastSequenceNumber: UInt64 = 0

    package init(identity: Identity) {
        self.identity = identity
    }

    /// A signed message. Its sequence number is the wall clock in nanoseconds, or one more than the
    /// last when the clock stands or runs back, so it is unique across restarts too.
    package mutating func message(topic: Topic, data: some Collection<UInt8>, at now: UnixTime)
        -> GossipMessage
    {
        lastSequenceNumber = max(UInt64(clamping: now.nanoseconds), lastSequenceNumber &+ 1)
        var sequenceNumber: [UInt8] = []
        sequenceNumber.appendBigEndian(lastSequenceNumber)
        var fields = GossipMessage.Fields()
        fields.from = identity.peerID.bytes[...]
        fields.data = Array(data)[...]
        fields.sequenceNumber = sequenceNumber[...]
        fields.topic = Array(topic.name.utf8)[...]
        fields.signature = identity.sign(GossipMessage(fields).signedBytes)[...]
        return GossipMessage(fields)
    }
}
