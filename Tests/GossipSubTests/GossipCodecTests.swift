import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

@testable import GossipSub

@Suite("Gossip messages and RPCs")
struct GossipCodecTests {
    @Test("every message of the vectors has the same bytes, signed bytes, ID and signature")
    func messages() throws {
        let vectors = try GossipVectors.load()
        for vector in vectors.cases("message") {
            let content = try #require(vector.message)
            let message = GossipMessage(content.fields)
            let bytes = try GossipVectors.bytes(vector.messageBytes)
            #expect(message.encoded == bytes, "\(vector.name)")
            #expect(try GossipMessage(parsing: bytes[...]) == message, "\(vector.name)")
            #expect(try message.signedBytes == GossipVectors.bytes(vector.signedBytes), "\(vector.name)")
            #expect(try message.id.bytes == GossipVectors.bytes(vector.messageId), "\(vector.name)")
            #expect(message.isAuthentic, "\(vector.name)")
            if vector.signatureIsDeterministic == true,
                let key = vectors.keys.first(where: { $0.name == vector.signer })?.privateKeyProtobuf,
                let identity = try? Identity(privateKey: GossipVectors.bytes(key))
            {
                #expect(try identity.sign(message.signedBytes) == GossipVectors.bytes(content.signature))
            }
            var rpc = RPC()
            rpc.messages = [message]
            #expect(try rpc.encoded == GossipVectors.bytes(vector.rpcBytes), "\(vector.name)")
        }
    }

    @Test("authentic are exactly the messages that go-libp2p accepts")
    func verification() throws {
        let cases = try GossipVectors.load().cases("verify")
        #expect(cases.count == 18)
        for vector in cases {
            let message = try GossipMessage(parsing: GossipVectors.bytes(vector.messageBytes)[...])
            #expect(message.isAuthentic == vector.valid, "\(vector.name)")
        }
    }

    @Test("every RPC of the vectors decodes to its content, and ours encode to the same bytes")
    func rpcs() throws {
        let vectors = try GossipVectors.load()
        var encoded = 0
        for vector in vectors.cases("rpc") + vectors.cases("captured") {
            let framed = try GossipVectors.bytes(vector.framed)
            var cursor = ByteCursor(framed)
            let body = try cursor.readLengthPrefixed(maximum: framed.count)
            let content = try #require(vector.rpc)
            let rpc = try RPC(parsing: body)
            #expect(rpc == content.rpc, "\(vector.name)")
            #expect(rpc.encoded.count <= rpc.encodedLengthEstimate)
            #expect(try RPC(parsing: rpc.encoded[...]) == rpc)
            if content.isOurKind, vector.name != "unknown field 99 is ignored" {
                encoded += 1
                #expect(Hex.encode(rpc.encoded) == Hex.encode(body), "\(vector.name)")
            }
        }
        #expect(encoded > 15)
    }

    @Test("what is no RPC is refused")
    func badRPCs() throws {
        let cases = try GossipVectors.load().cases("bad_rpc")
        #expect(cases.count == 4)
        for vector in cases {
            let bytes = try GossipVectors.bytes(vector.rpcBytes)
            #expect(throws: WireError.self, "\(vector.name)") { try RPC(parsing: bytes[...]) }
        }
    }

    @Test("a frame stuffed with tiny entries is kept only in part")
    func stuffedFrames() throws {
        let id: [UInt8] = [0x0a, 1, 1]
        var control: [UInt8] = []
        control.appendProtobuf(field: 2, bytes: Array(repeatElement(id, count: 50_000).joined()))
        for _ in 0..<5000 {
            control.appendProtobuf(
                field: 1, bytes: [0x0a, 0] + Array(repeatElement([0x12, 1, 1], count: 50).joined()))
            control.appendProtobuf(field: 3, bytes: [0x0a, 0])
            control.appendProtobuf(field: 4, bytes: [0x0a, 0])
        }
        var frame: [UInt8] = []
        for _ in 0..<5000 {
            frame.appendProtobuf(field: 1, bytes: [0x12, 0])
            frame.appendProtobuf(field: 2, bytes: [UInt8]())
        }
        frame.appendProtobuf(field: 3, bytes: control)
        let rpc = try RPC(parsing: frame[...])
        #expect(rpc.subscriptions.count == RPC.Limits.subscriptions)
        #expect(rpc.messages.count == RPC.Limits.messages)
        #expect(rpc.iwant.count == RPC.Limits.ids)
        #expect(rpc.ihave.reduce(0) { $0 + $1.ids.count } == RPC.Limits.ids)
        #expect(rpc.ihave.count <= RPC.Limits.control)
        #expect(rpc.graft.count == RPC.Limits.control && rpc.prune.count == RPC.Limits.control)
    }

    @Test("a topic that is no text or too long is nobody's")
    func oddTopics() throws {
        var fields = GossipMessage.Fields()
        fields.topic = [0xff, 0xfe]
        #expect(GossipMessage(fields).topic == nil)
        fields.topic = [UInt8](repeating: 97, count: 257)[...]
        #expect(GossipMessage(fields).topic == nil)
        fields.topic = [UInt8](repeating: 97, count: 256)[...]
        #expect(GossipMessage(fields).topic != nil)
    }

    @Test("an author's sequence numbers rise even when the clock stands still or runs back")
    func sequenceNumbers() throws {
        let identity = Identity.generate()
        var author = MessageAuthor(identity: identity)
        let times = [
            UnixTime(seconds: 100), UnixTime(seconds: 100), UnixTime(seconds: 50), UnixTime(seconds: 200),
        ]
        let messages = times.map { author.message(topic: "t", data: [1, 2, 3], at: $0) }
        #expect(messages.allSatisfy { $0.isAuthentic && $0.topic == "t" && $0.data == [1, 2, 3] })
        let numbers = messages.map { $0.sequenceNumber.map(Array.init) ?? [] }
        #expect(numbers.allSatisfy { $0.count == 8 })
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
        #expect(messages[3].id.bytes.count == 46)
        #expect(messages[3].author == identity.peerID)
    }

    @Test("no change of bytes makes the codec trap, and what it accepts it reads back")
    func fuzz() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let vectors = try GossipVectors.load()
        let frames = try (vectors.cases("rpc") + vectors.cases("message")).map {
            try GossipVectors.bytes($0.rpcBytes)
        }
        .filter { !$0.isEmpty && $0.count < 2000 }
        for round in 0..<10_000 {
            var frame = frames[round % frames.count]
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                frame[Int.random(in: 0..<frame.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            if Bool.random(using: &generator) {
                frame.removeLast(Int.random(in: 0..<frame.count, using: &generator))
            }
            guard let rpc = try? RPC(parsing: frame[...]) else { continue }
            #expect((try? RPC(parsing: rpc.encoded[...])) == rpc, "seed \(seed), round \(round)")
        }
    }
}
