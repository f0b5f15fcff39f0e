import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing

@testable import LibP2P

/// A host whose streams open when the test says so.
private final class HeldHost: Host {
    struct Opening {
        let channel: EmbeddedChannel
        let promise: EventLoopPromise<any Channel>
    }

    let loop = EmbeddedEventLoop()
    let openings = NIOLockedValueBox<[Opening]>([])
    var eventLoop: any EventLoop { loop }
    let localPeer = Identity.generate().peerID

    func openStream(
        to peer: PeerID, protocols: [ProtocolID], initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel> {
        let channel = EmbeddedChannel(loop: loop)
        let promise = loop.makePromise(of: (any Channel).self)
        let stream = NegotiatedStream(
            channel: channel, protocolID: protocols[0], peer: peer, connection: ConnectionID(rawValue: 1))
        initialize(stream).whenFailure { promise.fail($0) }
        openings.withLockedValue { $0.append(Opening(channel: channel, promise: promise)) }
        return promise.futureResult
    }

    /// Lets the stream open that was asked for last.
    func open() throws -> EmbeddedChannel {
        let opening = try #require(openings.withLockedValue { $0.last })
        try opening.channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        opening.promise.succeed(opening.channel)
        loop.run()
        return opening.channel
    }

    func setHandler(for protocolID: ProtocolID, _ handler: @escaping StreamHandler) {}
    func removeHandler(for protocolID: ProtocolID) {}
    func dial(_ peer: PeerID, addresses: [Multiaddr]) -> EventLoopFuture<Void> {
        loop.makeSucceededVoidFuture()
    }
    func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr]) {}
    func disconnect(_ peer: PeerID, reason: DisconnectReason) {}
    func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void) {}
}

@Suite("Streams that stay")
struct PeerStreamsTests {
    private let host = HeldHost()
    private let peer = Identity.generate().peerID

    private func streams(_ backlog: PeerStreams.Backlog) -> PeerStreams {
        PeerStreams(
            host: host, protocolID: "/test/1", framing: .fixed(1), backlog: backlog, accepts: { _ in true },
            received: { _, _ in })
    }

    private func written(_ channel: EmbeddedChannel) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { bytes += buffer.readableBytesView }
        return bytes
    }

    @Test("of what is said before the stream is open the latest is kept, or the first bytes")
    func backlog() throws {
        for (backlog, kept) in [(.latest(3), [8, 9, 10]), (.bytes(4), [1, 2, 3, 4])]
            as [(PeerStreams.Backlog, [UInt8])]
        {
            let streams = streams(backlog)
            for byte in 1...10 as ClosedRange<UInt8> { streams.send([byte], to: peer) }
            #expect(streams.dropped == 10 - kept.count)
            let channel = try host.open()
            #expect(try written(channel) == kept)
            streams.send([11], to: peer)
            #expect(try written(channel) == [11])
            streams.forget(peer)
            #expect(!channel.isActive && streams.peers.isEmpty)
        }
    }

    @Test("a stream that could not be opened, or that ended, is opened anew with the next message")
    func again() throws {
        let streams = streams(.bytes(100))
        streams.send([1], to: peer)
        host.openings.withLockedValue { $0.last }?.promise.fail(ChannelError.connectTimeout(.seconds(1)))
        host.loop.run()
        #expect(streams.peers.isEmpty)
        streams.send([2], to: peer)
        let first = try host.open()
        #expect(try written(first) == [2])
        first.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        host.loop.run()
        #expect(!first.isActive && streams.peers.isEmpty)
        streams.send([3], to: peer)
        #expect(try written(host.open()) == [3])
        #expect(host.openings.withLockedValue { $0.count } == 3)
        streams.stop()
    }

    @Test("nothing comes back on a stream that this node opened: whoever says something on it is not heard")
    func nothingComesBack() throws {
        let streams = streams(.latest(1))
        streams.send([1], to: peer)
        let channel = try host.open()
        try channel.writeInbound(ByteBuffer(bytes: [0]))
        host.loop.run()
        #expect(!channel.isActive && streams.peers.isEmpty)
    }
}
