internal import NIOCore

/// Reads one identify exchange on a stream and hands it over; then the stream is closed. Used by
/// the asker of `/ipfs/id/1.0.0` and by the receiver of `/ipfs/id/push/1.0.0`.
final class IdentifyHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var reader = IdentifyReader()
    private let timeout: TimeAmount
    private let onResult: @Sendable (Result<IdentifyMessage, any Error>) -> Void
    private var isDone = false
    private var timer: Scheduled<Void>?

    /// `onResult` is called once, on the stream's loop.
    init(timeout: TimeAmount, onResult: @escaping @Sendable (Result<IdentifyMessage, any Error>) -> Void) {
        self.timeout = timeout
        self.onResult = onResult
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: timeout) {
            let (handler, context) = bound.value
            handler.fail(IdentifyError.timedOut, context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(.failure(IdentifyError.truncated))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDone else { return }
        do throws(IdentifyError) {
            try reader.receive(unwrapInboundIn(data))
        } catch {
            fail(error, context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        do throws(IdentifyError) {
            finish(.success(try reader.finish()))
            context.close(promise: nil)
        } catch {
            fail(error, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.failure(IdentifyError.truncated))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error, context)
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        guard !isDone else { return }
        finish(.failure(error))
        context.triggerUserOutboundEvent(StreamReset.protocolViolation, promise: nil)
    }

    private func finish(_ result: Result<IdentifyMessage, any Error>) {
        guard !isDone else { return }
        isDone = true
        timer?.cancel()
        onResult(result)
    }
}
