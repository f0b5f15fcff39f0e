package import NIOCore

/// Runs a handshake over a channel of bytes. When it is through, puts the handler that opens and seals in
/// its place, has the pipeline above set up, hands on what came too early, and leaves.
///
/// When the handshake fails, the peer is told what the handshake has to say, the error goes up the pipeline
/// and the channel is closed.
package final class HandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// Sets the pipeline up for a secured connection; nothing is delivered to it before the future
    /// completes.
    package typealias Initializer = (SecureSession, any Channel) -> EventLoopFuture<Void>

    private let handshake: any SecureHandshake
    private let timeout: TimeAmount
    private let initialize: Initializer

    private var hasStarted = false
    private var isCompleted = false
    private var isSetUp = false
    private var hasEnded = false
    private var deadline: Scheduled<Void>?
    private var held = HeldInput()

    /// Runs `handshake` from when the channel is active.
    ///
    /// - Parameters:
    ///   - timeout: how long the whole handshake may take.
    ///   - initialize: sets the pipeline up, by adding handlers at its end.
    package init(
        _ handshake: any SecureHandshake, timeout: TimeAmount, initialize: @escaping Initializer
    ) {
        self.handshake = handshake
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
        if !isCompleted, !hasEnded { take(handshake.endOfInput(), context) }
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else {
            if isSetUp { context.fireChannelRead(data) }
            return
        }
        let bytes = unwrapInboundIn(data)
        if isCompleted {
            hold(bytes, context)
        } else {
            take(handshake.receive(bytes), context)
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        // The pipeline above learns of it when what is held is delivered.
        if isSetUp { context.fireChannelReadComplete() }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, !hasEnded {
            if isCompleted { held.closeInput() } else { take(handshake.endOfInput(), context) }
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
            if !handler.isCompleted, !handler.hasEnded { handler.take(handler.handshake.timeOut(), context) }
        }
        take(handshake.start(), context)
    }

    private func take(_ step: HandshakeStep, _ context: ChannelHandlerContext) {
        for bytes in step.output { context.write(wrapOutboundOut(bytes), promise: nil) }
        if !step.output.isEmpty { context.flush() }
        switch step.outcome {
        case .goesOn: break
        case .secured(let session, let transport, let early):
            isCompleted = true
            deadline?.cancel()
            if early.readableBytes > 0 { hold(early, context) }
            if !hasEnded { complete(session, transport, context) }
        case .failed(let error): fail(error, context)
        }
    }

    private func complete(
        _ session: SecureSession, _ transport: any ChannelHandler, _ context: ChannelHandlerContext
    ) {
        do {
            try context.pipeline.syncOperations.addHandler(transport, position: .after(context.handler))
        } catch {
            fail(error, context)
            return
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        initialize(session, context.channel).hop(to: context.eventLoop).whenComplete { result in
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
        held.take().deliver(context)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func hold(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        if !held.append(bytes) { fail(handshake.tooMuchInput, context) }
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        hasEnded = true
        deadline?.cancel()
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }
}
