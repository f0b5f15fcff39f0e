internal import DequeModule
internal import NIOConcurrencyHelpers
internal import NIOCore

/// What a stream channel asks of the connection that carries it; all on the connection's loop.
protocol StreamCarrier: AnyObject {
    /// `count` more bytes are ready to be taken with `takeWrite`; false when there is no memory for them, and
    /// the stream must end.
    func wantsToSend(_ count: Int, on streamID: UInt32) -> Bool
    /// Reserves memory for `count` bytes that wait to be read; false when there is none.
    func keep(_ count: Int) -> Bool
    /// Gives back what waited to be read, or to be sent and never will be.
    func release(_ count: Int)
    /// The application took `count` bytes that were delivered.
    func consumed(_ count: Int, on streamID: UInt32)
    /// No more writes follow those announced.
    func closeOutput(_ streamID: UInt32)
    /// The application is done; `outputFinished` follows.
    func closeStream(_ streamID: UInt32)
    /// The stream ends at once.
    func reset(_ streamID: UInt32, _ reason: StreamReset)
    /// The channel is inactive and must be forgotten.
    func forget(_ streamID: UInt32)
}

/// One stream of a muxed connection as a NIO channel: `ByteBuffer` in and out.
///
/// - Reading: data is delivered while a read is wanted (`autoRead` or `read()`), otherwise held, and
///   the peer's credit grows only by what was delivered: that is the backpressure.
/// - Writing: one write is never merged with another into one data frame, so that a packet given as
///   one write of at most 65,524 bytes leaves in one frame (contract/wire.md K.1). The channel is
///   writable while little waits to be sent and the connection itself is writable.
/// - Half-closure: `close(mode: .output)` sends FIN. The peer's FIN is `ChannelEvent.inputClosed`
///   when `ChannelOptions.allowRemoteHalfClosure` is set (it is by default), otherwise it closes.
/// - `close()` sends what was flushed, then FIN. A `StreamReset` triggered as a user outbound event
///   resets. A reset by the peer fails the channel with the `StreamReset`.
///
/// All state belongs to the event loop except the two flags that `Channel` lets others read.
final class StreamChannel: Channel, ChannelCore, @unchecked Sendable {
    private struct Flags {
        var isActive = false
        var isWritable = true
    }

    private enum State {
        /// Made, not yet announced to its pipeline.
        case idle
        case active
        /// Closed by the application; what was flushed is still being sent.
        case closing
        case closed
    }

    let allocator: ByteBufferAllocator
    let eventLoop: any EventLoop
    let parent: (any Channel)?
    let localAddress: SocketAddress?
    let remoteAddress: SocketAddress?
    /// The stream's number on the connection.
    let streamID: UInt32

    private weak var carrier: (any StreamCarrier)?
    private var _pipeline: ChannelPipeline?
    private let closePromise: EventLoopPromise<Void>
    private let flags = NIOLockedValueBox(Flags())
    private var state = State.idle
    private var closePromises: [EventLoopPromise<Void>] = []

    private var autoRead = true
    private var allowRemoteHalfClosure = true
    private var watermark = ChannelOptions.Types.WriteBufferWaterMark(low: 64 * 1024, high: 128 * 1024)

    private var pendingReads = Deque<ByteBuffer>()
    private var pendingReadBytes = 0
    /// What the pending reads take of the connection's memory: more than their bytes.
    private var keptBytes = 0
    private var readWanted = false
    private var readCompleteDue = false
    private var inputEnded = false
    private var inputEndDelivered = false
    private var resetReceived: StreamReset?

    private var pendingWrites = MarkedCircularBuffer<(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)>(
        initialCapacity: 2)
    private var pendingWriteBytes = 0
    private var unflushedBytes = 0
    private var outputClosed = false
    private var belowWatermark = true
    private var parentWritable: Bool

    init(parent: any Channel, streamID: UInt32, carrier: any StreamCarrier) {
        self.allocator = parent.allocator
        self.eventLoop = parent.eventLoop
        self.parent = parent
        self.localAddress = parent.localAddress
        self.remoteAddress = parent.remoteAddress
        self.streamID = streamID
        self.carrier = carrier
        self.parentWritable = parent.isWritable
        self.closePromise = parent.eventLoop.makePromise()
        flags.withLockedValue { $0.isWritable = parentWritable }
        _pipeline = ChannelPipeline(channel: self)
    }

    var pipeline: ChannelPipeline {
        guard let _pipeline else { preconditionFailure("the pipeline lives as long as its channel") }
        return _pipeline
    }

