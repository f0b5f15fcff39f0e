import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

private struct Case: Decodable {
    let kind: String
    let name: String
    let bytes: String?
    let cidBase32: String?
    let cidBase36: String?
    let error: String?
    let expected: Bool?
    let message: String?
    let peerId: String?
    let peerIdBytes: String?
    let idContainsKey: Bool?
    let privateKeyProtobuf: String?
    let publicKeyProtobuf: String?
    let publicKeyData: String?
    let reencoded: String?
    let seed: String?
    let signature: String?
    let text: String?
    let type: String?

    var isRefused: Bool { peerId == nil }
}

private struct File: Decodable {
    let cases: [Case]
}

@Suite("Keys and peer IDs")
struct IdentityTests {
    private let cases: [Case]

    init() throws {
        cases = try Vectors.load("peerid.json", as: File.self, snakeCase: true).cases
    }

    private func bytes(_ hex: String?) throws -> [UInt8] {
        try #require(hex.flatMap(Hex.decode))
    }

    @Test("peer ID, key and signature follow from the key message as in go-libp2p, for every type")
    func keys() throws {
        let keys = cases.filter { $0.kind == "key" }
        #expect(keys.count == 9)
        for example in keys {
            let key = try PublicKey(bytes: bytes(example.publicKeyProtobuf))
            let peer = PeerID(key)
            let message = Array(try #require(example.message).utf8)
            #expect(Hex.encode(key.bytes) == example.publicKeyProtobuf, "\(example.name)")
            #expect(Hex.encode(key.data) == example.publicKeyData, "\(example.name)")
            #expect(peer.description == example.peerId, "\(example.name)")
            #expect(Hex.encode(peer.bytes) == example.peerIdBytes, "\(example.name)")
            #expect(peer.cid?.text(.base32) == example.cidBase32, "\(example.name)")
            #expect(peer.cid?.text(.base36) == example.cidBase36, "\(example.name)")
            #expect(peer.publicKey == (example.idContainsKey == true ? key : nil), "\(example.name)")
            #expect(key.verify(try bytes(example.signature), of: message), "\(example.name)")
            #expect(!key.verify(try bytes(example.signature), of: message + [0]), "\(example.name)")

            guard example.type == "Ed25519" else {
                #expect(throws: KeyError.self) {
                    try Identity(privateKey: bytes(example.privateKeyProtobuf))
                }
                continue
            }
            let identity = try Identity(privateKey: bytes(example.privateKeyProtobuf))
            #expect(identity.publicKey == key)
            #expect(Hex.encode(identity.privateKey) == example.privateKeyProtobuf)
            #expect(Hex.encode(identity.sign(message)) == example.signature)
            let seeded = try Identity(seed: SecretBytes(copying: bytes(example.seed)))
            #expect(seeded.peerID == peer)
        }
    }

    @Test("an altered signature of any type of key is refused")
    func badSignatures() throws {
        let bad = cases.filter { $0.kind == "bad_signature" }
        #expect(bad.count == 9)
        for example in bad {
            let key = try PublicKey(bytes: bytes(example.publicKeyProtobuf))
            let message = Array(try #require(example.message).utf8)
            #expect(
                key.verify(try bytes(example.signature), of: message) == example.expected, "\(example.name)")
        }
    }

    @Test("texts and bytes read as peer IDs or are refused as in go-libp2p")
    func decoding() throws {
        for example in cases where example.kind == "decode_text" || example.kind == "decode_bytes" {
            func read() throws -> PeerID {
                if let text = example.text { return try PeerID(text) }
                return try PeerID(bytes: bytes(example.bytes))
            }
            if example.isRefused {
                #expect(throws: PeerIDError.self, "\(example.name)") { try read() }
            } else {
                #expect(try read().description == example.peerId, "\(example.name)")
            }
        }
    }

    @Test("key messages read or are refused as in go-libp2p")
    func keyMessages() throws {
        for example in cases where example.kind == "public_key" {
            if example.isRefused {
                #expect(throws: KeyError.self, "\(example.name)") {
                    try PublicKey(bytes: bytes(example.bytes))
                }
            } else {
                let key = try PublicKey(bytes: bytes(example.bytes))
                #expect(Hex.encode(key.bytes) == example.reencoded, "\(example.name)")
                #expect(PeerID(key).description == example.peerId, "\(example.name)")
            }
        }
        for example in cases where example.kind == "private_key" {
            // Go keeps a key whose halves disagree; its signatures would verify under no key.
            let disagrees = example.name == "public half does not belong to the seed"
            if example.isRefused || disagrees {
                #expect(throws: KeyError.self, "\(example.name)") {
                    try Identity(privateKey: bytes(example.bytes))
                }
            } else {
                let identity = try Identity(privateKey: bytes(example.bytes))
                #expect(Hex.encode(identity.privateKey) == example.reencoded, "\(example.name)")
                #expect(identity.peerID.description == example.peerId, "\(example.name)")
            }
        }
    }

    @Test("peer IDs are ordered by their bytes")
    func order() throws {
        let low = try PeerID(bytes: [0, 1, 1])
        let high = try PeerID(bytes: [0, 2, 0, 0])
        #expect(low < high)
        #expect(!(high < low))
        #expect(!(low < low))
    }

    @Test("neither identities nor secrets show their keys when printed")
    func secrecy() throws {
        let identity = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 7, count: 32)))
        var dumped = ""
        dump(identity, to: &dumped)
        #expect("\(identity)" == identity.peerID.description)
        #expect(!dumped.contains("7, 7, 7") && !dumped.contains("- 7\n"))
        #expect("\(SecretBytes(copying: [1, 2, 3]))" == "SecretBytes(3)")
    }

    @Test("random and damaged messages never break a reader of keys, IDs and envelopes")
    func fuzz() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let identity = Identity.generate()
        let record = PeerRecord(
            peer: identity.peerID, sequence: 1, addresses: [try Multiaddr("/ip4/1.2.3.4/tcp/5")])
        let envelope = record.signed(by: identity).bytes
        let good =
            try cases.compactMap { $0.bytes ?? $0.publicKeyProtobuf }.map { try bytes($0) } + [envelope]
        for _ in 0..<1500 {
            var bytes = good.randomElement(using: &random) ?? []
            if bytes.isEmpty || Int.random(in: 0..<4, using: &random) == 0 {
                bytes = (0..<Int.random(in: 0..<60, using: &random)).map { _ in
                    .random(in: 0...255, using: &random)
                }
            } else if Bool.random(using: &random) {
                bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            } else {
                bytes[Int.random(in: bytes.indices, using: &random)] ^=
                    1 << UInt8.random(in: 0..<8, using: &random)
            }
            if let key = try? PublicKey(bytes: bytes) {
                #expect(try PublicKey(bytes: key.bytes) == key, "seed \(seed)")
            }
            _ = try? PeerID(bytes: bytes).publicKey
            _ = try? Identity(privateKey: bytes)
            if let record = try? PeerRecord(envelope: bytes) {
                #expect(bytes == envelope && record.peer == identity.peerID, "seed \(seed)")
            }
        }
    }
}
