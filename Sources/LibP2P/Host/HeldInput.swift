internal import NIOCore

/// What arrives at a pipeline whose upper part is still being set up: kept in order, up to a limit.
struct HeldInput {
    /// The most bytes that are kept: more than any muxer's first window.
    static let maximumBytes = 1 << 20

    private var bytes = ByteBuffer()
    private var isReadComplete = false
    private var isInputClosed = false

    /// Keeps `buffer`; false when that is more than may be kept.
    mutating func append(_ buffer: ByteBuffer) -> Bool {
        guard bytes.readableBytes + buffer.readableBytes <= Self.maximumBytes else { return false }
        if bytes.readableBytes == 0 {
            bytes = buffer
        } else {
            bytes.writeImmutableBuffer(buffer)
        }
        isReadComplete = true
        return true
    }

    mutating func closeInput() {
        isInputClosed = true
    }

    /// Hands everything to the handlers above `context`.
    mutating func deliver(_ context: ChannelHandlerContext) {
        let held = self
        self = HeldInput()
        if held.bytes.readableBytes > 0 { context.fireChannelRead(NIOAny(held.bytes)) }
        if held.isReadComplete { context.fireChannelReadComplete() }
        if held.isInputClosed { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
    }
}
