internal import LibP2P
internal import Multiformats
internal import NIOCore

/// Cuts what a peer sends into frames and hands them over one after the other. It stops reading while
/// frames wait to be handled, so a peer cannot fill the memory between two loops. It never writes.
final class InboundGossipHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    /// A buffer of more than this is not kept when it is empty.
    private static let smallFrame = 65_536
    /// Bytes handed over and not yet handled beyond which reading stops.
    private static let maximumInFlight = 262_144

    private let eventLoop: any EventLoop
    private let memory: ConnectionMemory?
    private var hold: MemoryHold
    private let maximumLength: Int
    private let onFrame: @Sendable ([UInt8]) -> Void
    private let onEnd: @Sendable () -> Void
    private var buffer = ByteBuffer()
    private var inFlight = 0
    private var wantsRead = false
    private var hasEnded = false

    /// Handlers are called on `eventLoop`. Frames that are not complete, or not handled yet, are reserved from
    /// `memory`, the account of the peer's connection, which also knows how long they may be.
    init(
        eventLoop: any EventLoop, memory: ConnectionMemory?, maximumLength: Int,
        onFrame: @escaping @Sendable ([UInt8]) -> Void, onEnd: @escaping @Sendable () -> Void
    ) {
        self.eventLoop = eventLoop
        self.memory = memory
        self.hold = MemoryHold(memory)
        self.maximumLength = maximumLength
        self.onFrame = onFrame
        self.onEnd = onEnd
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else { return }
        var bytes = unwrapInboundIn(data)
        buffer.writeBuffer(&bytes)
        do {
            let longest = min(maximumLength, memory?.limits.frameBytes ?? .max)
            while case .frame(let frame) = try GossipFrames.read(from: &buffer, maximumLength: longest) {
                deliver(frame, context: context)
            }
        } catch {
            end(context: context, reset: isTooLong(error) ? .resourceLimit : .protocolViolation)
            return
        }
        buffer.discardReadBytes()
        if !reserveForRest() { end(context: context, reset: .resourceLimit) }
    }

    /// Whether a frame would do but for the peer's standing.
    private func isTooLong(_ error: any Error) -> Bool {
        guard case WireError.tooLong(let length, _) = error else { return false }
        return length <= UInt64(clamping: maximumLength)
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
        _ = hold.set(0)
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
        if !hasEnded { _ = hold.set(buffer.readableBytes + inFlight) }
        if wantsRead, inFlight <= Self.maximumInFlight {
            wantsRead = false
            context.read()
        }
    }

    /// Accounts for an unfinished frame, and for those that wait to be handled.
    private func reserveForRest() -> Bool {
        guard hold.set(buffer.readableBytes + inFlight) else { return false }
        // A large frame's memory is given back with it.
        if buffer.readableBytes == 0, buffer.capacity > 4 * Self.smallFrame {
            buffer = ByteBuffer(buffer: buffer.slice())
        }
        return true
    }

    private func end(context: ChannelHandlerContext, reset: StreamReset? = nil) {
        guard !hasEnded else { return }
        hasEnded = true
        buffer = ByteBuffer()
        _ = hold.set(0)
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
