package import Multiformats

/// What a node says of itself on `/ipfs/id/1.0.0` and `/ipfs/id/push/1.0.0` (contract/wire.md D.5).
///
/// Addresses stay bytes here, as some of them may be of kinds that this node cannot read. The codec
/// is written by hand on `ProtobufFields` because a message arrives in up to ten parts, each bounded
/// before it is read, and because an address that cannot be read must not cost the rest.
package struct IdentifyMessage: Hashable, Sendable {
    /// The encoded public key.
    package var publicKey: [UInt8]?
    /// Where the sender listens: binary multiaddrs without `/p2p`.
    package var listenAddresses: [[UInt8]] = []
    package var protocols: [ProtocolID] = []
    /// Where the sender sees the receiver.
    package var observedAddress: [UInt8]?
    package var protocolVersion: String?
    package var agentVersion: String?
    /// A sealed envelope with the same addresses.
    package var signedPeerRecord: [UInt8]?

    package init() {}

    /// The most addresses and protocols that are kept of one exchange.
    package static let maximumAddresses = 32
    package static let maximumProtocols = 128
    /// The longest name of a protocol that is kept, in bytes of UTF-8.
    package static let maximumProtocolLength = 128
    /// The longest address that is kept, in bytes.
    package static let maximumAddressLength = 192
    /// The longest text that is kept, in bytes of UTF-8.
    package static let maximumTextLength = 256
    /// The most that is kept of one peer, in bytes.
    package static let keptBytes =
        maximumAddresses * maximumAddressLength + maximumProtocols * maximumProtocolLength

    /// Merges one part into this message: single fields replace, lists append.
    ///
    /// Throws `WireError` when the part is no protobuf message or a known field has a wrong type.
    package mutating func merge(_ part: [UInt8]) throws(WireError) {
        var fields = ProtobufFields(part)
        while let field = try fields.next() {
            switch field.number {
            case 1: publicKey = Array(try field.bytes())
            case 2:
                guard listenAddresses.count < Self.maximumAddresses else { continue }
                let address = try field.bytes()
                if address.count <= Self.maximumAddressLength { listenAddresses.append(Array(address)) }
            case 3:
                guard protocols.count < Self.maximumProtocols else { continue }
                let text = try field.text()
                if text.utf8.count <= Self.maximumProtocolLength {
                    protocols.append(ProtocolID(rawValue: text))
                }
            case 4: observedAddress = Array(try field.bytes())
            case 5: protocolVersion = Self.bounded(try field.text())
            case 6: agentVersion = Self.bounded(try field.text())
            case 8: signedPeerRecord = Array(try field.bytes())
            default: break
            }
        }
    }

    private static func bounded(_ text: String) -> String {
        text.utf8.count <= maximumTextLength ? text : String(text.prefix(64))
    }

    /// The message in one part.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        if let publicKey { bytes.appendProtobuf(field: 1, bytes: publicKey) }
        for address in listenAddresses { bytes.appendProtobuf(field: 2, bytes: address) }
        for name in protocols { bytes.appendProtobuf(field: 3, bytes: name.rawValue.utf8) }
        if let observedAddress { bytes.appendProtobuf(field: 4, bytes: observedAddress) }
        if let protocolVersion { bytes.appendProtobuf(field: 5, bytes: protocolVersion.utf8) }
        if let agentVersion { bytes.appendProtobuf(field: 6, bytes: agentVersion.utf8) }
        if let signedPeerRecord { bytes.appendProtobuf(field: 8, bytes: signedPeerRecord) }
        return bytes
    }

    /// Above this size the signed record goes into a message of its own, as in go-libp2p.
    private static let singlePartLimit = 2048

    /// The bytes of the whole exchange: one part, or two with the signed record alone in the second,
    /// each behind its length.
    package var framed: [UInt8] {
        var framed: [UInt8] = []
        let whole = bytes
        guard whole.count > Self.singlePartLimit, let signedPeerRecord else {
            framed.appendLengthPrefixed(whole)
            return framed
        }
        var first = self
        first.signedPeerRecord = nil
        var second = IdentifyMessage()
        second.signedPeerRecord = signedPeerRecord
        framed.appendLengthPrefixed(first.bytes)
        framed.appendLengthPrefixed(second.bytes)
        return framed
    }
}
