internal import NIOCore
internal import Timing

/// The ping protocol `/ipfs/ping/1.0.0` (contract/wire.md D.7).
package enum Ping {
    package static let protocolID: ProtocolID = "/ipfs/ping/1.0.0"
    /// The size of a ping, in bytes.
    static let size = 32
    /// A stream on which no ping completes for this long is closed, as in go-libp2p.
    static let idleTimeout: TimeAmount = .seconds(10)
}

/// Echoes pings of 32 bytes until the stream ends or falls silent.
final class PingResponder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var partial = ByteBuffer()
    private var answeredSinceCheck = false
    private var timer: RepeatedTask?

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(
            initialDelay: Ping.idleTimeout, delay: Ping.idleTimeout
        ) { _ in
            let (handler, context) = bound.value
            if !handler.answeredSinceCheck { context.close(promise: nil) }
            handler.answeredSinceCheck = false
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        partial.writeImmutableBuffer(unwrapInboundIn(data))
        let whole = partial.readableBytes / Ping.size * Ping.size
        guard whole > 0, let answer = partial.readSlice(length: whole) else { return }
        answeredSinceCheck = true
        context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        partial.discardReadBytes()
        // A peer that asks faster than it takes the answers waits for them.
        if !context.channel.isWritable { setReading(false, context) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { setReading(true, context) }
        context.fireChannelWritabilityChanged()
    }

    private func setReading(_ isOn: Bool, _ context: ChannelHandlerContext) {
        // The stream channel supports the option, and its loop is this one: it cannot fail.
        try? context.channel.syncOptions?.setOption(.autoRead, value: isOn)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// Sends one ping and measures until its echo is complete; then closes the stream.
final class PingProber: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let payload: ByteBuffer
    private let clock: any TimeSource
    private let promise: EventLoopPromise<Duration>
    private var sent: Instant?
    private var echo = ByteBuffer()
    private var timer: Scheduled<Void>?

    /// `payload` is 32 random bytes.
    init(payload: ByteBuffer, clock: any TimeSource, promise: EventLoopPromise<Duration>) {
        self.payload = payload
        self.clock = clock
        self.promise = promise
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: Ping.idleTimeout) {
            let (handler, context) = bound.value
            handler.fail(SwarmError.timedOut("ping"), context)
        }
        if context.channel.isActive { send(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        promise.fail(ChannelError.ioOnClosedChannel)
    }

    func channelActive(context: ChannelHandlerContext) {
        send(context)
        context.fireChannelActive()
    }

    private func send(_ context: ChannelHandlerContext) {
        guard sent == nil else { return }
        sent = clock.now()
        context.writeAndFlush(wrapOutboundOut(payload), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let sent else { return }
        echo.writeImmutableBuffer(unwrapInboundIn(data))
        guard echo.readableBytes >= Ping.size else { return }
        guard echo == payload else { return fail(StreamReset.protocolViolation, context) }
        promise.succeed(clock.now() - sent)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error, context)
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        promise.fail(error)
        context.close(promise: nil)
    }
}
