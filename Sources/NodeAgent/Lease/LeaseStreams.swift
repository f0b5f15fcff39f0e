internal import Coordination
internal import LibP2P
internal import NIOCore
internal import Timing

/// Messages of `/kairos/lease/1.0.0` to and from other servers: one stream for each direction of a
/// pair, opened with the first message and kept. Belongs to the host's event loop.
final class LeaseStreams {
    static let protocolID: ProtocolID = "/kairos/lease/1.0.0"
    /// Messages that wait for a stream to one peer; older ones say nothing that newer ones do not.
    private static let mostWaiting = 8
    private static let mostInbound = 2
    /// What one peer may say: a holder sends some two messages a second.
    private static let burst = 60
    private static let perSecond = 30.0

    private struct Outbound {
        let number: UInt64
        var channel: (any Channel)?
        var waiting: [LeaseMessage] = []
    }

    private let host: any Host
    private let time: any TimeSource
    private let isAdmitted: (PeerID) -> Bool
    private let received: (PeerID, LeaseMessage) -> Void
    private var outbound: [PeerID: Outbound] = [:]
    private var inbound: [PeerID: [(number: UInt64, channel: any Channel)]] = [:]
    private var budgets: [PeerID: TokenBucket] = [:]
    private var number: UInt64 = 0

    init(
        host: any Host, time: any TimeSource, isAdmitted: @escaping (PeerID) -> Bool,
        received: @escaping (PeerID, LeaseMessage) -> Void
    ) {
        self.host = host
        self.time = time
        self.isAdmitted = isAdmitted
        self.received = received
    }

    func start() {
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        host.setHandler(for: Self.protocolID) { stream in
            let (peer, channel) = (stream.peer, stream.channel)
            return loop.submit { streams.value.accept(channel, from: peer) }
                .hop(to: channel.eventLoop)
                .flatMapThrowing { number in
                    guard let number else { throw ChannelError.eof }
                    try channel.pipeline.syncOperations.addHandler(
                        LeaseMessageDecoder(
                            message: { message in
                                loop.execute { streams.value.message(message, from: peer) }
                            },
                            closed: { loop.execute { streams.value.ended(number, from: peer) } }))
                }
        }
    }

    func stop() {
        host.removeHandler(for: Self.protocolID)
        retain([])
    }

    /// Closes the streams of all peers but these.
    func retain(_ peers: Set<PeerID>) {
        for peer in outbound.keys where !peers.contains(peer) {
            outbound.removeValue(forKey: peer)?.channel?.close(promise: nil)
        }
        for peer in inbound.keys where !peers.contains(peer) {
            for stream in inbound.removeValue(forKey: peer) ?? [] { stream.channel.close(promise: nil) }
        }
        budgets = budgets.filter { peers.contains($0.key) }
    }

    func send(_ message: LeaseMessage, to peer: PeerID) {
        guard isAdmitted(peer) else { return }
        if outbound[peer] == nil { open(to: peer) }
        if let channel = outbound[peer]?.channel {
            // A peer that does not read gets nothing more until it does.
            guard channel.isWritable else { return }
            channel.writeAndFlush(ByteBuffer(bytes: message.bytes), promise: nil)
        } else {
            outbound[peer]?.waiting.append(message)
            if let count = outbound[peer]?.waiting.count, count > Self.mostWaiting {
                outbound[peer]?.waiting.removeFirst()
            }
        }
    }

    private func open(to peer: PeerID) {
        number += 1
        let number = number
        outbound[peer] = Outbound(number: number)
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        host.openStream(to: peer, protocols: [Self.protocolID]) { stream in
            let channel = stream.channel
            return channel.eventLoop.makeCompletedFuture {
                // Nothing comes back on this stream: the peer answers on one of its own.
                try channel.pipeline.syncOperations.addHandler(
                    LeaseMessageDecoder(
                        message: nil, closed: { loop.execute { streams.value.lost(number, to: peer) } }))
            }
        }.hop(to: loop).whenComplete { result in
            switch result {
            case .success(let channel): streams.value.opened(channel, number, to: peer)
            case .failure: streams.value.lost(number, to: peer)
            }
        }
    }

    private func opened(_ channel: any Channel, _ number: UInt64, to peer: PeerID) {
        guard outbound[peer]?.number == number else {
            channel.close(promise: nil)
            return
        }
        outbound[peer]?.channel = channel
        for message in outbound[peer]?.waiting ?? [] {
            channel.writeAndFlush(ByteBuffer(bytes: message.bytes), promise: nil)
        }
        outbound[peer]?.waiting = []
    }

    private func lost(_ number: UInt64, to peer: PeerID) {
        guard outbound[peer]?.number == number else { return }
        outbound.removeValue(forKey: peer)?.channel?.close(promise: nil)
    }

    private func accept(_ channel: any Channel, from peer: PeerID) -> UInt64? {
        guard isAdmitted(peer) else { return nil }
        number += 1
        inbound[peer, default: []].append((number, channel))
        if let streams = inbound[peer], streams.count > Self.mostInbound {
            streams[0].channel.close(promise: nil)
            inbound[peer]?.removeFirst()
        }
        return number
    }

    private func message(_ message: LeaseMessage, from peer: PeerID) {
        guard isAdmitted(peer), inbound[peer] != nil else { return }
        let now = time.now()
        var budget =
            budgets[peer] ?? TokenBucket(capacity: Self.burst, refillPerSecond: Self.perSecond, at: now)
        let isWithin = budget.take(at: now)
        budgets[peer] = budget
        if isWithin { received(peer, message) }
    }

    private func ended(_ number: UInt64, from peer: PeerID) {
        inbound[peer]?.removeAll { $0.number == number }
        guard inbound[peer]?.isEmpty == true else { return }
        inbound[peer] = nil
        budgets[peer] = nil
    }
}

/// Cuts a stream into lease messages, which all have one length. Bytes that are none close it.
final class LeaseMessageDecoder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// Nil where nothing may come.
    private let message: (@Sendable (LeaseMessage) -> Void)?
    private let closed: @Sendable () -> Void
    private var buffer = ByteBuffer()
    private var isClosed = false

    init(message: (@Sendable (LeaseMessage) -> Void)?, closed: @escaping @Sendable () -> Void) {
        self.message = message
        self.closed = closed
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosed else { return }
        buffer.writeImmutableBuffer(unwrapInboundIn(data))
        while !isClosed, let bytes = buffer.readBytes(length: LeaseMessage.length) {
            if let message, let read = LeaseMessage(bytes) {
                message(read)
            } else {
                end(context)
            }
        }
        buffer.discardReadBytes()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { end(context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context) }

    private func end(_ context: ChannelHandlerContext?) {
        guard !isClosed else { return }
        isClosed = true
        buffer.clear()
        closed()
        context?.close(promise: nil)
    }
}
