package import NIOCore

/// Runs a TLS handshake over a channel of bytes. When it is through, puts a `TLSTransportHandler` in
/// its place, has the pipeline above set up, hands on what came too early, and leaves.
///
/// When the handshake fails, the peer is told by an alert, the error goes up the pipeline and the
/// channel is closed.
package final class TLSHandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// Sets the pipeline up for a secured connection; nothing is delivered to it before the future
    /// completes.
    package typealias Initializer = (SecureSession, any Channel) -> EventLoopFuture<Void>

    private let session: TLSSession
    private let timeout: TimeAmount
    private let initialize: Initializer

    private var hasStarted = false
    private var isCompleted = false
    private var isSetUp = false
    private var hasEnded = false
    private var deadline: Scheduled<Void>?
    private var held = HeldInput()

    /// Runs the handshake of `session` from when the channel is active.
    ///
    /// - Parameters:
    ///   - timeout: how long the whole handshake may take.
    ///   - initialize: sets the pipeline up, by adding handlers at its end.
    package init(_ session: TLSSession, timeout: TimeAmount, initialize: @escaping Initializer) {
        self.session = session
        self.timeout = timeout
        self.initialize = initialize
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { start(context) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
    }

    package func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        if !isCompleted { fail(TLSError.endOfStream, context) }
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else {
            if isSetUp { context.fireChannelRead(data) }
            return
        }
        if isCompleted {
            hold(unwrapInboundIn(data), context)
        } else {
            advance(unwrapInboundIn(data), context)
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        // The pipeline above learns of it when what is held is delivered.
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, !hasEnded {
            if isCompleted { held.closeInput() } else { fail(TLSError.endOfStream, context) }
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func start(_ context: ChannelHandlerContext) {
        guard !hasStarted else { return }
        hasStarted = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: timeout) {
            let (handler, context) = bound.value
            if !handler.isCompleted { handler.fail(TLSError.timedOut, context) }
        }
        advance(ByteBuffer(), context)
    }

    private func advance(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        var bytes = bytes
        do throws(TLSError) {
            let secured = try session.handshake(&bytes)
            send(context)
            guard let secured else { return }
            isCompleted = true
            deadline?.cancel()
            // What came behind the handshake is sealed already.
            if bytes.readableBytes > 0 { hold(bytes, context) }
            if !hasEnded { complete(secured, context) }
        } catch {
            // The alert that says why.
            send(context)
            fail(error, context)
        }
    }

    private func send(_ context: ChannelHandlerContext) {
        guard let output = session.takeOutput() else { return }
        context.writeAndFlush(wrapOutboundOut(output), promise: nil)
    }

    private func complete(_ secured: SecureSession, _ context: ChannelHandlerContext) {
        do {
            try context.pipeline.syncOperations.addHandler(
                TLSTransportHandler(session), position: .after(context.handler))
        } catch {
            fail(error, context)
            return
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        initialize(secured, context.channel).hop(to: context.eventLoop).whenComplete { result in
            let (handler, context) = bound.value
            switch result {
            case .success: handler.leave(context)
            case .failure(let error): handler.fail(error, context)
            }
        }
    }

    private func leave(_ context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        isSetUp = true
        hasEnded = true
        held.deliver(context)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func hold(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        if !held.append(bytes) { fail(TLSError.tooMuchInput, context) }
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        hasEnded = true
        deadline?.cancel()
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }
}