    var closeFuture: EventLoopFuture<Void> { closePromise.futureResult }
    var isActive: Bool { flags.withLockedValue { $0.isActive } }
    var isWritable: Bool { flags.withLockedValue { $0.isWritable } }
    var _channelCore: any ChannelCore { self }
    var syncOptions: (any NIOSynchronousChannelOptions)? { SynchronousOptions(channel: self) }

    // MARK: - From the connection

    /// Runs `initialize`, then makes the channel active; resets the stream when it fails.
    func configure(
        _ initialize: @Sendable (any Channel) -> EventLoopFuture<Void>,
        promise: EventLoopPromise<any Channel>?
    ) {
        initialize(self).hop(to: eventLoop).whenComplete { result in
            switch result {
            case .success:
                self.activate()
                promise?.succeed(self)
            case .failure(let error):
                if self.state != .closed {
                    self.carrier?.reset(self.streamID, (error as? StreamReset) ?? .unspecified)
                    self.finish(error: error, informs: false)
                }
                promise?.fail(error)
            }
        }
    }

    private func activate() {
        guard state == .idle else { return }
        state = .active
        flags.withLockedValue { $0.isActive = true }
        pipeline.fireChannelActive()
        if autoRead { pipeline.read() }
        if let resetReceived { return finish(error: resetReceived, informs: true) }
        deliverPendingReads()
        readComplete()
    }

    /// Bytes of the peer: delivered at once when a read is wanted. The connection calls
    /// `readComplete` after the last of a batch.
    func receive(_ bytes: ByteBuffer) {
        guard state == .active || state == .idle else {
            carrier?.consumed(bytes.readableBytes, on: streamID)
            return
        }
        if state == .active, readWanted, pendingReads.isEmpty {
            readCompleteDue = true
            pipeline.fireChannelRead(bytes)
            carrier?.consumed(bytes.readableBytes, on: streamID)
        } else {
            keep(bytes)
        }
    }

    /// Keeps bytes that nobody reads yet; without memory for them the stream is reset.
    private func keep(_ bytes: ByteBuffer) {
        let count = bytes.readableBytes
        guard carrier?.keep(count + ConnectionMemory.overhead) ?? true else {
            carrier?.consumed(count, on: streamID)
            carrier?.reset(streamID, .resourceLimit)
            switch state {
            case .idle: resetReceived = .resourceLimit
            case .active, .closing: finish(error: StreamReset.resourceLimit, informs: state == .active)
            case .closed: break
            }
            return
        }
        keptBytes += count + ConnectionMemory.overhead
        pendingReadBytes += count
        // A short piece of a large read would keep all of it.
        pendingReads.append(bytes.storageCapacity > 4 * count + 1024 ? ByteBuffer(buffer: bytes) : bytes)
    }

    private func unkeep(_ count: Int) {
        carrier?.release(count)
        keptBytes -= count
    }

    /// The peer's FIN, after all its bytes.
    func receiveEnd() {
        inputEnded = true
        deliverEndIfDue()
    }

    /// The batch of reads is over.
    func readComplete() {
        guard readCompleteDue, state == .active else { return }
        readCompleteDue = false
        readWanted = false
        pipeline.fireChannelReadComplete()
        if autoRead, state == .active { pipeline.read() }
    }

    /// The stream was reset by the peer, or because of a limit.
    func receiveReset(_ reason: StreamReset) {
        switch state {
        case .idle:
            resetReceived = reason
            dropPendingReads()
        case .active, .closing: finish(error: reason, informs: state == .active)
        case .closed: break
        }
    }

    /// All that was flushed before `close` is sent, and FIN.
    func outputFinished() {
        if state == .closing { finish(error: nil, informs: false) }
    }

    /// The connection is gone.
    func connectionClosed(_ error: any Error) {
        switch state {
        case .idle: resetReceived = .unspecified
        case .active, .closing: finish(error: error, informs: state == .active)
        case .closed: break
        }
    }

    /// The connection's writability changed.
    func parentWritabilityChanged(_ writable: Bool) {
        parentWritable = writable
        updateWritability()
    }

    /// The next write, or the first `maximumBytes` of it; nil when none is flushed.
    func takeWrite(_ maximumBytes: Int) -> (bytes: ByteBuffer, promise: EventLoopPromise<Void>?)? {
        guard pendingWrites.hasMark, let first = pendingWrites.first else { return nil }
        if first.bytes.readableBytes <= maximumBytes {
            _ = pendingWrites.removeFirst()
            pendingWriteBytes -= first.bytes.readableBytes
            return first
        }
        let start = pendingWrites.startIndex
        guard let part = pendingWrites[start].bytes.readSlice(length: maximumBytes) else { return nil }
        pendingWriteBytes -= maximumBytes
        return (part, nil)
    }

