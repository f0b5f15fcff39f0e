package import NIOCore

/// Seals what goes out and opens what comes in, once the handshake is done. Small writes of one flush
/// share records, large ones fill theirs, and all leave together.
///
/// The peer's goodbye is the end of its input (`ChannelEvent.inputClosed`); an end without one is
/// `TLSError.truncated`, as go-libp2p has it. Ours is said before either half or the whole connection
/// is closed.
package final class TLSTransportHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// When this much is sealed, it is passed on without waiting for a flush, so that the channel's
    /// watermark sees it.
    private static let writeThreshold = 128 * 1024
    /// A larger buffer of plaintext is not kept for the next reads.
    private static let keptCapacity = 256 * 1024

    private let session: TLSSession
    /// What was opened last: its memory is used again when the handlers above have let go of it.
    private var opened = ByteBuffer()
    /// The beginning of a record that later writes may fill.
    private var gathered = ByteBuffer()
    private var promise: EventLoopPromise<Void>?
    private var hasFailed = false
    private var isInputClosed = false
    private var isOutputClosed = false

    /// Goes on with `session`, whose handshake is done.
    package init(_ session: TLSSession) {
        self.session = session
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        promise?.fail(ChannelError.ioOnClosedChannel)
        promise = nil
    }

    // MARK: inbound

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasFailed, !isInputClosed else { return }
        var input = unwrapInboundIn(data)
        if opened.capacity > Self.keptCapacity { opened = ByteBuffer() } else { opened.clear() }
        // One record more than there is, so that libssl can be asked until it has none.
        opened.reserveCapacity(input.readableBytes + TLSSession.recordLength)
        var isOver = false
        var failure: TLSError?
        do throws(TLSError) {
            isOver = try session.open(&input, into: &opened)
        } catch {
            failure = error
        }
        // A new key is answered with one, a failure with an alert.
        if session.outputCount > 0 {
            writeSealed(context)
            context.flush()
        }
        // What was authentic is the application's even when the next record is not.
        if opened.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(opened)) }
        if let failure {
            fail(failure, context)
        } else if isOver, !isInputClosed {
            isInputClosed = true
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            guard !isInputClosed, !hasFailed else { return }
            isInputClosed = true
            fail(.truncated, context)
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: outbound

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !hasFailed, !isOutputClosed else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        if let promise {
            if let first = self.promise {
                first.futureResult.cascade(to: promise)
            } else {
                self.promise = promise
            }
        }
        var plaintext = unwrapOutboundIn(data)
        do throws(TLSError) {
            if gathered.readableBytes > 0 {
                let room = TLSSession.recordLength - gathered.readableBytes
                if var part = plaintext.readSlice(length: min(room, plaintext.readableBytes)) {
                    gathered.writeBuffer(&part)
                }
                if gathered.readableBytes == TLSSession.recordLength { try sealGathered() }
            }
            let whole = plaintext.readableBytes / TLSSession.recordLength * TLSSession.recordLength
            if whole > 0, let records = plaintext.readSlice(length: whole) { try seal(records) }
            if plaintext.readableBytes > 0 { gathered.writeBuffer(&plaintext) }
        } catch {
            fail(error, context)
            return
        }
        if session.outputCount >= Self.writeThreshold { writeSealed(context) }
    }

    package func flush(context: ChannelHandlerContext) {
        sealRest(context)
        writeSealed(context)
        context.flush()
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input, !isOutputClosed {
            sealRest(context)
            isOutputClosed = true
            session.closeOutput()
            writeSealed(context)
            context.flush()
        }
        context.close(mode: mode, promise: promise)
    }

    /// Seals the record that is not full.
    private func sealRest(_ context: ChannelHandlerContext) {
        guard gathered.readableBytes > 0, !hasFailed else { return }
        do throws(TLSError) {
            try sealGathered()
        } catch {
            fail(error, context)
        }
    }

    private func sealGathered() throws(TLSError) {
        try seal(gathered)
        gathered.clear()
    }

    private func seal(_ plaintext: ByteBuffer) throws(TLSError) {
        var result: Result<Void, TLSError> = .success(())
        plaintext.withUnsafeReadableBytes { bytes in
            result = Result { () throws(TLSError) in try session.seal(bytes) }
        }
        try result.get()
    }

    private func writeSealed(_ context: ChannelHandlerContext) {
        // The promise of a write is kept with the last byte of it, so it waits for what is gathered.
        let done = gathered.readableBytes == 0 ? promise : nil
        guard done != nil || session.outputCount > 0 else { return }
        let sealed = session.takeOutput() ?? ByteBuffer()
        if done != nil { promise = nil }
        context.write(wrapOutboundOut(sealed), promise: done)
    }

    private func fail(_ error: TLSError, _ context: ChannelHandlerContext) {
        guard !hasFailed else { return }
        hasFailed = true
        promise?.fail(error)
        promise = nil
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }
}
