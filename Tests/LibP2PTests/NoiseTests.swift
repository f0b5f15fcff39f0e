import LibP2P
import NIOCore
import NIOEmbedded
import TestSupport
import Testing
import Timing

private struct Case: Decodable {
    struct Side: Decodable {
        let ephemeralPrivate: String
        let muxers: [String]
        let payload: String
        let peerId: String
        let staticPrivate: String
    }

    struct Transport: Decodable {
        let direction: String
        let plaintext: String
        let wire: String
    }

    struct Repeat: Decodable {
        let count: Int
        let unit: String
    }

    enum Party: Decodable {
        case side(Side)
        case muxers([String])

        init(from decoder: any Decoder) throws {
            if let muxers = try? [String](from: decoder) {
                self = .muxers(muxers)
            } else {
                self = .side(try Side(from: decoder))
            }
        }

        var side: Side? { if case .side(let side) = self { side } else { nil } }
        var muxers: [String]? { if case .muxers(let muxers) = self { muxers } else { nil } }
    }

    let kind: String
    let name: String?
    let initiator: Party?
    let responder: Party?
    let handshakeHash: String?
    let keyInitiatorToResponder: String?
    let keyResponderToInitiator: String?
    let selectedMuxer: String?
    let selected: String?
    let wire: [String]?
    let transport: [Transport]?
    let frameLengths: [Int]?
    let key: String?
    let nonceStart: UInt64?
    let plaintextRepeat: Repeat?
    let wireLength: Int?
    let wireSha256: String?
    let accepted: Bool?
    let expectedPeerId: String?
    let payload: String?
    let peerId: String?
    let staticPublic: String?
    let bytes: String?
    let message: Int?
    let fails: Bool?
}

private struct File: Decodable {
    let cases: [Case]
}

private func bytes(_ hex: String?) throws -> [UInt8] {
    try #require(hex.flatMap(Hex.decode))
}

private func keyPair(_ hex: String?) throws -> X25519.KeyPair {
    try X25519.KeyPair(privateKey: SecretBytes(copying: bytes(hex)))
}

private func handshake(_ role: NoiseXX.Role, _ side: Case.Side, expecting peer: PeerID? = nil) throws
    -> NoiseHandshake
{
    NoiseHandshake(
        role: role, expectedPeer: peer, muxers: side.muxers.map(ProtocolID.init(rawValue:)),
        staticKey: try keyPair(side.staticPrivate), ephemeralKey: try keyPair(side.ephemeralPrivate),
        payload: try bytes(side.payload))
}

@Suite("Noise")
struct NoiseTests {
    private let cases: [Case]

    init() throws {
        cases = try Vectors.load("noise.json", as: File.self, snakeCase: true).cases
    }

    /// The messages and results of two handshakes played against each other.
    private struct Outcome {
        var messages: [[UInt8]] = []
        var initiator: (session: SecureSession, keys: NoiseXX.Keys)?
        var responder: (session: SecureSession, keys: NoiseXX.Keys)?
        var error: NoiseError?
    }

    private func play(_ initiator: NoiseHandshake, _ responder: NoiseHandshake) -> Outcome {
        var initiator = initiator
        var responder = responder
        var outcome = Outcome()
        var turn = (initiator.receive(.start) + responder.receive(.start), isInitiator: true)
        while !turn.0.isEmpty {
            var next: [NoiseHandshakeEffect] = []
            for effect in turn.0 {
                switch effect {
                case .send(let message):
                    outcome.messages.append(message)
                    next +=
                        turn.isInitiator
                        ? responder.receive(.message(message)) : initiator.receive(.message(message))
                case .completed(let session, let keys):
                    if turn.isInitiator {
                        outcome.initiator = (session, keys)
                    } else {
                        outcome.responder = (session, keys)
                    }
                case .failed(let error): outcome.error = error
                }
            }
            turn = (next, !turn.isInitiator)
        }
        return outcome
    }

