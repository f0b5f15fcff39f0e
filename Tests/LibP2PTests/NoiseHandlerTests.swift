import LibP2P
import NIOCore
import NIOEmbedded
import TestSupport
import Testing
import Timing

@Suite("Noise on a channel")
struct NoiseHandlerTests {
    private final class Application: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var received: [UInt8] = []
        var errors: [any Error] = []

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Array(unwrapInboundIn(data).readableBytesView)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            errors.append(error)
        }
    }

    /// One end of a connection whose wire the test carries.
    private final class End {
        let channel = EmbeddedChannel()
        let application = Application()
        var session: SecureSession?

        init(_ role: NoiseXX.Role, _ identity: Identity, expecting peer: PeerID? = nil) throws {
            let handshake = NoiseChannelHandshake(
                role: role, identity: identity, expectedPeer: peer, muxers: ["/yamux/1.0.0"])
            let handler = HandshakeHandler(handshake, timeout: .seconds(15)) { [self] session, channel in
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
    private func exchange(_ left: End, _ right: End, by size: Int) throws {
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
        let dialer = try End(.initiator, alice, expecting: bob.peerID)
        let listener = try End(.responder, bob)
        try exchange(dialer, listener, by: pieces)
        #expect(dialer.session?.remotePeer == bob.peerID)
        #expect(listener.session?.remotePeer == alice.peerID)
        #expect(dialer.session?.channelBinding == listener.session?.channelBinding)
        #expect(dialer.session?.muxer == "/yamux/1.0.0")
        #expect(
            (try? dialer.channel.pipeline.syncOperations.handler(type: HandshakeHandler.self)) == nil)

        let long = [UInt8](repeating: 0x5a, count: pieces == 1 ? 3000 : 150_000)
        dialer.channel.write(ByteBuffer(string: "to "), promise: nil)
        dialer.channel.writeAndFlush(ByteBuffer(string: "bob"), promise: nil)
        listener.channel.writeAndFlush(ByteBuffer(bytes: long), promise: nil)
        try exchange(dialer, listener, by: pieces)
        #expect(listener.application.received == Array("to bob".utf8))
        #expect(dialer.application.received == long)
        _ = try? dialer.channel.finish()
        _ = try? listener.channel.finish()
    }

    @Test("bytes that come with the last handshake message are delivered after the setup")
    func earlyBytes() throws {
        let (alice, bob) = (Identity.generate(), Identity.generate())
        let dialer = try End(.initiator, alice)
        let listener = try End(.responder, bob)
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        try dialer.channel.writeInbound(ByteBuffer(bytes: listener.sent()))
        dialer.channel.writeAndFlush(ByteBuffer(string: "early"), promise: nil)
        try listener.channel.writeInbound(ByteBuffer(bytes: dialer.sent()))
        #expect(listener.application.received == Array("early".utf8))
        _ = try? dialer.channel.finish()
        _ = try? listener.channel.finish()
    }

    @Test("writes of one flush leave in one write, and their promises are kept")
    func coalescing() throws {
        let dialer = try End(.initiator, .generate())
        let listener = try End(.responder, .generate())
        try exchange(dialer, listener, by: 70000)
        let first = dialer.channel.eventLoop.makePromise(of: Void.self)
        let second = dialer.channel.eventLoop.makePromise(of: Void.self)
        dialer.channel.write(ByteBuffer(string: "a"), promise: first)
        dialer.channel.write(ByteBuffer(string: "b"), promise: second)
        dialer.channel.flush()
        #expect(try dialer.channel.readOutbound(as: ByteBuffer.self)?.readableBytes == 38)
        #expect(try dialer.channel.readOutbound(as: ByteBuffer.self) == nil)
        try first.futureResult.wait()
        try second.futureResult.wait()
        _ = try? dialer.channel.finish()
        _ = try? listener.channel.finish()
    }

    @Test("a handshake that does not complete in time closes the connection")
    func deadline() throws {
        let end = try End(.responder, .generate())
        end.channel.embeddedEventLoop.advanceTime(by: .seconds(14))
        #expect(end.channel.isActive)
        end.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!end.channel.isActive)
        #expect(throws: NoiseError.timedOut) { try end.channel.throwIfErrorCaught() }
    }

    @Test("a message that is too long, or nonsense, closes the connection")
    func nonsense() throws {
        let long = try End(.responder, .generate())
        #expect(throws: NoiseError.messageTooLong) {
            try long.channel.writeInbound(ByteBuffer(bytes: [0xff, 0xff, 1]))
        }
        #expect(!long.channel.isActive)
        let wrong = try End(.initiator, .generate())
        #expect(throws: NoiseError.authenticationFailed) {
            try wrong.channel.writeInbound(ByteBuffer(bytes: [0, 120] + [UInt8](repeating: 9, count: 120)))
        }
        #expect(!wrong.channel.isActive)
        #expect(wrong.session == nil)
    }

    @Test("a damaged frame closes the connection after what was authentic is delivered")
    func damage() throws {
        let dialer = try End(.initiator, .generate())
        let listener = try End(.responder, .generate())
        try exchange(dialer, listener, by: 70000)
        dialer.channel.write(ByteBuffer(string: "good"), promise: nil)
        dialer.channel.writeAndFlush(ByteBuffer(string: "bad"), promise: nil)
        var wire = try dialer.sent()
        wire[wire.count - 1] ^= 1
        try listener.channel.writeInbound(ByteBuffer(bytes: wire))
        #expect(listener.application.received == Array("good".utf8))
        #expect(listener.application.errors.first as? NoiseError == .authenticationFailed)
        #expect(!listener.channel.isActive)
        _ = try? dialer.channel.finish()
    }
}
