internal import NIOCore

/// Cuts a stream into messages and says when it is over: at the peer's FIN, an error, a length over the limit, or
/// bytes that are no message, with all of which it is closed.
final class MessageDecoder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let framing: MessageFraming
    private let message: @Sendable ([UInt8]) -> Bool
    private let closed: @Sendable () -> Void
    private let memory: ConnectionMemory?
    private var hold: MemoryHold
    private var buffer = ByteBuffer()
    private var isClosed = false

    /// - Parameters:
    ///   - memory: the account of the stream's connection, which bounds an incomplete message.
    ///   - message: takes a message; false when it is none.
    ///   - closed: called once, after the last message.
    init(
        _ framing: MessageFraming, memory: ConnectionMemory? = nil,
        message: @escaping @Sendable ([UInt8]) -> Bool,
        closed: @escaping @Sendable () -> Void
    ) {
        self.framing = framing
        self.memory = memory
        self.hold = MemoryHold(memory)
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
        guard !isClosed, !hold.set(buffer.readableBytes) else { return }
        context.triggerUserOutboundEvent(StreamReset.resourceLimit, promise: nil)
        end(context)
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
                guard value <= maximum, isAllowed(value) else {
                    value = .max
                    break
                }
                guard buffer.readableBytes > index + value else { return nil }
                buffer.moveReaderIndex(forwardBy: index + 1)
                return value
            }
            // Too long, or four bytes of continuation, which name a length over any limit.
            if value > maximum || buffer.readableBytes >= 4 { end(context) }
            return nil
        }
    }

    /// Whether the peer may send a message of so many bytes, by its standing.
    private func isAllowed(_ length: Int) -> Bool {
        // Asked only of long ones, since it takes a lock.
        guard length > StandingLimits.unproven.frameBytes, let memory else { return true }
        return length <= memory.limits.frameBytes
    }

    private func end(_ context: ChannelHandlerContext?) {
        guard !isClosed else { return }
        isClosed = true
        buffer = ByteBuffer()
        _ = hold.set(0)
        closed()
        context?.close(promise: nil)
    }
}
