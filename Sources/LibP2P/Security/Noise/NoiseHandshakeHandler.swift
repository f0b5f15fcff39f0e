package import NIOCore

/// Runs a Noise handshake over a channel of bytes. When it is through, puts a `NoiseTransportHandler`
/// in its place, has the pipeline above set up, hands on what came too early, and leaves.
///
/// When the handshake fails, the error goes up the pipeline and the channel is closed.
package final class NoiseHandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// Sets the pipeline up for a secured connection; nothing is delivered to it before the future
    /// completes.
    package typealias Initializer = (SecureSession, any Channel) -> EventLoopFuture<Void>

    private var handshake: NoiseHandshake
    private let timeout: TimeAmount
    private let initialize: Initializer

    private var hasStarted = false
    private var isCompleted = false
    private var isSetUp = false
    private var hasEnded = false
    private var deadline: Scheduled<Void>?
    private var unread = ByteBuffer()
    private var held = HeldInput()

    /// Runs `handshake` from when the channel is active.
    ///
    /// - Parameters:
    ///   - timeout: how long the whole handshake may take.
    ///   - initialize: sets the pipeline up, by adding handlers at its end.
    package init(_ handshake: NoiseHandshake, timeout: TimeAmount, initialize: @escaping Initializer) {
        self.handshake = handshake
        self.timeout = timeout
        self.initialize = initialize
    }

    /// A handler for a connection of `identity` with keys made anew.
    package convenience init(
        role: NoiseXX.Role, identity: Identity, expectedPeer: PeerID?, muxers: [ProtocolID],
        timeout: TimeAmount,
        initialize: @escaping Initializer
    ) {
        let handshake = NoiseHandshake(
            role: role, identity: identity, expectedPeer: expectedPeer, muxers: muxers,
            staticKey: .generate(),
            ephemeralKey: .generate())
        self.init(handshake, timeout: timeout, initialize: initialize)
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
        if !isCompleted { perform(handshake.receive(.endOfInput), context) }
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else {
            if isSetUp { context.fireChannelRead(data) }
            return
        }
        var bytes = unwrapInboundIn(data)
        guard !isCompleted else {
            hold(bytes, context)
            return
        }
        unread.writeBuffer(&bytes)
        readMessages(context)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        // The pipeline above learns of it when what is held is delivered.
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, !hasEnded {
            if isCompleted {
                held.closeInput()
            } else {
                perform(handshake.receive(.endOfInput), context)
            }
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
            handler.perform(handler.handshake.receive(.deadlinePassed), context)
        }
        perform(handshake.receive(.start), context)
    }

    private func readMessages(_ context: ChannelHandlerContext) {
        while !isCompleted, !hasEnded, let length = unread.getInteger(at: unread.readerIndex, as: UInt16.self)
        {
            guard length <= NoiseHandshake.maximumMessageLength else {
                fail(NoiseError.messageTooLong, context)
                return
            }
            let whole = NoiseFraming.headerLength + Int(length)
            guard unread.readableBytes >= whole, let frame = unread.readBytes(length: whole) else { return }
            perform(handshake.receive(.message(Array(frame.dropFirst(NoiseFraming.headerLength)))), context)
        }
    }

    private func perform(_ effects: [NoiseHandshakeEffect], _ context: ChannelHandlerContext) {
        for effect in effects {
            switch effect {
            case .send(let message):
                var frame = context.channel.allocator.buffer(
                    capacity: NoiseFraming.headerLength + message.count)
                // The handshake's own messages are a few hundred bytes.
                frame.writeInteger(UInt16(clamping: message.count))
                frame.writeBytes(message)
                context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
            case .completed(let session, let keys):
                complete(session, keys, context)
            case .failed(let error):
                fail(error, context)
            }
        }
    }

    private func complete(_ session: SecureSession, _ keys: NoiseXX.Keys, _ context: ChannelHandlerContext) {
        isCompleted = true
        deadline?.cancel()
        if unread.readableBytes > 0 { hold(unread, context) }
        unread = ByteBuffer()
        do {
            try context.pipeline.syncOperations.addHandler(
                NoiseTransportHandler(keys: keys), position: .after(context.handler))
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
        if !held.append(bytes) { fail(NoiseError.tooMuchInput, context) }
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        hasEnded = true
        deadline?.cancel()
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }
}
