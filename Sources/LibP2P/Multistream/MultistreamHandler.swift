internal import DequeModule
package import NIOCore

/// Carries a multistream-select negotiation over a channel of `ByteBuffer`s, raw or muxed, then sets
/// up the agreed protocol's pipeline above itself, hands it every byte that came too early, and
/// leaves.
///
/// When the negotiation fails, `negotiated` fails, the error goes up the pipeline and the channel is
/// closed.
package final class MultistreamHandler: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// Sets the pipeline up for a protocol; nothing is delivered to it before the future completes.
    package typealias Initializer = (ProtocolID, any Channel) -> EventLoopFuture<Void>

    private enum Setup {
        case notBegun
        case running
        case finished
    }

    private var negotiation: any MultistreamNegotiation
    private let timeout: TimeAmount
    private let initialize: Initializer
    private var negotiated: EventLoopPromise<ProtocolID>?

    private var hasStarted = false
    /// Inputs in order of arrival: writing an answer may bring the next one before it returns.
    private var inbox: Deque<MultistreamInput> = []
    private var isHandling = false
    private var isEstablished = false
    private var hasEnded = false
    private var setup = Setup.notBegun
    private var deadline: Scheduled<Void>?
    /// Header and proposal of a lazy dialer that wait for the application's first bytes.
    private var opening: ByteBuffer?
    private var held = HeldInput()
    private var wantsRead = false

    /// Negotiates over the channel it is added to, from when that is active.
    ///
    /// - Parameters:
    ///   - negotiation: a `MultistreamListener` or `MultistreamDialer`.
    ///   - timeout: how long the peer may take to agree.
    ///   - negotiated: told the protocol once its pipeline is set up, or why there is none. A lazy
    ///     negotiation succeeds here before the peer has answered.
    ///   - initialize: sets the pipeline up, by adding handlers at its end.
    package init(
        _ negotiation: any MultistreamNegotiation, timeout: TimeAmount,
        negotiated: EventLoopPromise<ProtocolID>? = nil, initialize: @escaping Initializer
    ) {
        self.negotiation = negotiation
        self.timeout = timeout
        self.negotiated = negotiated
        self.initialize = initialize
    }

    // MARK: inbound

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { start(context) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        // Unless everything went as it should, someone may still be waiting.
        end(MultistreamError.endOfStream)
    }

    package func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        if isEstablished { held.take().deliver(context) } else { end(MultistreamError.endOfStream) }
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else {
            // Delivered and about to leave, or failed: only the first has anyone above.
            if isEstablished { context.fireChannelRead(data) }
            return
        }
        handle(.received(unwrapInboundIn(data)), context)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        // The pipeline above learns of it when what is held is delivered.
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            if !hasEnded {
                handle(.endOfInput, context)
                return
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !isEstablished { end(error) }
        context.fireErrorCaught(error)
    }

    // MARK: outbound

    /// Once all is agreed on and the pipeline above is not there yet, nothing more is read: what the channel
    /// keeps is on its connection's account, and what is held here is not.
    package func read(context: ChannelHandlerContext) {
        if isEstablished, !hasEnded {
            wantsRead = true
        } else {
            context.read()
        }
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard var first = opening else {
            context.write(data, promise: promise)
            return
        }
        opening = nil
        first.writeImmutableBuffer(unwrapOutboundIn(data))
        context.write(wrapOutboundOut(first), promise: promise)
    }

    package func flush(context: ChannelHandlerContext) {
        writeOpening(context)
        context.flush()
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .output, opening != nil {
            writeOpening(context)
            context.flush()
        }
        context.close(mode: mode, promise: promise)
    }

    // MARK: the negotiation

    private func start(_ context: ChannelHandlerContext) {
        guard !hasStarted else { return }
        hasStarted = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: timeout) {
            let (handler, context) = bound.value
            handler.handle(.deadlinePassed, context)
        }
        handle(.start, context)
    }

    private func handle(_ input: MultistreamInput, _ context: ChannelHandlerContext) {
        inbox.append(input)
        guard !isHandling else { return }
        isHandling = true
        while !hasEnded, let input = inbox.popFirst() {
            if !isEstablished {
                perform(negotiation.receive(input), context)
                continue
            }
            switch input {
            case .received(let bytes): hold(bytes, context)
            case .endOfInput: held.closeInput()
            case .start, .deadlinePassed: break
            }
        }
        isHandling = false
        leaveIfDone(context)
    }

    private func perform(_ effects: [MultistreamEffect], _ context: ChannelHandlerContext) {
        for effect in effects {
            switch effect {
            case .send(let bytes):
                context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
            case .sendWithFirstWrite(let bytes):
                sendSoon(bytes, context)
            case .selected(let agreed):
                setUp(agreed, context)
            case .established(let rest):
                isEstablished = true
                deadline?.cancel()
                if rest.readableBytes > 0 { hold(rest, context) }
            case .failed(let error):
                fail(error, context)
            }
        }
    }

    /// Leaves the application this turn of the loop to send its first bytes along.
    private func sendSoon(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        opening = bytes
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.execute {
            let (handler, context) = bound.value
            guard handler.opening != nil, !handler.hasEnded else { return }
            handler.writeOpening(context)
            context.flush()
        }
    }

    private func writeOpening(_ context: ChannelHandlerContext) {
        guard let bytes = opening else { return }
        opening = nil
        context.write(wrapOutboundOut(bytes), promise: nil)
    }

    private func setUp(_ agreed: ProtocolID, _ context: ChannelHandlerContext) {
        setup = .running
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        initialize(agreed, context.channel).hop(to: context.eventLoop).whenComplete { result in
            let (handler, context) = bound.value
            switch result {
            case .success:
                handler.setup = .finished
                if !handler.hasEnded { handler.report(.success(agreed)) }
                if !handler.isHandling { handler.leaveIfDone(context) }
            case .failure(let error):
                handler.fail(error, context)
            }
        }
    }

    private func leaveIfDone(_ context: ChannelHandlerContext) {
        guard isEstablished, setup == .finished, !hasEnded else { return }
        hasEnded = true
        if opening != nil {
            writeOpening(context)
            context.flush()
        }
        held.take().deliver(context)
        if wantsRead { context.read() }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func hold(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        if !held.append(bytes) { fail(MultistreamError.tooMuchInput, context) }
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        end(error)
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }

    private func end(_ error: any Error) {
        deadline?.cancel()
        guard !hasEnded else { return }
        hasEnded = true
        opening = nil
        report(.failure(error))
    }

    private func report(_ result: Result<ProtocolID, any Error>) {
        negotiated?.completeWith(result)
        negotiated = nil
    }
}
