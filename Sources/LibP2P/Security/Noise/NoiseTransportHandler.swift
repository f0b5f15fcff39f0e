package import NIOCore

/// Seals what goes out and opens what comes in, once the handshake is done. Writes of one flush share
/// an allocation and leave together.
package final class NoiseTransportHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// When this much is sealed, it is passed on without waiting for a flush.
    private static let writeThreshold = 256 * 1024

    private var framing: NoiseFraming
    /// The beginning of a frame whose end has not come.
    private var partial = ByteBuffer()
    private var sealed = ByteBuffer()
    private var sealedPromise: EventLoopPromise<Void>?
    private var hasFailed = false

    package init(keys: NoiseXX.Keys) {
        self.framing = NoiseFraming(keys: keys)
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasFailed else { return }
        var input = unwrapInboundIn(data)
        if partial.readableBytes > 0 {
            partial.writeBuffer(&input)
            swap(&partial, &input)
            partial = ByteBuffer()
        }
        var output = context.channel.allocator.buffer(capacity: 0)
        let result = Result { () throws(NoiseError) in try framing.open(&input, into: &output) }
        if input.readableBytes > 0 {
            input.discardReadBytes()
            partial = input
        }
        // What was authentic is the application's even when the next frame is not.
        if output.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(output)) }
        if case .failure(let error) = result { fail(error, context) }
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !hasFailed else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        let plaintext = unwrapOutboundIn(data)
        if sealed.capacity == 0 {
            sealed = context.channel.allocator.buffer(
                capacity: NoiseFraming.sealedLength(of: plaintext.readableBytes))
        }
        do throws(NoiseError) {
            try framing.seal(plaintext, into: &sealed)
        } catch {
            promise?.fail(error)
            fail(error, context)
            return
        }
        if let promise {
            if let first = sealedPromise {
                first.futureResult.cascade(to: promise)
            } else {
                sealedPromise = promise
            }
        }
        if sealed.readableBytes >= Self.writeThreshold { writeSealed(context) }
    }

    package func flush(context: ChannelHandlerContext) {
        writeSealed(context)
        context.flush()
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input { writeSealed(context) }
        context.close(mode: mode, promise: promise)
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        sealedPromise?.fail(ChannelError.ioOnClosedChannel)
        sealedPromise = nil
    }

    private func writeSealed(_ context: ChannelHandlerContext) {
        guard sealed.readableBytes > 0 || sealedPromise != nil else { return }
        let bytes = sealed
        let promise = sealedPromise
        sealed = ByteBuffer()
        sealedPromise = nil
        context.write(wrapOutboundOut(bytes), promise: promise)
    }

    private func fail(_ error: NoiseError, _ context: ChannelHandlerContext) {
        hasFailed = true
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }
}
