import LibP2P
import NIOCore
import NIOEmbedded
import TestSupport
import Testing
import Timing

@Suite("TLS on a channel")
struct TLSHandlerTests {
    private final class Application: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var received: [UInt8] = []
        var errors: [any Error] = []
        var isInputClosed = false

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Array(unwrapInboundIn(data).readableBytesView)
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed? = event as? ChannelEvent { isInputClosed = true }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            errors.append(error)
        }
    }

    /// Counts what is written to the channel, flushed or not.
    private final class WriteMeter: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        var bytes = 0

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            bytes += unwrapOutboundIn(data).readableBytes
            context.write(data, promise: promise)
        }
    }

    /// One end of a connection whose wire the test carries.
    private final class End {
        let channel = EmbeddedChannel()
        let application = Application()
        var session: SecureSession?

        init(
            _ direction: ConnectionDirection, _ identity: Identity, expecting peer: PeerID? = nil,
            proves: Bool = true, recordsPerKey: Int = TLSSession.recordsPerKey
        ) throws {
            let credential = proves ? try TLSCredential(identity: identity) : nil
            let tls = try TLSSession(
                TLSContext(
                    credential: credential, clock: StillClock(time: UnixTime(seconds: 1_795_376_503))),
                isClient: direction == .outbound, expectedPeer: peer, muxers: ["/yamux/1.0.0"],
                recordsPerKey: recordsPerKey)
            let handler = HandshakeHandler(TLSChannelHandshake(tls), timeout: .seconds(15)) {
                [self] session, channel in
                self.session = session
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(self.application)
                }
            }
            try channel.pipeline.syncOperations.addHandler(handler)
            channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        }

        /// What this end has sent since last asked.
        func sent() throws -> [UInt8] {
            var bytes: [UInt8] = []
            while let write = try channel.readOutbound(as: ByteBuffer.self) {
                bytes += Array(write.readableBytesView)
            }
            return bytes
        }
    }

    /// Carries bytes both ways, in pieces of `size`, until there are none.
    private func exchange(_ left: End, _ right: End, by size: Int = 70000) throws {
        while true {
            let forward = try left.sent()
            let back = try right.sent()
            if forward.isEmpty, back.isEmpty { return }
            for (bytes, end) in [(forward, right), (back, left)] {
                for start in stride(from: 0, to: bytes.count, by: size) {
                    try end.channel.writeInbound(
                        ByteBuffer(bytes: bytes[start..<min(start + size, bytes.count)]))
                }
            }
        }
    }

    @Test(
        "two ends shake hands and carry bytes both ways, however the wire cuts them",
        arguments: [1, 100, 70000])
    func connection(pieces: Int) throws {
        let (alice, bob) = (Identity.generate(), Identity.generate())
        let dialer = try End(.outbound, alice, expecting: bob.peerID)
        let listener = try End(.inbound, bob)
        try exchange(dialer, listener, by: pieces)
        #expect(dialer.session?.remotePeer == bob.peerID)
        #expect(listener.session?.remotePeer == alice.peerID)
        #expect(dialer.session?.channelBinding == listener.session?.channelBinding)
        #expect(dialer.session?.channelBinding.count == 32)
        #expect(dialer.session?.channelBinding != [UInt8](repeating: 0, count: 32))
        #expect(dialer.session?.muxer == "/yamux/1.0.0")
        #expect((try? dialer.channel.pipeline.syncOperations.handler(type: HandshakeHandler.self)) == nil)

        for count in [1, 16383, 16384, 16385, 150_000] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
            dialer.application.received = []
            listener.application.received = []
            dialer.channel.write(ByteBuffer(string: "to "), promise: nil)
            dialer.channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
            listener.channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
            try exchange(dialer, listener, by: pieces)
            #expect(listener.application.received == Array("to ".utf8) + bytes)
            #expect(dialer.application.received == bytes)
        }
        _ = try? dialer.channel.finish()
        _ = try? listener.channel.finish()
    }

    @Test("two connections of the same peers have different bindings")
    func bindings() throws {
        let (alice, bob) = (Identity.generate(), Identity.generate())
        let bindings = try (0..<2).map { _ in
            let (dialer, listener) = (try End(.outbound, alice), try End(.inbound, bob))
            try exchange(dialer, listener)
            return try #require(dialer.session?.channelBinding)
        }
        #expect(bindings[0] != bindings[1])
    }

    @Test("bytes that come with the last handshake message are delivered after the setup")
    func earlyBytes() throws {
        let dialer = try End(.outbound, .generate())
        let listener = try End(.inbound, .generate())
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        try dialer.channel.writeInbound(ByteBuffer(bytes: listener.sent()))
        dialer.channel.writeAndFlush(ByteBuffer(string: "early"), promise: nil)
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        #expect(listener.application.received == Array("early".utf8))
    }

    @Test("writes of one flush share records and one write, and their promises are kept")
    func coalescing() throws {
        let dialer = try End(.outbound, .generate())
        let listener = try End(.inbound, .generate())
        try exchange(dialer, listener)
        let promises = (0..<3).map { _ in dialer.channel.eventLoop.makePromise(of: Void.self) }
        dialer.channel.write(ByteBuffer(string: "a"), promise: promises[0])
        dialer.channel.write(ByteBuffer(repeating: 7, count: 40000), promise: promises[1])
        #expect(try dialer.channel.readOutbound(as: ByteBuffer.self) == nil)
        dialer.channel.flush()
        let wire = try #require(try dialer.channel.readOutbound(as: ByteBuffer.self))
        // Two full records and the rest.
        #expect(wire.readableBytes == 40001 + 3 * TLSSession.recordOverhead)
        #expect(wire.getInteger(at: wire.readerIndex + 3, as: UInt16.self) == UInt16(16384 + 17))
        #expect(try dialer.channel.readOutbound(as: ByteBuffer.self) == nil)
        dialer.channel.writeAndFlush(ByteBuffer(), promise: promises[2])
        for promise in promises { try promise.futureResult.wait() }
    }

    @Test("much that is written without a flush is passed on, so that the watermark sees it")
    func backPressure() throws {
        let dialer = try End(.outbound, .generate())
        let listener = try End(.inbound, .generate())
        try exchange(dialer, listener)
        let meter = WriteMeter()
        try dialer.channel.pipeline.syncOperations.addHandler(meter, position: .first)
        let promise = dialer.channel.eventLoop.makePromise(of: Void.self)
        dialer.channel.write(ByteBuffer(repeating: 1, count: 200_000), promise: promise)
        #expect(meter.bytes > 150_000)
        dialer.channel.flush()
        try promise.futureResult.wait()
        try exchange(dialer, listener)
        #expect(listener.application.received == [UInt8](repeating: 1, count: 200_000))
    }

    @Test("a new key seals after so many records, and the other end follows")
    func keyUpdate() throws {
        let dialer = try End(.outbound, .generate(), recordsPerKey: 3)
        let listener = try End(.inbound, .generate(), recordsPerKey: 2)
        try exchange(dialer, listener)
        var sizes: Set<Int> = []
        for _ in 0..<20 {
            dialer.channel.writeAndFlush(ByteBuffer(repeating: 2, count: 100), promise: nil)
            let wire = try dialer.sent()
            sizes.insert(wire.count)
            try listener.channel.writeInbound(ByteBuffer(bytes: wire))
            listener.channel.writeAndFlush(ByteBuffer(repeating: 3, count: 50), promise: nil)
            try exchange(dialer, listener)
        }
        #expect(listener.application.received.count == 2000)
        #expect(dialer.application.received.count == 1000)
        #expect(sizes == [122, 122 + 5 + TLSSession.recordOverhead])
    }

    @Test("a goodbye is the end of input, an end without one an error")
    func goodbyes() throws {
        let dialer = try End(.outbound, .generate())
        let listener = try End(.inbound, .generate())
        try exchange(dialer, listener)
        dialer.channel.write(ByteBuffer(string: "last"), promise: nil)
        dialer.channel.close(mode: .all, promise: nil)
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        #expect(listener.application.received == Array("last".utf8))
        #expect(listener.application.isInputClosed)
        #expect(listener.application.errors.isEmpty)
        // The half that is left still sends.
        listener.channel.writeAndFlush(ByteBuffer(string: "answer"), promise: nil)
        #expect(try listener.sent().count == 6 + TLSSession.recordOverhead)

        let other = try End(.outbound, .generate())
        let cut = try End(.inbound, .generate())
        try exchange(other, cut)
        cut.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(cut.application.errors.first as? TLSError == .truncated)
        #expect(!cut.channel.isActive)
    }

    @Test("a handshake that does not complete in time closes the connection")
    func deadline() throws {
        let end = try End(.inbound, .generate())
        end.channel.embeddedEventLoop.advanceTime(by: .seconds(14))
        #expect(end.channel.isActive)
        end.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!end.channel.isActive)
        #expect(throws: TLSError.timedOut) { try end.channel.throwIfErrorCaught() }
    }

    @Test("a dialer without a certificate is refused, and learns it by an alert after its own handshake")
    func noCertificate() throws {
        let dialer = try End(.outbound, .generate(), proves: false)
        let listener = try End(.inbound, .generate())
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        try dialer.channel.writeInbound(ByteBuffer(bytes: listener.sent()))
        #expect(throws: TLSError.self) {
            try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        }
        #expect(listener.session == nil)
        #expect(!listener.channel.isActive)
        try dialer.channel.writeInbound(ByteBuffer(bytes: listener.sent()))
        #expect(dialer.application.errors.first as? TLSError == .alert(116))
        #expect(!dialer.channel.isActive)
    }

    @Test("another peer than the one expected is refused, which the listener learns by an alert")
    func wrongPeer() throws {
        let (expected, found) = (Identity.generate(), Identity.generate())
        let dialer = try End(.outbound, .generate(), expecting: expected.peerID)
        let listener = try End(.inbound, found)
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        #expect(throws: TLSError.unexpectedPeer(expected: expected.peerID, found: found.peerID)) {
            try dialer.channel.writeInbound(ByteBuffer(bytes: listener.sent()))
        }
        #expect(dialer.session == nil)
        #expect(throws: TLSError.alert(42)) {
            try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        }
        #expect(listener.session == nil)
    }

    @Test("nonsense and endless handshakes close the connection")
    func nonsense() throws {
        let wrong = try End(.inbound, .generate())
        #expect(throws: TLSError.self) {
            try wrong.channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"))
        }
        #expect(!wrong.channel.isActive)
        // Records of a ClientHello that claims to be 2^24 - 1 bytes long.
        let endless = try End(.inbound, .generate())
        let record: [UInt8] = [22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff] + [UInt8](repeating: 0, count: 16380)
        #expect(throws: TLSError.self) {
            for _ in 0..<8 { try endless.channel.writeInbound(ByteBuffer(bytes: record)) }
        }
        #expect(!endless.channel.isActive)
        let ended = try End(.outbound, .generate())
        ended.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(throws: TLSError.endOfStream) { try ended.channel.throwIfErrorCaught() }
    }

    @Test("a damaged record closes the connection after what was authentic is delivered")
    func damage() throws {
        let dialer = try End(.outbound, .generate())
        let listener = try End(.inbound, .generate())
        try exchange(dialer, listener)
        dialer.channel.writeAndFlush(ByteBuffer(string: "good"), promise: nil)
        dialer.channel.writeAndFlush(ByteBuffer(string: "bad"), promise: nil)
        var wire = try dialer.sent()
        wire[wire.count - 1] ^= 1
        try listener.channel.writeInbound(ByteBuffer(bytes: wire))
        #expect(listener.application.received == Array("good".utf8))
        #expect(listener.application.errors.first is TLSError)
        #expect(!listener.channel.isActive)
        // bad_record_mac
        #expect(throws: Never.self) { try dialer.channel.writeInbound(ByteBuffer(bytes: listener.sent())) }
        #expect(dialer.application.errors.first as? TLSError == .alert(20))
    }

    /// Where the records of `wire` have their version, which nobody looks at (RFC 8446 section 5.1).
    private static func recordVersions(in wire: [UInt8]) -> Set<Int> {
        var positions: Set<Int> = []
        var start = 0
        while start + 5 <= wire.count {
            positions.formUnion([start + 1, start + 2])
            start += 5 + Int(wire[start + 3]) << 8 + Int(wire[start + 4])
        }
        return positions
    }

    @Test("whatever a stranger sends, and however an honest handshake is damaged, nothing traps")
    func fuzz() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        for round in 0..<200 {
            let dialer = try End(.outbound, .generate())
            let listener = try End(.inbound, .generate())
            var wire = try dialer.sent()
            if round.isMultiple(of: 2) {
                try listener.channel.writeInbound(ByteBuffer(bytes: wire))
                wire = try listener.sent()
            }
            let victim = round.isMultiple(of: 2) ? dialer : listener
            let before = wire
            let ignored = Self.recordVersions(in: wire)
            while wire == before {
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let position = Int.random(in: wire.indices, using: &random)
                    if ignored.contains(position) { continue }
                    wire[position] ^= UInt8.random(in: 1...255, using: &random)
                }
            }
            _ = try? victim.channel.writeInbound(ByteBuffer(bytes: wire))
            #expect(!round.isMultiple(of: 2) || victim.session == nil, "seed \(seed), round \(round)")
            _ = try? dialer.channel.finish()
            _ = try? listener.channel.finish()
        }
    }
}
