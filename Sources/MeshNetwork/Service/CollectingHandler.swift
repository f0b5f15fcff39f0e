internal import NIOCore

/// Collects the first bytes of a stream until they are complete, and says them once. What is longer
/// than allowed, ends too early or takes too long is said as nil.
final class CollectingHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let maximum: Int
    private let timeout: TimeAmount
    private let isComplete: @Sendable ([UInt8]) -> Bool
    private let done: @Sendable ([UInt8]?) -> Void
    private var bytes: [UInt8] = []
    private var isDone = false
    private var timer: Scheduled<Void>?

    init(
        maximum: Int, timeout: TimeAmount, isComplete: @escaping @Sendable ([UInt8]) -> Bool,
        done: @escaping @Sendable ([UInt8]?) -> Void
    ) {
        self.maximum = maximum
        self.timeout = timeout
        self.isComplete = isComplete
        self.done = done
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let channel = context.channel
        // The same timer ends the stream for good, whatever was said on it by then.
        timer = context.eventLoop.scheduleTask(in: timeout) {
            bound.value.finish(nil)
            channel.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        finish(nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDone else { return }
        bytes.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        if bytes.count > maximum {
            finish(nil)
        } else if isComplete(bytes) {
            finish(bytes)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { finish(nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(nil)
        context.close(promise: nil)
    }

    private func finish(_ result: [UInt8]?) {
        guard !isDone else { return }
        isDone = true
        done(result)
    }
}
