internal import NIOCore

/// Negotiates the streams that the peer of one connection opens, within limits, and hands them to
/// the handlers of their protocols. Lives on the connection's loop.
final class InboundStreams {
    private let peer: PeerID
    private let connection: ConnectionID
    private let protocols: ProtocolTable
    private let limits: SwarmLimits
    private let memory: ConnectionMemory
    private let timeout: TimeAmount
    private var negotiating = 0
    private var open: [ProtocolID: Int] = [:]

    init(
        peer: PeerID, connection: ConnectionID, protocols: ProtocolTable, limits: SwarmLimits,
        memory: ConnectionMemory, timeout: TimeAmount
    ) {
        self.memory = memory
        self.peer = peer
        self.connection = connection
        self.protocols = protocols
        self.limits = limits
        self.timeout = timeout
    }

    /// Sets up the pipeline of one stream that the peer opened.
    func setUp(_ channel: any Channel) -> EventLoopFuture<Void> {
        guard negotiating < limits.negotiatingStreamsPerPeer else {
            return channel.eventLoop.makeFailedFuture(StreamReset.resourceLimit)
        }
        negotiating += 1
        let negotiated = channel.eventLoop.makePromise(of: ProtocolID.self)
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        negotiated.futureResult.whenComplete { result in
            bound.value.negotiating -= 1
            if case .failure(let error) = result {
                let reason = (error as? StreamReset) ?? .negotiationFailed
                channel.triggerUserOutboundEvent(reason, promise: nil)
            }
        }
        let handler = MultistreamHandler(
            MultistreamListener(supported: protocols.names), timeout: timeout, negotiated: negotiated
        ) { name, channel in
            bound.value.serve(name, channel)
        }
        do {
            try channel.pipeline.syncOperations.addHandler(handler)
        } catch {
            negotiated.fail(error)
        }
        return channel.eventLoop.makeSucceededVoidFuture()
    }

    private func serve(_ name: ProtocolID, _ channel: any Channel) -> EventLoopFuture<Void> {
        guard let handler = protocols.handler(for: name) else {
            return channel.eventLoop.makeFailedFuture(StreamReset.negotiationFailed)
        }
        guard open[name, default: 0] < limits.inboundStreamsPerProtocol else {
            return channel.eventLoop.makeFailedFuture(StreamReset.resourceLimit)
        }
        open[name, default: 0] += 1
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        channel.closeFuture.whenComplete { _ in bound.value.closed(name) }
        return handler(
            NegotiatedStream(
                channel: channel, protocolID: name, peer: peer, connection: connection, memory: memory))
    }

    private func closed(_ name: ProtocolID) {
        guard let count = open[name] else { return }
        open[name] = count > 1 ? count - 1 : nil
    }
}
