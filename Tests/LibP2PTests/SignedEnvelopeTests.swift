import LibP2P
import Multiformats
import TestSupport
import Testing

private struct Case: Decodable {
    struct Envelope: Decodable {
        let bytes: String
        let payload: String
        let payloadType: String
        let publicKey: String
        let signature: String
    }

    struct Address: Decodable {
        let text: String
    }

    struct Record: Decodable {
        let peerId: String
        let seq: UInt64
        let addrs: [Address]
    }

    let kind: String
    let name: String
    let peerId: String?
    let envelope: Envelope?
    let envelopeBytes: String?
    let record: Record?
    let valid: Bool?
}

private struct File: Decodable {
    let cases: [Case]
}

@Suite("Signed envelopes and peer records")
struct SignedEnvelopeTests {
    @Test("envelopes are believed or refused as go-libp2p does")
    func vectors() throws {
        let cases = try Vectors.load("identify.json", as: File.self, snakeCase: true).cases.filter {
            $0.kind == "envelope"
        }
        #expect(cases.count == 16)
        let alice = try Identity(
            seed: SecretBytes(
                copying: #require(
                    Hex.decode(
                        "ed34a9a000f8413e31023a0d8f43b02c8cec9a49d6d4b248c621e7b245ca812d"))))
        let identities = [alice.peerID: alice]
        for example in cases {
            let bytes = try #require(example.envelopeBytes.flatMap(Hex.decode))
            // Go's caller knows whose record it expects; so does ours.
            let record = try? PeerRecord(envelope: bytes)
            let accepted = record.flatMap { $0.peer.description == example.peerId ? $0 : nil }
            #expect((accepted != nil) == example.valid, "\(example.name)")
            guard let accepted, let expected = example.record else { continue }
            #expect(accepted.sequence == expected.seq, "\(example.name)")
            #expect(accepted.addresses.map(\.description) == expected.addrs.map(\.text), "\(example.name)")
            guard let identity = identities[accepted.peer] else { continue }
            #expect(accepted.signed(by: identity).bytes == bytes, "\(example.name)")
        }
    }

    @Test("the record of the contract's example is written byte for byte")
    func contractExample() throws {
        let identity = try Identity(seed: SecretBytes(copying: (0..<32).map { UInt8($0) }))
        let record = PeerRecord(
            peer: identity.peerID, sequence: 1_767_225_600_000_000_000,
            addresses: [try Multiaddr("/ip4/192.0.2.2/tcp/4001")])
        let envelope = record.signed(by: identity)
        #expect(envelope.bytes.count == 172)
        #expect(
            Hex.encode(envelope.signature)
                == "5d7058b83781a1657c1b32dbcf58ced96fe90209f135358f2b41c16f8405cf79"
                + "fbf673ac9b50a41115f044d8bb66c47dfa396da15cd3366fb999adfc4e56fd08")
        #expect(try PeerRecord(envelope: envelope.bytes) == record)
    }

    @Test("a signature for one purpose or type is worth nothing for another")
    func purpose() throws {
        let identity = Identity.generate()
        let other = SignedEnvelope(
            domain: "libp2p-relay-rsvp", payloadType: [3, 2], payload: [1], signedBy: identity)
        #expect(throws: SignedEnvelopeError.invalidSignature) {
            try SignedEnvelope(bytes: other.bytes, domain: "libp2p-peer-record")
        }
        #expect(try SignedEnvelope(bytes: other.bytes, domain: "libp2p-relay-rsvp") == other)
        let wrongType = SignedEnvelope(
            domain: "libp2p-peer-record", payloadType: [3, 2], payload: [1], signedBy: identity)
        #expect(throws: SignedEnvelopeError.wrongType) { try PeerRecord(envelope: wrongType.bytes) }
        let foreign = PeerRecord(peer: Identity.generate().peerID, sequence: 1, addresses: []).signed(
            by: identity)
        #expect(throws: SignedEnvelopeError.wrongPeer) { try PeerRecord(envelope: foreign.bytes) }
    }
}
