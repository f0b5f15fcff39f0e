internal import Multiformats
internal import NIOCore

/// Cuts a stream into frames: each is preceded by its length as a uvarint. A length over the limit
/// closes the stream before anything is kept.
final class LedgerFrameDecoder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let maximum: Int
    private let frame: @Sendable ([UInt8]) -> Void
    private let closed: @Sendable () -> Void
    private var buffer = ByteBuffer()
    private var isClosed = false

    init(
        maximum: Int, frame: @escaping @Sendable ([UInt8]) -> Void, closed: @escaping @Sendable () -> Void
    ) {
        self.maximum = maximum
        self.frame = frame
        self.closed = closed
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosed else { return }
        buffer.writeImmutableBuffer(unwrapInboundIn(data))
        while let length = readLength(context) {
            guard let bytes = buffer.readBytes(length: length) else { break }
            frame(bytes)
        }
        buffer.discardReadBytes()
    }

    /// The next frame's length when all of the frame is here; the length itself is stepped over then.
    private func readLength(_ context: ChannelHandlerContext) -> Int? {
        var value = 0
        var size = 0
        for byte in buffer.readableBytesView.prefix(4) {
            value |= Int(byte & 0x7F) << (7 * size)
            size += 1
            if byte < 0x80 {
                guard value <= maximum else { return refuse(context) }
                guard buffer.readableBytes >= size + value else { return nil }
                buffer.moveReaderIndex(forwardBy: size)
                return value
            }
        }
        // Four bytes of continuation name a length over any limit.
        return size == 4 ? refuse(context) : nil
    }

    private func refuse(_ context: ChannelHandlerContext) -> Int? {
        end()
        buffer.clear()
        context.close(promise: nil)
        return nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            end()
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end()
        context.close(promise: nil)
    }

    private func end() {
        guard !isClosed else { return }
        isClosed = true
        closed()
    }
}
