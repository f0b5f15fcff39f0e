internal import Logging
package import NIOCore
package import Timing

/// Drives a `YamuxSession` at the end of a secured connection's pipeline and gives every stream its
/// `StreamChannel`. It decides nothing itself.
///
/// Outgoing frames of one turn of the event loop are gathered into buffers of at most one Noise
/// frame's plaintext and flushed once. Data leaves only while the connection is writable, so that
/// what waits does so in the streams, where their turns are fair, and not in one long queue.
package final class YamuxHandler: ChannelInboundHandler, ChannelOutboundHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = Never
    package typealias OutboundIn = Never
    package typealias OutboundOut = ByteBuffer

    /// News of the session for the owner of the connection, on the connection's loop.
    package enum Event: Sendable {
        /// A ping was answered.
        case roundTrip(Duration)
        /// The session is over; the connection's channel is closing.
        case closed(any Error)
    }

    /// The size of one gathered write: the plaintext of one full Noise frame (contract/wire.md D.2).
    private static let gatherLimit = 65_519
    /// The storage of a gathered write that is kept where there is little memory for the connection.
    private static let narrowLimit = 4096
    /// What an open stream takes of the connection's account: its channel and handlers, as measured.
    private static let streamBytes = 2048
    /// How much one turn of the loop sends before other channels of the loop get theirs.
    private static let turnLimit = 1024 * 1024
    /// Control frames that may wait in an unwritable connection before we stop reading more causes
    /// of them.
    private static let controlBacklogLimit = 64 * 1024

    private var session: YamuxSession
    private let clock: any TimeSource
    private let inboundStream: @Sendable (any Channel) -> EventLoopFuture<Void>
    private let onEvent: @Sendable (Event) -> Void
    private var channels: [UInt32: StreamChannel] = [:]
    private let memory: ConnectionMemory?
    /// Bytes that streams have received and not read, and bytes that they want to send.
    private var kept: MemoryTally
    private var context: ChannelHandlerContext?
    private var gathered = ByteBuffer()
    private var keepsGathered = true
    private var takenPromises: [EventLoopPromise<Void>] = []
    private var readingStreams: [StreamChannel] = []
    private var isReading = false
    private var drainScheduled = false
    private var wroteSinceFlush = false
    private var unwritableControlBytes = 0
    private var readHeldBack = false
    private var timer: Scheduled<Void>?
    private var timerDeadline = Instant.distantFuture
    private var wakeUp = WakeUp("YamuxSession")
    private var ended: (any Error)?

    /// Makes the handler of the end that is `role`. `inboundStream` sets up the pipeline of every
    /// stream that the peer opens; a failure resets it. What waits in the streams is reserved from `memory`.
    package init(
        role: YamuxSession.Role, configuration: YamuxConfiguration = YamuxConfiguration(),
        clock: any TimeSource = SystemTime(), memory: ConnectionMemory? = nil,
        inboundStream: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>,
        onEvent: @escaping @Sendable (Event) -> Void = { _ in }
    ) {
        self.session = YamuxSession(role: role, configuration: configuration)
        self.memory = memory
        self.kept = MemoryTally(memory)
        if let memory {
            session.setStanding(memory.standing)
            keepsGathered = memory.hasWideBuffers
        }
        self.clock = clock
        self.inboundStream = inboundStream
        self.onEvent = onEvent
    }

    /// How many streams are open; on the connection's loop.
    package var streamCount: Int { session.streamCount }

    /// The last measured round trip; on the connection's loop.
    package var roundTrip: Duration? { session.roundTrip }

    // MARK: - The connection's events

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        gathered = context.channel.allocator.buffer(capacity: 1024)
        if context.channel.isActive { start() }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        end(YamuxError.connectionLost)
        self.context = nil
    }

    package func channelActive(context: ChannelHandlerContext) {
        start()
    }

    private func start() {
        guard !started else { return }
        started = true
        session.start(at: clock.now())
        pump()
    }
    private var started = false

    package func channelInactive(context: ChannelHandlerContext) {
        end(YamuxError.connectionLost)
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(error)
        context.close(promise: nil)
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        isReading = true
        session.receive(&bytes, at: clock.now())
        perform()
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        while let channel = readingStreams.popLast() { channel.readComplete() }
        isReading = false
        pump()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        let writable = context.channel.isWritable
        for channel in Array(channels.values) { channel.parentWritabilityChanged(writable) }
        if writable {
            unwritableControlBytes = 0
            pump()
            if readHeldBack {
                readHeldBack = false
                context.read()
            }
        }
        context.fireChannelWritabilityChanged()
    }

    package func read(context: ChannelHandlerContext) {
        if unwritableControlBytes > Self.controlBacklogLimit, !context.channel.isWritable {
            readHeldBack = true
        } else {
            context.read()
        }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            end(YamuxError.connectionLost)
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: - The session's outputs

    /// Performs the outputs, sends what may be sent, flushes and sets the timer.
    private func pump() {
        perform()
        guard !isReading else { return }
        drain()
        flush()
        schedule()
    }

    private func perform() {
        while let output = session.next() {
            switch output {
            case .write(let header): writeControl(header)
            case .opened(let streamID): opened(streamID)
            case .data(let streamID, let bytes): received(bytes, on: streamID)
            case .inputClosed(let streamID): channels[streamID]?.receiveEnd()
            case .finished(let streamID): channels[streamID]?.outputFinished()
            case .reset(let streamID, let reason): channels[streamID]?.receiveReset(reason)
            case .roundTrip(let elapsed): onEvent(.roundTrip(elapsed))
            case .closed(let error): closeConnection(error)
            }
        }
    }

    private func writeControl(_ header: YamuxHeader) {
        reserve(YamuxHeader.byteCount)
        header.write(to: &gathered)
        if let context, !context.channel.isWritable { unwritableControlBytes += YamuxHeader.byteCount }
    }

    private func opened(_ streamID: UInt32) {
        guard let context else { return }
        guard kept.add(Self.streamBytes) else { return session.reset(streamID, .resourceLimit) }
        let channel = StreamChannel(parent: context.channel, streamID: streamID, carrier: self)
        channels[streamID] = channel
        channel.configure(inboundStream, promise: nil)
    }

    private func received(_ bytes: ByteBuffer, on streamID: UInt32) {
        guard let channel = channels[streamID] else {
            session.consumed(bytes.readableBytes, on: streamID, at: clock.now())
            return
        }
        channel.receive(bytes)
        if readingStreams.last !== channel { readingStreams.append(channel) }
    }

    private func closeConnection(_ error: YamuxError) {
        gatheredToPipeline()
        context?.flush()
        end(error)
        context?.close(promise: nil)
    }

    private func end(_ error: any Error) {
        guard ended == nil else { return }
        ended = error
        timer?.cancel()
        timer = nil
        session.close(code: 0)
        let open = Array(channels.values)
        channels.removeAll()
        for channel in open { channel.connectionClosed(error) }
        kept.end()
        onEvent(.closed(error))
    }

    // MARK: - Sending

    /// Lets streams send in turns for as long as the connection takes it.
    private func drain() {
        guard let context, ended == nil else { return }
        var budget = Self.turnLimit
        while budget > 0, context.channel.isWritable, let grant = session.nextGrant() {
            budget -= sendFrame(grant)
        }
        if budget <= 0 { scheduleDrain() }
    }

    /// Sends one data frame and returns its size.
    private func sendFrame(_ grant: YamuxSession.Grant) -> Int {
        guard let channel = channels[grant.streamID],
            let (bytes, promise) = channel.takeWrite(grant.maximumBytes)
        else {
            // The channel is gone without its bytes: nobody is left to send them.
            session.sent(grant.maximumBytes, under: grant)
            return YamuxHeader.byteCount
        }
        let count = bytes.readableBytes
        guard count > 0 else {
            promise?.succeed()
            return 1
        }
        reserve(YamuxHeader.byteCount + count)
        YamuxHeader(type: .data, flags: [], streamID: grant.streamID, length: UInt32(count)).write(
            to: &gathered)
        gathered.writeImmutableBuffer(bytes)
        session.sent(count, under: grant)
        kept.remove(count)
        if let promise { takenPromises.append(promise) }
        channel.writesTaken()
        perform()
        return count + YamuxHeader.byteCount
    }

    /// Makes room for `count` more bytes in the gathered write, sending what is there if need be.
    private func reserve(_ count: Int) {
        if gathered.readableBytes > 0, gathered.readableBytes + count > Self.gatherLimit {
            gatheredToPipeline()
        }
    }

    private func gatheredToPipeline() {
        guard gathered.readableBytes > 0, let context else { return }
        wroteSinceFlush = true
        if takenPromises.isEmpty {
            context.write(wrapOutboundOut(gathered), promise: nil)
        } else {
            let promise = context.eventLoop.makePromise(of: Void.self)
            let taken = takenPromises
            takenPromises = []
            promise.futureResult.whenComplete { result in
                for promise in taken { promise.completeWith(result) }
            }
            context.write(wrapOutboundOut(gathered), promise: promise)
        }
        if gathered.capacity > Self.narrowLimit, !keepsGathered {
            gathered = context.channel.allocator.buffer(capacity: 1024)
        } else {
            // Takes the same storage again when the handlers before this one kept no reference to it.
            gathered.clear()
        }
    }

    private func flush() {
        gatheredToPipeline()
        guard wroteSinceFlush else { return }
        wroteSinceFlush = false
        context?.flush()
    }

    /// Has `pump` run once at the end of this turn of the loop.
    private func scheduleDrain() {
        guard !drainScheduled, !isReading, let context else { return }
        drainScheduled = true
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute {
            bound.value.drainScheduled = false
            bound.value.pump()
        }
    }

    // MARK: - Time

    /// How far a deadline moves back without its timer.
    private static let tolerance = Duration.seconds(1)

    /// Keeps one timer for the session's next deadline. A deadline that moved back a little is noticed when
    /// the timer fires, which spares a timer for each frame; one that moved back far would wake an idle node
    /// for nothing.
    private func schedule() {
        guard let context, ended == nil, let deadline = session.nextDeadline else { return }
        guard timer == nil || deadline < timerDeadline || deadline > timerDeadline + Self.tolerance else {
            return
        }
        guard let plan = wakeUp.next(deadline, at: clock.now()) else { return }
        if let warning = plan.warning { Logger(label: "yamux").warning("\(warning)") }
        timer?.cancel()
        timerDeadline = deadline
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) {
            bound.value.timerFired()
        }
    }

    private func timerFired() {
        timer = nil
        wakeUp.fired()
        session.tick(at: clock.now())
        pump()
    }

    // MARK: - For the owner of the connection

    /// Opens a stream; see `StreamMuxer.openStream`. On the connection's loop.
    package func openStream(
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>,
        promise: EventLoopPromise<any Channel>
    ) {
        guard let context, ended == nil else { return promise.fail(YamuxOpenError.sessionEnded) }
        do throws(YamuxOpenError) {
            guard kept.add(Self.streamBytes) else { throw .tooManyStreams }
            let streamID: UInt32
            do throws(YamuxOpenError) {
                streamID = try session.openStream(at: clock.now())
            } catch {
                kept.remove(Self.streamBytes)
                throw error
            }
            let channel = StreamChannel(parent: context.channel, streamID: streamID, carrier: self)
            channels[streamID] = channel
            channel.configure(initialize, promise: promise)
        } catch {
            promise.fail(error)
        }
        scheduleDrain()
    }

    /// The peer's standing, which `memory` knows, is another one. On the connection's loop.
    package func standingChanged() {
        guard let memory else { return }
        session.setStanding(memory.standing)
        keepsGathered = memory.hasWideBuffers
    }

    /// Ends the session, telling the peer `code` unless it is 0. On the connection's loop.
    package func close(code: UInt32) {
        session.close(code: code)
        perform()
    }
}

