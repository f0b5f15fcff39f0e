internal import LibP2P
internal import NIOCore

/// Cuts what a peer sends into frames and hands them over one after the other. It stops reading while
/// frames wait to be handled, so a peer cannot fill the memory between two loops. It never writes.
final class InboundGossipHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    /// Frames up to this size need no reservation.
    private static let smallFrame = 65_536
    /// Bytes handed over and not yet handled beyond which reading stops.
    private static let maximumInFlight = 262_144

    private let eventLoop: any EventLoop
    private let memory: FrameMemory
    private let maximumLength: Int
    private let onFrame: @Sendable ([UInt8]) -> Void
    private let onEnd: @Sendable () -> Void
    private var buffer = ByteBuffer()
    private var reserved = 0
    private var inFlight = 0
    private var wantsRead = false
    private var hasEnded = false

    /// Handlers are called on `eventLoop`.
    init(
        eventLoop: any EventLoop, memory: FrameMemory, maximumLength: Int,
        onFrame: @escaping @Sendable ([UInt8]) -> Void, onEnd: @escaping @Sendable () -> Void
    ) {
        self.eventLoop = eventLoop
        self.memory = memory
        self.maximumLength = maximumLength
        self.onFrame = onFrame
        self.onEnd = onEnd
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else { return }
        var bytes = unwrapInboundIn(data)
        buffer.writeBuffer(&bytes)
        do {
            while case .frame(let frame) = try GossipFrames.read(from: &buffer, maximumLength: maximumLength)
            {
                deliver(frame, context: context)
            }
        } catch {
            end(context: context, reset: .protocolViolation)
            return
        }
        buffer.discardReadBytes()
        if !reserveForRest() { end(context: context, reset: .resourceLimit) }
    }

    func read(context: ChannelHandlerContext) {
        if inFlight > Self.maximumInFlight {
            wantsRead = true
        } else {
            context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The peer has ended its stream: our side is closed too, so that the muxer can free it.
        if let event = event as? ChannelEvent, event == .inputClosed { end(context: context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(context: context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        memory.release(reserved)
        reserved = 0
    }

    private func deliver(_ frame: [UInt8], context: ChannelHandlerContext) {
        if eventLoop.inEventLoop {
            onFrame(frame)
            return
        }
        inFlight += frame.count
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let onFrame = onFrame
        let size = frame.count
        eventLoop.execute {
            onFrame(frame)
            handler.eventLoop.execute { handler.value.0.handled(size, context: handler.value.1) }
        }
    }

    private func handled(_ size: Int, context: ChannelHandlerContext) {
        inFlight -= size
        if wantsRead, inFlight <= Self.maximumInFlight {
            wantsRead = false
            context.read()
        }
    }

    /// Accounts for an unfinished frame.
    private func reserveForRest() -> Bool {
        let needed = buffer.readableBytes > Self.smallFrame ? buffer.readableBytes : 0
        if needed > reserved {
            guard memory.reserve(needed - reserved) else { return false }
        } else {
            memory.release(reserved - needed)
        }
        reserved = needed
        // A large frame's memory is given back with it.
        if needed == 0, buffer.capacity > 4 * Self.smallFrame { buffer = ByteBuffer(buffer: buffer.slice()) }
        return true
    }

    private func end(context: ChannelHandlerContext, reset: StreamReset? = nil) {
        guard !hasEnded else { return }
        hasEnded = true
        buffer = ByteBuffer()
        memory.release(reserved)
        reserved = 0
        if let reset { context.triggerUserOutboundEvent(reset, promise: nil) }
        context.close(promise: nil)
        let onEnd = onEnd
        if eventLoop.inEventLoop { onEnd() } else { eventLoop.execute { onEnd() } }
    }
}

/// Watches our own stream to a peer, on which the peer has nothing to say: when it ends or breaks.
final class OutboundGossipHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let eventLoop: any EventLoop
    private let onEnd: @Sendable () -> Void
    private var hasEnded = false

    /// `onEnd` is called on `eventLoop`.
    init(eventLoop: any EventLoop, onEnd: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.onEnd = onEnd
    }

    /// What a peer says here means nothing.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { end(context: context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(context: context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(context: context)
    }

    private func end(context: ChannelHandlerContext) {
        guard !hasEnded else { return }
        hasEnded = true
        context.close(promise: nil)
        let onEnd = onEnd
        if eventLoop.inEventLoop { onEnd() } else { eventLoop.execute { onEnd() } }
    }
}
