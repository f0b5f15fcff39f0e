package import LibP2P
package import Logging
internal import NIOCore
package import Timing

/// Runs the admission protocol over a host: opens and answers its streams, and tells who is in.
/// All state lives on the host's event loop.
package final class AdmissionService: Sendable {
    package static let protocolID: ProtocolID = "/kairos/admission/1.0.0"

    private let host: any Host
    private let prover: AdmissionProof
    private let time: any TimeSource
    private let logger: Logger
    private let state: NIOLoopBoundBox<State>

    private struct State {
        var core: AdmissionCore
        /// The bindings of the peers' connections, to check a run on whichever carries its stream.
        var bindings: [PeerID: [ConnectionID: [UInt8]]] = [:]
        var timer: Scheduled<Void>?
        var onAdmitted: @Sendable (PeerID) -> Void = { _ in }
        var onDismissed: @Sendable (PeerID) -> Void = { _ in }
    }

    /// Makes the service. Must be called on the host's event loop, as must `start` and `admitted`.
    package init(host: any Host, proof: AdmissionProof, time: any TimeSource, logger: Logger) {
        self.host = host
        self.prover = proof
        self.time = time
        self.logger = logger
        self.state = NIOLoopBoundBox(
            State(core: AdmissionCore(localPeer: host.localPeer)), eventLoop: host.eventLoop)
    }

    /// The peers that are admitted and connected.
    package var admitted: Set<PeerID> { state.value.core.admitted }

    /// How many runs have failed since the start.
    package var refusals: Int { state.value.core.refusals }

    /// Begins to serve and to ask. The callbacks come on the host's event loop.
    package func start(
        onAdmitted: @escaping @Sendable (PeerID) -> Void, onDismissed: @escaping @Sendable (PeerID) -> Void
    ) {
        state.value.onAdmitted = onAdmitted
        state.value.onDismissed = onDismissed
        host.setHandler(for: Self.protocolID) { [self] stream in install(on: stream, role: .responder) }
        host.addObserver { [self] event in observe(event) }
    }

    private func observe(_ event: SwarmEvent) {
        switch event {
        case .peerConnected(let peer, let info):
            state.value.bindings[peer] = [info.id: info.channelBinding]
            feed(.connected(peer))
        case .connectionAdded(let peer, let info):
            state.value.bindings[peer, default: [:]][info.id] = info.channelBinding
        case .connectionRemoved(let peer, let connection):
            state.value.bindings[peer]?[connection] = nil
        case .peerIdentified(let peer, let information):
            feed(.identified(peer, speaksAdmission: information.protocols.contains(Self.protocolID)))
        case .peerDisconnected(let peer):
            state.value.bindings[peer] = nil
            feed(.disconnected(peer))
        case .listening, .roundTrip, .dialFailed:
            break
        }
    }

    private func feed(_ input: AdmissionCore.Input) {
        for effect in state.value.core.receive(input, at: time.now()) {
            switch effect {
            case .open(let peer):
                host.openStream(to: peer, protocols: [Self.protocolID]) { [self] stream in
                    install(on: stream, role: .opener)
                }.hop(to: host.eventLoop).whenFailure { [self] error in
                    logger.debug(
                        "admission stream failed", metadata: ["peer": "\(peer)", "reason": "\(error)"])
                }
            case .admitted(let peer):
                state.value.onAdmitted(peer)
            case .dismissed(let peer):
                state.value.onDismissed(peer)
            case .disconnect(let peer):
                logger.warning(
                    "peer does not know the network token",
                    metadata: ["peer": "\(peer)", "remedy": "give every node the same p2p.network_token"])
                host.disconnect(peer, reason: .gated)
            }
        }
        schedule()
    }

    private func schedule() {
        state.value.timer?.cancel()
        state.value.timer = nil
        guard let deadline = state.value.core.nextDeadline else { return }
        let delay = max(.zero, deadline - time.now())
        state.value.timer = host.eventLoop.scheduleTask(in: .nanoseconds(delay.wholeNanoseconds)) { [self] in
            feed(.tick)
        }
    }

    private func install(on stream: NegotiatedStream, role: AdmissionProof.Role) -> EventLoopFuture<Void> {
        host.eventLoop.flatSubmit { [self] () -> EventLoopFuture<[UInt8]> in
            guard let binding = state.value.bindings[stream.peer]?[stream.connection] else {
                return host.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
            }
            return host.eventLoop.makeSucceededFuture(binding)
        }.hop(to: stream.channel.eventLoop).flatMapThrowing { [self] binding in
            let exchange = AdmissionExchange(
                prover: prover, role: role, local: host.localPeer, remote: stream.peer,
                channelBinding: binding)
            let handler = AdmissionHandler(exchange) { [self] outcome in
                host.eventLoop.execute { [self] in
                    switch outcome {
                    case .admitted: feed(.admitted(stream.peer))
                    case .refused(let reason): feed(.refused(stream.peer, reason))
                    }
                }
            }
            try stream.channel.pipeline.syncOperations.addHandler(handler)
        }
    }
}

/// Carries out one `AdmissionExchange` on a stream, and ends it within ten seconds.
private final class AdmissionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Outcome: Sendable {
        case admitted
        case refused(AdmissionExchange.Refusal)
    }

    private static let deadline = TimeAmount.seconds(10)
    private var exchange: AdmissionExchange
    private let report: @Sendable (Outcome) -> Void
    private var timeout: Scheduled<Void>?

    init(_ exchange: AdmissionExchange, report: @escaping @Sendable (Outcome) -> Void) {
        self.exchange = exchange
        self.report = report
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timeout = context.eventLoop.scheduleTask(in: Self.deadline) { channel.close(promise: nil) }
        perform(exchange.start(), context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timeout?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(exchange.receive(unwrapInboundIn(data).readableBytesView), context: context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent { perform(exchange.end(), context: context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timeout?.cancel()
        perform(exchange.end(), context: context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func perform(_ effects: [AdmissionExchange.Effect], context: ChannelHandlerContext) {
        for effect in effects {
            switch effect {
            case .send(let bytes):
                context.writeAndFlush(
                    wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)), promise: nil)
            case .admit:
                report(.admitted)
                // Only our half: the other end may still be reading what we sent.
                context.close(mode: .output, promise: nil)
            case .refuse(let reason):
                report(.refused(reason))
                context.close(promise: nil)
            }
        }
    }
}
