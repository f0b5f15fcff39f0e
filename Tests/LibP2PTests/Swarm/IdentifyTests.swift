import LibP2P
import Multiformats
import NIOCore
import TestSupport
import Testing
import Timing

@Suite("identify")
struct IdentifyTests {
    struct File: Decodable { let cases: [Case] }

    struct Case: Decodable {
        let kind: String
        let name: String
        let bytes: String?
        let framed: String?
        let stream: String?
        let parts: Int?
        let peerID: String?
        let identify: Fields?
        let record: Record?
        let envelopeBytes: String?
        let valid: Bool?

        enum CodingKeys: String, CodingKey {
            case kind, name, bytes, framed, stream, parts, identify, record, valid
            case peerID = "peer_id"
            case envelopeBytes = "envelope_bytes"
        }
    }

    struct Record: Decodable {
        let addresses: [Address]?
        let addrs: [Address]?
    }

    struct Address: Decodable {
        let bytes: String
        let text: String?
    }

    struct Fields: Decodable {
        let agentVersion: String?
        let listenAddresses: [Address]
        let observedAddress: Address?
        let protocolVersion: String?
        let protocols: [String]
        let publicKey: String?
        let signedPeerRecord: String?

        enum CodingKeys: String, CodingKey {
            case protocols
            case agentVersion = "agent_version"
            case listenAddresses = "listen_addrs"
            case observedAddress = "observed_addr"
            case protocolVersion = "protocol_version"
            case publicKey = "public_key"
            case signedPeerRecord = "signed_peer_record"
        }
    }

    private static func cases(_ kind: String) throws -> [Case] {
        try Vectors.load("identify.json", as: File.self).cases.filter { $0.kind == kind }
    }

    private func expect(_ message: IdentifyMessage, is fields: Fields, _ name: String) {
        #expect(message.agentVersion == fields.agentVersion, "\(name)")
        #expect(message.protocolVersion == fields.protocolVersion, "\(name)")
        #expect(
            message.listenAddresses.map { Hex.encode($0) } == fields.listenAddresses.map(\.bytes), "\(name)")
        #expect(message.observedAddress.map { Hex.encode($0) } == fields.observedAddress?.bytes, "\(name)")
        #expect(message.protocols.map(\.rawValue) == fields.protocols, "\(name)")
        #expect(message.publicKey.map { Hex.encode($0) } == fields.publicKey, "\(name)")
        #expect(message.signedPeerRecord.map { Hex.encode($0) } == fields.signedPeerRecord, "\(name)")
        for (bytes, address) in zip(message.listenAddresses, fields.listenAddresses) {
            #expect((try? Multiaddr(bytes: bytes))?.description == address.text, "\(name)")
        }
    }

    @Test("messages decode to their meaning and encode to their bytes")
    func messages() throws {
        let cases = try Self.cases("identify")
        #expect(cases.count >= 8)
        for item in cases {
            let bytes = try #require(Hex.decode(item.bytes ?? "x"))
            var message = IdentifyMessage()
            try message.merge(bytes)
            expect(message, is: try #require(item.identify), item.name)
            #expect(Hex.encode(message.bytes) == item.bytes, "\(item.name)")
            #expect(Hex.encode(message.framed) == item.framed, "\(item.name)")
        }
    }

    @Test("whole streams of running hosts merge to their meaning, however they are cut")
    func streams() throws {
        let cases = try Self.cases("stream")
        #expect(cases.count >= 6)
        for item in cases {
            let stream = ByteBuffer(bytes: try #require(Hex.decode(item.stream ?? "x")))
            for step in [1, 7, 1000, stream.readableBytes] {
                var reader = IdentifyReader()
                var rest = stream
                while rest.readableBytes > 0,
                    let piece = rest.readSlice(length: min(step, rest.readableBytes))
                {
                    try reader.receive(piece)
                }
                let message = try reader.finish()
                expect(message, is: try #require(item.identify), item.name)
            }
        }
    }

    @Test("the peer's own messages are believed as far as their connection's reach lets them be")
    func reach() throws {
        let identity = Identity.generate()
        var message = IdentifyMessage()
        message.publicKey = identity.publicKey.bytes
        let texts = ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/1", "/ip4/8.8.8.8/tcp/1"]
        message.listenAddresses = try texts.map { try Multiaddr($0).bytes } + [[0xff, 0x7f]]
        func kept(_ remote: String) throws -> [String] {
            try PeerInformation(message, from: identity.peerID, over: Multiaddr(remote))
                .listenAddresses.map(\.description)
        }
        #expect(try kept("/ip4/127.0.0.1/tcp/9") == texts)
        #expect(try kept("/ip4/10.0.0.1/tcp/9") == Array(texts.dropFirst()))
        #expect(try kept("/ip4/9.9.9.9/tcp/9") == Array(texts.dropFirst(2)))
    }

    @Test("a valid record's addresses count, a stranger's leave none, a broken one is as if absent")
    func records() throws {
        let (peer, stranger) = (Identity.generate(), Identity.generate())
        let (listed, recorded) = (try Multiaddr("/ip4/10.0.0.1/tcp/1"), try Multiaddr("/ip4/10.0.0.2/tcp/2"))
        func addresses(_ envelope: [UInt8]) throws -> [Multiaddr] {
            var message = IdentifyMessage()
            message.listenAddresses = [listed.bytes]
            message.signedPeerRecord = envelope
            return try PeerInformation(message, from: peer.peerID, over: listed).listenAddresses
        }
        let good = PeerRecord(peer: peer.peerID, sequence: 1, addresses: [recorded])
        #expect(try addresses(good.signed(by: peer).bytes) == [recorded])
        let other = PeerRecord(peer: stranger.peerID, sequence: 1, addresses: [recorded])
        #expect(try addresses(other.signed(by: stranger).bytes) == [])
        #expect(try addresses(other.signed(by: peer).bytes) == [])
        var broken = good.signed(by: peer).bytes
        broken[broken.count - 1] ^= 1
        #expect(try addresses(broken) == [listed])
    }

    @Test("another peer's key is refused")
    func wrongKey() throws {
        var message = IdentifyMessage()
        message.publicKey = Identity.generate().publicKey.bytes
        let address = try Multiaddr("/ip4/10.0.0.1/tcp/1")
        #expect(throws: IdentifyError.wrongPeer) {
            try PeerInformation(message, from: Identity.generate().peerID, over: address)
        }
    }

    @Test("an oversize part, an eleventh part and a cut one are refused")
    func limits() throws {
        var oversize = IdentifyReader()
        #expect(throws: IdentifyError.self) { try oversize.receive(ByteBuffer(bytes: Uvarint.encode(8193))) }
        var many = IdentifyReader()
        try many.receive(ByteBuffer(repeating: 0, count: 10))
        #expect(throws: IdentifyError.tooManyParts) { try many.receive(ByteBuffer(bytes: [0])) }
        var cut = IdentifyReader()
        try cut.receive(ByteBuffer(bytes: [5, 1]))
        #expect(throws: IdentifyError.truncated) { try cut.finish() }
    }

    @Test("random bytes never trap", arguments: 0..<20)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let valid = try #require(Hex.decode(try Self.cases("stream")[0].stream ?? "x"))
        for _ in 0..<200 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            var reader = IdentifyReader()
            guard (try? reader.receive(ByteBuffer(bytes: bytes))) != nil, let message = try? reader.finish()
            else {
                continue
            }
            _ = try? PeerInformation(
                message, from: Identity.generate().peerID, over: Multiaddr("/ip4/10.0.0.1/tcp/1"))
        }
    }
}
