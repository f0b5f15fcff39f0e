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

    /// What is held, which is then held no more.
    ///
    /// Apart from `deliver`, because whoever is delivered to may close the channel before that returns,
    /// and so come back here.
    mutating func take() -> HeldInput {
        defer { self = HeldInput() }
        return self
    }

    /// Hands everything to the handlers above `context`.
    func deliver(_ context: ChannelHandlerContext) {
        if bytes.readableBytes > 0 { context.fireChannelRead(NIOAny(bytes)) }
        if isReadComplete { context.fireChannelReadComplete() }
        if isInputClosed { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
    }
}