    /// Called after writes were taken.
    func writesTaken() {
        if !belowWatermark, pendingWriteBytes <= watermark.low {
            belowWatermark = true
            updateWritability()
        }
    }

    // MARK: - Reading

    func read0() {
        guard state == .active || state == .idle else { return }
        readWanted = true
        guard state == .active, !pendingReads.isEmpty || inputEnded else { return }
        deliverPendingReads()
        // Outside of a batch of the connection nobody else says that the read is complete. Not in
        // this call, which may come from a handler of `channelRead`.
        if readCompleteDue { eventLoop.execute { self.readComplete() } }
    }

    private func deliverPendingReads() {
        guard state == .active, readWanted else { return }
        // A burst is bounded so that a handler can say stop between reads.
        while state == .active, readWanted, let bytes = pendingReads.popFirst() {
            pendingReadBytes -= bytes.readableBytes
            unkeep(bytes.readableBytes + ConnectionMemory.overhead)
            readCompleteDue = true
            pipeline.fireChannelRead(bytes)
            carrier?.consumed(bytes.readableBytes, on: streamID)
            if !autoRead { break }
        }
        deliverEndIfDue()
    }

    private func deliverEndIfDue() {
        guard state == .active, inputEnded, !inputEndDelivered, pendingReads.isEmpty else { return }
        inputEndDelivered = true
        readComplete()
        guard state == .active else { return }
        if allowRemoteHalfClosure {
            pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            if outputClosed, state == .active { finishWhenSent() }
        } else {
            close0(error: ChannelError.eof, mode: .all, promise: nil)
        }
    }

    private func dropPendingReads() {
        guard pendingReadBytes > 0 else { return }
        carrier?.consumed(pendingReadBytes, on: streamID)
        unkeep(keptBytes)
        pendingReadBytes = 0
        pendingReads.removeAll()
    }

    // MARK: - Writing