    @Test("a handshake with given keys has go-libp2p's messages, hash, keys and first frames")
    func handshakes() throws {
        let handshakes = cases.filter { $0.kind == "handshake" }
        #expect(handshakes.count == 6)
        for example in handshakes {
            let name = example.name ?? ""
            let left = try #require(example.initiator?.side)
            let right = try #require(example.responder?.side)
            let outcome = play(
                try handshake(.initiator, left, expecting: PeerID(right.peerId)),
                try handshake(.responder, right))
            let framed = outcome.messages.map { [UInt8($0.count >> 8), UInt8($0.count & 255)] + $0 }
            #expect(framed.map { Hex.encode($0) } == example.wire, "\(name)")

            let initiator = try #require(outcome.initiator, "\(name)")
            let responder = try #require(outcome.responder, "\(name)")
            #expect(initiator.session.remotePeer.description == right.peerId, "\(name)")
            #expect(responder.session.remotePeer.description == left.peerId, "\(name)")
            #expect(initiator.session.muxer?.rawValue ?? "" == example.selectedMuxer, "\(name)")
            #expect(responder.session.muxer == initiator.session.muxer, "\(name)")
            #expect(Hex.encode(initiator.session.channelBinding) == example.handshakeHash, "\(name)")
            #expect(responder.session.channelBinding == initiator.session.channelBinding, "\(name)")
            let forward = SecretBytes(copying: try bytes(example.keyInitiatorToResponder))
            let back = SecretBytes(copying: try bytes(example.keyResponderToInitiator))
            #expect(
                initiator.keys.sending.hasKey(forward) && initiator.keys.receiving.hasKey(back), "\(name)")
            #expect(
                responder.keys.sending.hasKey(back) && responder.keys.receiving.hasKey(forward), "\(name)")

