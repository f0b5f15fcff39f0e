package import Multiformats

/// Where a peer says that it can be reached, signed by itself (contract/wire.md D.6).
package struct PeerRecord: Hashable, Sendable {
    static let domain = "libp2p-peer-record"
    static let payloadType: [UInt8] = [0x03, 0x01]
    /// The most addresses that are read.
    package static let maximumAddresses = 500

    /// Whose addresses they are.
    package let peer: PeerID
    /// Grows with every record of the peer; Unix nanoseconds by custom.
    package let sequence: UInt64
    /// The addresses, without `/p2p`. One that cannot be read is left out.
    package let addresses: [Multiaddr]

    package init(peer: PeerID, sequence: UInt64, addresses: [Multiaddr]) {
        self.peer = peer
        self.sequence = sequence
        self.addresses = addresses
    }

    /// Reads the record in a signed envelope. Throws unless the peer that it speaks of signed it.
    package init(envelope bytes: some Collection<UInt8>) throws(SignedEnvelopeError) {
        let envelope = try SignedEnvelope(bytes: bytes, domain: Self.domain)
        guard envelope.payloadType == Self.payloadType else { throw .wrongType }
        do throws(WireError) {
            try self.init(payload: envelope.payload)
        } catch {
            throw .malformed(error)
        }
        guard peer.matches(envelope.publicKey) else { throw .wrongPeer }
    }

    /// The record in an envelope that `identity`, whose record it is, has signed.
    package func signed(by identity: Identity) -> SignedEnvelope {
        SignedEnvelope(
            domain: Self.domain, payloadType: Self.payloadType, payload: payload, signedBy: identity)
    }

    private init(payload: [UInt8]) throws(WireError) {
        var peer: PeerID?
        var sequence: UInt64 = 0
        var addresses: [Multiaddr] = []
        var fields = ProtobufFields(payload)
        while let field = try fields.next() {
            switch field.number {
            case 1:
                guard let found = try? PeerID(bytes: field.bytes()) else {
                    throw .invalidField("peer_id is no peer ID")
                }
                peer = found
            case 2: sequence = try field.varint()
            case 3:
                var info = ProtobufFields(try field.bytes())
                while let field = try info.next() {
                    guard field.number == 1, addresses.count < Self.maximumAddresses else { continue }
                    if let address = try? Multiaddr(bytes: field.bytes()) { addresses.append(address) }
                }
            default: break
            }
        }
        guard let peer else { throw .missingField("peer_id") }
        self.init(peer: peer, sequence: sequence, addresses: addresses)
    }

    private var payload: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendProtobuf(field: 1, bytes: peer.bytes)
        // A proto3 message: a field that is 0 is left out.
        if sequence != 0 { bytes.appendProtobuf(field: 2, varint: sequence) }
        for address in addresses {
            var info: [UInt8] = []
            info.appendProtobuf(field: 1, bytes: address.bytes)
            bytes.appendProtobuf(field: 3, bytes: info)
        }
        return bytes
    }
}