    func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard state == .active || state == .idle else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        guard !outputClosed else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        let bytes = unwrapData(data, as: ByteBuffer.self)
        pendingWrites.append((bytes, promise))
        pendingWriteBytes += bytes.readableBytes
        unflushedBytes += bytes.readableBytes
        if belowWatermark, pendingWriteBytes > watermark.high {
            belowWatermark = false
            updateWritability()
        }
    }

    func flush0() {
        guard state == .active || state == .idle else { return }
        pendingWrites.mark()
        let count = unflushedBytes
        unflushedBytes = 0
        if count > 0 {
            guard carrier?.wantsToSend(count, on: streamID) ?? true else {
                // Not part of what a drop gives back.
                unflushedBytes = count
                carrier?.reset(streamID, .resourceLimit)
                return finish(error: StreamReset.resourceLimit, informs: state == .active)
            }
        } else {
            completeEmptyWrites()
        }
    }

    /// Writes of no bytes take no frame; they end when all before them is taken.
    private func completeEmptyWrites() {
        while pendingWrites.hasMark, let first = pendingWrites.first, first.bytes.readableBytes == 0 {
            _ = pendingWrites.removeFirst()
            first.promise?.succeed()
        }
    }

    private func updateWritability() {
        let writable = belowWatermark && parentWritable
        let changed = flags.withLockedValue { flags in
            defer { flags.isWritable = writable }
            return flags.isWritable != writable
        }
        if changed, state == .active { pipeline.fireChannelWritabilityChanged() }
    }

    // MARK: - Closing

    func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .input:
            promise?.fail(ChannelError.operationUnsupported)
        case .output:
            closeOutput(promise)
        case .all:
            closeAll(promise)
        }
    }

    private func closeOutput(_ promise: EventLoopPromise<Void>?) {
        guard state == .active || state == .idle else {
            promise?.fail(ChannelError.alreadyClosed)
            return
        }
        guard !outputClosed else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        outputClosed = true
        failUnflushedWrites(ChannelError.outputClosed)
        carrier?.closeOutput(streamID)
        promise?.succeed()
        if inputEndDelivered, state == .active { finishWhenSent() }
    }

    /// Both directions are done, as far as the application sees.
    private func finishWhenSent() {
        closeAll(nil)
    }

    private func closeAll(_ promise: EventLoopPromise<Void>?) {
        switch state {
        case .closed:
            promise?.fail(ChannelError.alreadyClosed)
        case .closing:
            if let promise { closePromises.append(promise) }
        case .idle, .active:
            if let promise { closePromises.append(promise) }
            state = .closing
            dropPendingReads()
            failUnflushedWrites(ChannelError.ioOnClosedChannel)
            if pendingWriteBytes == 0 {
                // Nothing to wait for: the FIN is on its way with this call.
                carrier?.closeStream(streamID)
                if state == .closing { finish(error: nil, informs: false) }
            } else {
                carrier?.closeStream(streamID)
            }
        }
    }

    private func failUnflushedWrites(_ error: any Error) {
        var kept = MarkedCircularBuffer<(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)>(
            initialCapacity: 2)
        while pendingWrites.hasMark, let write = pendingWrites.popFirst() { kept.append(write) }
        kept.mark()
        let dropped = pendingWrites
        pendingWrites = kept
        pendingWriteBytes -= unflushedBytes
        unflushedBytes = 0
        for write in dropped { write.promise?.fail(error) }
    }

    /// The channel's end. `informs` says whether handlers are told of `error`.
    private func finish(error: (any Error)?, informs: Bool) {
        guard state != .closed else { return }
        let wasActive = flags.withLockedValue { flags in
            defer {
                flags.isActive = false
                flags.isWritable = false
            }
            return flags.isActive
        }
        state = .closed
        dropPendingReads()
        carrier?.release(pendingWriteBytes - unflushedBytes)
        unflushedBytes = 0
        let writes = pendingWrites
        pendingWrites = MarkedCircularBuffer(initialCapacity: 0)
        pendingWriteBytes = 0
        for write in writes { write.promise?.fail(error ?? ChannelError.ioOnClosedChannel) }
        let promises = closePromises
        closePromises = []
        for promise in promises { promise.succeed() }
        if let error, informs { pipeline.fireErrorCaught(error) }
        if wasActive { pipeline.fireChannelInactive() }
        carrier?.forget(streamID)
        eventLoop.execute {
            self.removeHandlers(pipeline: self.pipeline)
            self.closePromise.succeed()
        }
    }

    func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        guard let reason = event as? StreamReset else {
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        guard state != .closed else {
            promise?.fail(ChannelError.alreadyClosed)
            return
        }
        carrier?.reset(streamID, reason)
        finish(error: reason, informs: false)
        promise?.succeed()
    }

    // MARK: - The rest of `ChannelCore`

    func localAddress0() throws -> SocketAddress {
        guard let localAddress else { throw ChannelError.operationUnsupported }
        return localAddress
    }

    func remoteAddress0() throws -> SocketAddress {
        guard let remoteAddress else { throw ChannelError.operationUnsupported }
        return remoteAddress
    }

    func register0(promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }

    func bind0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func connect0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    /// Data that no handler took is dropped.
    func channelRead0(_ data: NIOAny) {}

    /// An error that no handler took closes the stream, as it does a socket's channel.
    func errorCaught0(error: any Error) {}
}

extension StreamChannel {
    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
        if eventLoop.inEventLoop {
            return eventLoop.makeCompletedFuture { try setOption0(option, value: value) }
        }
        return eventLoop.submit { try self.setOption0(option, value: value) }
    }

    func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        if eventLoop.inEventLoop {
            return eventLoop.makeCompletedFuture { try getOption0(option) }
        }
        return eventLoop.submit { try self.getOption0(option) }
    }

    private func setOption0<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
        switch (option, value) {
        case (is ChannelOptions.Types.AutoReadOption, let value as Bool):
            let wasOn = autoRead
            autoRead = value
            if value, !wasOn, state == .active { pipeline.read() }
        case (is ChannelOptions.Types.AllowRemoteHalfClosureOption, let value as Bool):
            allowRemoteHalfClosure = value
        case (
            is ChannelOptions.Types.WriteBufferWaterMarkOption,
            let value as ChannelOptions.Types.WriteBufferWaterMark
        ):
            watermark = value
        default:
            throw ChannelError.operationUnsupported
        }
    }

    private func getOption0<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
        let value: Any? =
            switch option {
            case is ChannelOptions.Types.AutoReadOption: autoRead
            case is ChannelOptions.Types.AllowRemoteHalfClosureOption: allowRemoteHalfClosure
            case is ChannelOptions.Types.WriteBufferWaterMarkOption: watermark
            default: nil
            }
        guard let value = value as? Option.Value else { throw ChannelError.operationUnsupported }
        return value
    }

    /// Options for callers that are on the loop.
    private struct SynchronousOptions: NIOSynchronousChannelOptions {
        let channel: StreamChannel

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
            try channel.setOption0(option, value: value)
        }

        func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
            try channel.getOption0(option)
        }
    }
}