            var ends = [NoiseFraming(keys: initiator.keys), NoiseFraming(keys: responder.keys)]
            for transport in try #require(example.transport) {
                let from = transport.direction == "initiator to responder" ? 0 : 1
                let plaintext = ByteBuffer(bytes: try bytes(transport.plaintext))
                var wire = ByteBuffer()
                try ends[from].seal(plaintext, into: &wire)
                #expect(Hex.encode(wire.readableBytesView) == transport.wire, "\(name)")
                var opened = ByteBuffer()
                try ends[1 - from].open(&wire, into: &opened)
                #expect(opened == plaintext && wire.readableBytes == 0, "\(name)")
            }
        }
    }

    @Test("one long write is cut into the frames that go-libp2p cuts")
    func longWrite() throws {
        let example = try #require(cases.first { $0.kind == "long_write" })
        let repeated = try #require(example.plaintextRepeat)
        let key = SecretBytes(copying: try bytes(example.key))
        let start = try #require(example.nonceStart)
        let keys = NoiseXX.Keys(
            sending: NoiseCipher(key: key, nonce: start), receiving: NoiseCipher(key: key, nonce: start),
            handshakeHash: [])
        var framing = NoiseFraming(keys: keys)
        let plaintext = ByteBuffer(string: String(repeating: repeated.unit, count: repeated.count))
        var wire = ByteBuffer()
        try framing.seal(plaintext, into: &wire)
        #expect(wire.readableBytes == example.wireLength)
        #expect(NoiseFraming.sealedLength(of: plaintext.readableBytes) == example.wireLength)
        #expect(Hex.encode(Crypto.sha256(wire.readableBytesView)) == example.wireSha256)
        var rest = wire
        var lengths: [Int] = []
        while let length = rest.readInteger(as: UInt16.self) {
            lengths.append(Int(length))
            rest.moveReaderIndex(forwardBy: Int(length))
        }
        #expect(lengths == example.frameLengths)
        var opened = ByteBuffer()
        try framing.open(&wire, into: &opened)
        #expect(opened == plaintext)
    }

    @Test("a payload proves an identity, or does not, as go-libp2p judges it")
    func payloads() throws {
        let payloads = cases.filter { $0.kind == "payload" }
        #expect(payloads.count == 20)
        for example in payloads {
            let name = example.name ?? ""
            func judge() throws -> (PublicKey, NoisePayload) {
                let payload = try NoisePayload(bytes: bytes(example.payload))
                let expected = try example.expectedPeerId.map { try PeerID($0) }
                return (
                    try payload.verify(staticKey: bytes(example.staticPublic), expecting: expected), payload
                )
            }
            guard example.accepted == true else {
                #expect(throws: NoiseError.self, "\(name)") { try judge() }
                continue
            }
            let (key, payload) = try judge()
            #expect(PeerID(key).description == example.peerId, "\(name)")
            if let selected = example.selectedMuxer {
                let muxer = SecureSession.selectMuxer(initiator: ["/yamux/1.0.0"], responder: payload.muxers)
                #expect(muxer?.rawValue ?? "" == selected, "\(name)")
            }
        }
    }

    @Test("a message that changed on its way is refused where go-libp2p refuses it")
    func wireErrors() throws {
        let first = try #require(cases.first { $0.kind == "handshake" })
        let left = try #require(first.initiator?.side)
        let right = try #require(first.responder?.side)
        for example in cases where example.kind == "wire_error" {
            let name = example.name ?? ""
            let message = try bytes(example.bytes)
            var initiator = NoiseXX(
                role: .initiator, staticKey: try keyPair(left.staticPrivate),
                ephemeralKey: try keyPair(left.ephemeralPrivate))
            var responder = NoiseXX(
                role: .responder, staticKey: try keyPair(right.staticPrivate),
                ephemeralKey: try keyPair(right.ephemeralPrivate))
            func read() throws {
                switch example.message {
                case 1: _ = try responder.readMessage(message)
                case 2:
                    _ = try initiator.writeMessage(payload: [])
                    _ = try initiator.readMessage(message)
                default:
                    _ = try responder.readMessage(initiator.writeMessage(payload: []))
                    // The case's messages carry the text "payload".
                    _ = try initiator.readMessage(responder.writeMessage(payload: Array("payload".utf8)))
                    _ = try responder.readMessage(message)
                }
            }
            if example.fails == true {
                #expect(throws: NoiseError.self, "\(name)") { try read() }
            } else {
                #expect(throws: Never.self, "\(name)") { try read() }
            }
        }
    }

    @Test("both sides choose the muxer that go-libp2p chooses")
    func muxers() throws {
        let muxers = cases.filter { $0.kind == "muxer" }
        #expect(muxers.count == 6)
        for example in muxers {
            let left = try #require(example.initiator?.muxers).map(ProtocolID.init(rawValue:))
            let right = try #require(example.responder?.muxers).map(ProtocolID.init(rawValue:))
            #expect(
                SecureSession.selectMuxer(initiator: left, responder: right)?.rawValue ?? ""
                    == example.selected)
        }
    }

    @Test("whoever dialled one peer and reaches another stops before its own identity is told")
    func unexpectedPeer() throws {
        let (alice, bob, carol) = (Identity.generate(), Identity.generate(), Identity.generate())
        func side(_ role: NoiseXX.Role, _ identity: Identity, _ peer: PeerID?) -> NoiseHandshake {
            NoiseHandshake(
                role: role, identity: identity, expectedPeer: peer, muxers: [], staticKey: .generate(),
                ephemeralKey: .generate())
        }
        let outcome = play(side(.initiator, alice, carol.peerID), side(.responder, bob, nil))
        #expect(outcome.error == .unexpectedPeer(expected: carol.peerID, found: bob.peerID))
        #expect(outcome.messages.count == 2)
        #expect(outcome.initiator == nil && outcome.responder == nil)
        let good = play(side(.initiator, alice, bob.peerID), side(.responder, bob, nil))
        #expect(good.initiator != nil && good.responder != nil && good.error == nil)
    }

    @Test("a key of small order ends the handshake")
    func weakKey() throws {
        var responder = NoiseHandshake(
            role: .responder, identity: .generate(), expectedPeer: nil, muxers: [], staticKey: .generate(),
            ephemeralKey: .generate())
        guard case .failed(.weakKey)? = responder.receive(.message([UInt8](repeating: 0, count: 32))).first
        else {
            Issue.record("an ephemeral key of zeros was taken")
            return
        }
        #expect(responder.receive(.endOfInput).isEmpty)
    }

    @Test("an exhausted nonce ends a direction instead of being used twice")
    func nonces() throws {
        let key = SecretBytes.random(count: 32)
        var cipher = NoiseCipher(key: key, nonce: .max - 1)
        let last = try cipher.seal([1], associatedData: [])
        #expect(throws: NoiseError.nonceExhausted) { try cipher.seal([1], associatedData: []) }
        var receiving = NoiseCipher(key: key, nonce: .max - 1)
        #expect(try receiving.open(last, associatedData: []) == [1])
        #expect(throws: NoiseError.nonceExhausted) { try receiving.open(last, associatedData: []) }
    }

    @Test("both libraries seal to the same bytes and open each other's, in the same memory too")
    func libraries() throws {
        let key = SecretBytes.random(count: 32)
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 255, 1000, 65519] {
            let plaintext = Crypto.randomBytes(length)
            let data = Crypto.randomBytes(length % 40)
            var fast = NoiseCipher(key: key, nonce: UInt64(length) << 30)
            var sodium = NoiseCipher(key: key, nonce: UInt64(length) << 30, implementation: .libsodium)
            let sealed = try fast.seal(plaintext, associatedData: data)
            #expect(try sodium.seal(plaintext, associatedData: data) == sealed)
            #expect(try fast.seal(plaintext, associatedData: data) != sealed)
            fast = NoiseCipher(key: key, nonce: UInt64(length) << 30)
            sodium = NoiseCipher(key: key, nonce: UInt64(length) << 30, implementation: .libsodium)
            #expect(try sodium.open(sealed, associatedData: data) == plaintext)
            #expect(throws: NoiseError.authenticationFailed) {
                try fast.open(sealed, associatedData: data + [1])
            }
            #expect(try fast.open(sealed, associatedData: data) == plaintext)
            for implementation in [NoiseCipher.Implementation.fastest, .libsodium] {
                var cipher = NoiseCipher(
                    key: key, nonce: UInt64(length) << 30, implementation: implementation)
                var memory = plaintext + [UInt8](repeating: 0, count: 16)
                try memory.withUnsafeMutableBytes { memory in
                    try cipher.seal(
                        UnsafeRawBufferPointer(rebasing: memory[..<length]), into: memory,
                        associatedData: data)
                }
                #expect(memory == sealed)
                cipher = NoiseCipher(key: key, nonce: UInt64(length) << 30, implementation: implementation)
                try memory.withUnsafeMutableBytes { memory in
                    try cipher.open(UnsafeRawBufferPointer(memory), into: memory, associatedData: data)
                }
                #expect(Array(memory.prefix(length)) == plaintext)
            }
        }
    }

    @Test("an altered, repeated, swapped or too short frame is refused; an empty one is legal")
    func frames() throws {
        func end() -> NoiseFraming {
            let key = SecretBytes(copying: [UInt8](repeating: 9, count: 32))
            return NoiseFraming(
                keys: NoiseXX.Keys(
                    sending: NoiseCipher(key: key), receiving: NoiseCipher(key: key), handshakeHash: []))
        }
        func open(_ wire: [UInt8]) throws -> [UInt8] {
            var (framing, input, output) = (end(), ByteBuffer(bytes: wire), ByteBuffer())
            try framing.open(&input, into: &output)
            return Array(output.readableBytesView)
        }
        var sender = end()
        var wire = ByteBuffer()
        try sender.seal(ByteBuffer(string: "one"), into: &wire)
        let first = Array(wire.readableBytesView)
        try sender.seal(ByteBuffer(string: "two"), into: &wire)
        let both = Array(wire.readableBytesView)
        let second = Array(both.dropFirst(first.count))

        #expect(try open(both) == Array("onetwo".utf8))
        #expect(throws: NoiseError.authenticationFailed) { try open(second) }
        #expect(throws: NoiseError.authenticationFailed) { try open(first + first) }
        for index in 2..<first.count {
            var altered = first
            altered[index] ^= 0x80
            #expect(throws: NoiseError.authenticationFailed) { try open(altered) }
        }
        #expect(throws: NoiseError.messageTooShort) { try open([0, 15] + [UInt8](repeating: 0, count: 15)) }
        #expect(throws: NoiseError.messageTooShort) { try open([0, 0]) }

        var cipher = NoiseCipher(key: SecretBytes(copying: [UInt8](repeating: 9, count: 32)))
        let empty = try cipher.seal([], associatedData: [])
        #expect(try open([0, 16] + empty) == [])
        var nothing = ByteBuffer()
        try sender.seal(ByteBuffer(), into: &nothing)
        #expect(nothing.readableBytes == 0)
    }

    @Test("random and damaged messages never break a handshake, a payload or a channel")
    func fuzz() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let example = try #require(cases.first { $0.kind == "handshake" })
        let left = try #require(example.initiator?.side)
        let right = try #require(example.responder?.side)
        let wire = try #require(example.wire).map { try bytes($0) }
        for _ in 0..<300 {
            var messages = wire.map { Array($0.dropFirst(2)) }
            let which = Int.random(in: 0..<3, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: messages[which].removeLast(.random(in: 1...messages[which].count, using: &random))
            case 1:
                messages[which][.random(in: messages[which].indices, using: &random)] ^=
                    1 << UInt8.random(in: 0..<8, using: &random)
            default:
                messages[which] = (0..<Int.random(in: 0..<300, using: &random)).map { _ in
                    .random(in: 0...255, using: &random)
                }
            }
            var initiator = try handshake(.initiator, left)
            var responder = try handshake(.responder, right)
            var completed = 0
            let effects =
                initiator.receive(.start) + responder.receive(.message(messages[0]))
                + initiator.receive(.message(messages[1])) + responder.receive(.message(messages[2]))
            for effect in effects {
                if case .completed = effect { completed += 1 }
            }
            // A changed message 1 reaches the responder alone, 2 the initiator, 3 the responder.
            #expect(completed < 2, "seed \(seed)")

            let payload = (0..<Int.random(in: 0..<200, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            _ = try? NoisePayload(bytes: payload).verify(staticKey: payload, expecting: nil)
            let key = SecretBytes(copying: [UInt8](repeating: 9, count: 32))
            var framing = NoiseFraming(
                keys: NoiseXX.Keys(
                    sending: NoiseCipher(key: key), receiving: NoiseCipher(key: key), handshakeHash: []))
            var input = ByteBuffer(bytes: payload)
            var output = ByteBuffer()
            try? framing.open(&input, into: &output)
            #expect(output.readableBytes == 0, "seed \(seed)")
        }
    }
}
