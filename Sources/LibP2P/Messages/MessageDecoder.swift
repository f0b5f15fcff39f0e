internal import NIOCore

/// Cuts a stream into messages and says when it is over: at the peer's FIN, an error, a length over the limit, or
/// bytes that are no message, with all of which it is closed.
final class MessageDecoder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let framing: MessageFraming
    private let message: @Sendable ([UInt8]) -> Bool
    private let closed: @Sendable () -> Void
    private var buffer = ByteBuffer()
    private var isClosed = false

    /// - Parameters:
    ///   - message: takes a message; false when it is none.
    ///   - closed: called once, after the last message.
    init(
        _ framing: MessageFraming, message: @escaping @Sendable ([UInt8]) -> Bool,
        closed: @escaping @Sendable () -> Void
    ) {
        self.framing = framing
        self.message = message
        self.closed = closed
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosed else { return }
        buffer.writeImmutableBuffer(unwrapInboundIn(data))
        while !isClosed, let length = nextLength(context), let bytes = buffer.readBytes(length: length) {
            if !message(bytes) { end(context) }
        }
        buffer.discardReadBytes()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { end(context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context) }

    /// The next message's length when all of it is here; a length that goes before it is stepped over then.
    private func nextLength(_ context: ChannelHandlerContext) -> Int? {
        switch framing {
        case .fixed(let length): return buffer.readableBytes >= length ? length : nil
        case .lengthPrefixed(let maximum):
            var value = 0
            for (index, byte) in buffer.readableBytesView.prefix(4).enumerated() {
                value |= Int(byte & 0x7F) << (7 * index)
                guard byte < 0x80 else { continue }
                guard value <= maximum else { break }
                guard buffer.readableBytes > index + value else { return nil }
                buffer.moveReaderIndex(forwardBy: index + 1)
                return value
            }
            // Too long, or four bytes of continuation, which name a length over any limit.
            if value > maximum || buffer.readableBytes >= 4 { end(context) }
            return nil
        }
    }

    private func end(_ context: ChannelHandlerContext?) {
        guard !isClosed else { return }
        isClosed = true
        buffer.clear()
        closed()
        context?.close(promise: nil)
    }
}
