package import LibP2P
internal import NIOCore

extension ProtocolID {
    /// Keys for datagrams between our nodes.
    package static let kairosDatagram: ProtocolID = "/kairos/datagram/1.0.0"
}

/// One end of a stream of `/kairos/datagram/1.0.0`: one message each way, then the stream ends.
final class DatagramHandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How long the other end may take.
    private static let patience = TimeAmount.seconds(5)

    /// What the opener says first; nil at the answering end.
    private let opening: DatagramHello?
    /// Takes the other end's message; returns the answer, which the opener has none of. Nil: no agreement.
    private let onHello: (DatagramHello) -> Answer?
    private let onEnd: () -> Void
    private var received = ByteBuffer()
    private var isDone = false
    private var timeout: Scheduled<Void>?

    enum Answer {
        case reply(DatagramHello)
        case nothing
    }

    init(
        opening: DatagramHello?, onHello: @escaping (DatagramHello) -> Answer?,
        onEnd: @escaping () -> Void = {}
    ) {
        self.opening = opening
        self.onHello = onHello
        self.onEnd = onEnd
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if let opening { send(opening, context) }
        let channel = context.channel
        timeout = context.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
    }

    private func send(_ hello: DatagramHello, _ context: ChannelHandlerContext) {
        context.writeAndFlush(
            wrapOutboundOut(context.channel.allocator.buffer(bytes: hello.bytes)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDone else { return }
        let bytes = unwrapInboundIn(data)
        // One short message is all that may come.
        guard received.readableBytes + bytes.readableBytes <= DatagramHello.length + 1 else {
            return context.close(promise: nil)
        }
        received.writeImmutableBuffer(bytes)
        guard let length = received.getInteger(at: received.readerIndex, as: UInt8.self) else { return }
        guard Int(length) == DatagramHello.length else { return context.close(promise: nil) }
        guard let message = received.getBytes(at: received.readerIndex + 1, length: Int(length)) else {
            return
        }
        isDone = true
        guard let hello = DatagramHello(message), let answer = onHello(hello) else {
            return context.close(promise: nil)
        }
        if case .reply(let reply) = answer {
            send(reply, context)
            context.close(mode: .output, promise: nil)
        } else {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timeout?.cancel()
        timeout = nil
        onEnd()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
