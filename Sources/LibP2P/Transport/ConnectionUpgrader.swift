internal import NIOCore
internal import Timing

/// Turns a raw byte pipe into a secured, muxed connection (contract/wire.md D.1): multistream-select
/// for the security protocol, its handshake, the muxer settled by it or by multistream-select inside,
/// yamux.
struct ConnectionUpgrader: Sendable {
    /// The only muxer there is.
    static let yamux: ProtocolID = "/yamux/1.0.0"

    /// The security protocols in order of preference: a dialer proposes them in this order, a
    /// listener takes whichever is proposed.
    let security: [any SecurityProtocol]
    let yamuxConfiguration: YamuxConfiguration
    let clock: any TimeSource

    /// What an upgraded connection is made of.
    struct Result: Sendable {
        let session: SecureSession
        let muxer: YamuxMuxer
    }

    /// Makes, once the peer is known, the function that sets up the streams that it opens.
    typealias Streams = @Sendable (SecureSession) -> @Sendable (any Channel) -> EventLoopFuture<Void>

    /// Upgrades `channel` within `timeout`. On the channel's loop; the channel is closed on failure.
    /// `onEvent` takes the muxer's news.
    func upgrade(
        _ channel: any Channel, direction: ConnectionDirection, expectedPeer: PeerID?, timeout: TimeAmount,
        memory: ConnectionMemory? = nil, streams: @escaping Streams,
        onEvent: @escaping @Sendable (YamuxHandler.Event) -> Void
    ) -> EventLoopFuture<Result> {
        let attempt = UpgradeAttempt(
            upgrader: self, channel: channel, direction: direction, timeout: timeout, memory: memory,
            streams: streams, onEvent: onEvent)
        return attempt.run(expectedPeer: expectedPeer)
    }
}

/// One upgrade under way; on the channel's loop.
private final class UpgradeAttempt {
    private let upgrader: ConnectionUpgrader
    private let channel: any Channel
    private let direction: ConnectionDirection
    private let timeout: TimeAmount
    private let memory: ConnectionMemory?
    private let streams: ConnectionUpgrader.Streams
    private let onEvent: @Sendable (YamuxHandler.Event) -> Void
    private let done: EventLoopPromise<ConnectionUpgrader.Result>

    init(
        upgrader: ConnectionUpgrader, channel: any Channel, direction: ConnectionDirection,
        timeout: TimeAmount, memory: ConnectionMemory?,
        streams: @escaping ConnectionUpgrader.Streams,
        onEvent: @escaping @Sendable (YamuxHandler.Event) -> Void
    ) {
        self.upgrader = upgrader
        self.channel = channel
        self.direction = direction
        self.timeout = timeout
        self.memory = memory
        self.streams = streams
        self.onEvent = onEvent
        self.done = channel.eventLoop.makePromise()
    }

    func run(expectedPeer: PeerID?) -> EventLoopFuture<ConnectionUpgrader.Result> {
        let (done, channel) = (done, channel)
        let deadline = channel.eventLoop.scheduleTask(in: timeout) {
            done.fail(SwarmError.timedOut("connection upgrade"))
        }
        channel.closeFuture.whenComplete { _ in done.fail(SwarmError.refused("closed during the handshake")) }
        done.futureResult.whenComplete { result in
            deadline.cancel()
            if case .failure = result { channel.close(promise: nil) }
        }
        negotiate(upgrader.security.map(\.protocolID)) { [self] name in
            guard let security = upgrader.security.first(where: { $0.protocolID == name }) else {
                throw SwarmError.noCommonProtocol([name])
            }
            try security.install(
                on: channel, direction: direction, expectedPeer: expectedPeer,
                muxers: [ConnectionUpgrader.yamux], timeout: timeout
            ) { session, channel in
                channel.eventLoop.makeCompletedFuture { try self.selectMuxer(session) }
            }
            // Behind the handshake's handlers, where their errors arrive.
            try channel.pipeline.syncOperations.addHandler(HandshakeErrorHandler(done: done))
        }
        // The handler is in place that reads what a listener says unasked.
        channel.setOption(.autoRead, value: true).whenFailure { done.fail($0) }
        return done.futureResult
    }

    private func selectMuxer(_ session: SecureSession) throws {
        let catcher = try channel.pipeline.syncOperations.context(handlerType: HandshakeErrorHandler.self)
        channel.pipeline.syncOperations.removeHandler(context: catcher, promise: nil)
        switch session.muxer {
        case ConnectionUpgrader.yamux?: try install(session)
        case nil: negotiate([ConnectionUpgrader.yamux]) { [self] _ in try install(session) }
        case .some(let other): throw SwarmError.noCommonProtocol([other])
        }
    }

    private func install(_ session: SecureSession) throws {
        let handler = YamuxHandler(
            role: direction == .outbound ? .client : .server, configuration: upgrader.yamuxConfiguration,
            clock: upgrader.clock, memory: memory, inboundStream: streams(session), onEvent: onEvent)
        try channel.pipeline.syncOperations.addHandler(handler)
        let muxer = YamuxMuxer(handler: handler, eventLoop: channel.eventLoop)
        done.succeed(ConnectionUpgrader.Result(session: session, muxer: muxer))
    }

    /// Agrees on one of `names` and sets it up; a failure of either ends the upgrade.
    private func negotiate(_ names: [ProtocolID], setUp: @escaping (ProtocolID) throws -> Void) {
        let negotiation: any MultistreamNegotiation =
            switch direction {
            case .outbound: MultistreamDialer(proposing: names)
            case .inbound: MultistreamListener(supported: Set(names))
            }
        let negotiated = channel.eventLoop.makePromise(of: ProtocolID.self)
        let done = done
        negotiated.futureResult.whenFailure { done.fail($0) }
        let handler = MultistreamHandler(negotiation, timeout: timeout, negotiated: negotiated) {
            name, channel in
            channel.eventLoop.makeCompletedFuture { try setUp(name) }
        }
        do {
            try channel.pipeline.syncOperations.addHandler(handler)
        } catch {
            negotiated.fail(error)
        }
    }
}

/// Passes the error that ends a handshake to whoever waits for the connection.
private final class HandshakeErrorHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never

    private let done: EventLoopPromise<ConnectionUpgrader.Result>

    init(done: EventLoopPromise<ConnectionUpgrader.Result>) {
        self.done = done
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        done.fail(error)
        context.close(promise: nil)
    }
}