extension YamuxHandler: StreamCarrier {
    func wantsToSend(_ count: Int, on streamID: UInt32) -> Bool {
        guard kept.add(count) else { return false }
        session.wantsToSend(count, on: streamID)
        scheduleDrain()
        return true
    }

    func keep(_ count: Int) -> Bool { kept.add(count) }

    func release(_ count: Int) { kept.remove(count) }

    func consumed(_ count: Int, on streamID: UInt32) {
        session.consumed(count, on: streamID, at: clock.now())
        scheduleDrain()
    }

    func closeOutput(_ streamID: UInt32) {
        session.closeOutput(streamID)
        scheduleDrain()
    }

    func closeStream(_ streamID: UInt32) {
        session.closeStream(streamID, at: clock.now())
        scheduleDrain()
    }

    func reset(_ streamID: UInt32, _ reason: StreamReset) {
        session.reset(streamID, reason)
        scheduleDrain()
    }

    func forget(_ streamID: UInt32) {
        channels[streamID] = nil
        kept.remove(Self.streamBytes)
    }
}

/// A `YamuxHandler` for callers on any loop.
package struct YamuxMuxer: StreamMuxer {
    package let eventLoop: any EventLoop
    private let handler: NIOLoopBound<YamuxHandler>

    /// Wraps `handler`, which is in the pipeline of a channel of `eventLoop`. On that loop.
    package init(handler: YamuxHandler, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.handler = NIOLoopBound(handler, eventLoop: eventLoop)
    }

    package func openStream(
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        let promise = eventLoop.makePromise(of: (any Channel).self)
        if eventLoop.inEventLoop {
            handler.value.openStream(initialize, promise: promise)
        } else {
            eventLoop.execute { handler.value.openStream(initialize, promise: promise) }
        }
        return promise.futureResult
    }

    /// The peer's standing is another one.
    package func standingChanged() {
        if eventLoop.inEventLoop {
            handler.value.standingChanged()
        } else {
            eventLoop.execute { handler.value.standingChanged() }
        }
    }

    package func close(code: UInt32) {
        if eventLoop.inEventLoop {
            handler.value.close(code: code)
        } else {
            eventLoop.execute { handler.value.close(code: code) }
        }
    }
}
