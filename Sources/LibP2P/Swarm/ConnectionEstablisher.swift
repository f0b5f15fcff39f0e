internal import Multiformats
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Timing

/// A connection whose handshake is complete and whose streams wait until the swarm takes it.
struct EstablishedConnection: Sendable {
    let peer: PeerID
    let info: ConnectionInfo
    let channel: any Channel
    let muxer: YamuxMuxer
    let memory: ConnectionMemory
    /// Completed when the swarm takes the connection: streams that the peer opened go on then.
    let taken: EventLoopPromise<Void>

    /// Closes the connection untaken.
    func reject(_ reason: DisconnectReason) {
        taken.fail(StreamReset.gated)
        muxer.close(code: reason.goAwayCode)
        channel.close(promise: nil)
    }
}

/// Runs the upgrade of raw channels of either direction, on their loops.
struct ConnectionEstablisher: Sendable {
    private var upgrader: ConnectionUpgrader
    private let protocols: ProtocolTable
    private let limits: SwarmLimits
    private let streamTimeout: TimeAmount
    private let roundTrips: RoundTripRelay
    private let budget: MemoryBudget
    private let lastID = NIOLockedValueBox<UInt64>(0)

    init(
        upgrader: ConnectionUpgrader, protocols: ProtocolTable, limits: SwarmLimits, timings: SwarmTimings,
        roundTrips: RoundTripRelay, budget: MemoryBudget
    ) {
        self.budget = budget
        self.upgrader = upgrader
        self.protocols = protocols
        self.limits = limits
        self.streamTimeout = .nanoseconds(timings.streamNegotiationTimeout.wholeNanoseconds)
        self.roundTrips = roundTrips
    }

    /// The same with one of the security protocols alone; nil when it is none of them.
    func with(_ name: ProtocolID) -> ConnectionEstablisher? {
        guard let security = upgrader.security.first(where: { $0.protocolID == name }) else { return nil }
        var copy = self
        copy.upgrader = ConnectionUpgrader(
            security: [security], yamuxConfiguration: upgrader.yamuxConfiguration, clock: upgrader.clock)
        return copy
    }

    /// Secures and muxes `channel` within `timeout`; closes it on failure. On the channel's loop.
    func establish(
        _ channel: any Channel, _ direction: ConnectionDirection, expectedPeer: PeerID?, timeout: TimeAmount
    ) -> EventLoopFuture<EstablishedConnection> {
        guard let remote = channel.remoteAddress?.tcpMultiaddr, let local = channel.localAddress?.tcpMultiaddr
        else {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(SwarmError.refused("the connection is gone"))
        }
        let id = nextID()
        let taken = channel.eventLoop.makePromise(of: Void.self)
        let memory = ConnectionMemory(budget: budget, standing: limits.newcomers)
        let (protocols, limits, streamTimeout, roundTrips) = (protocols, limits, streamTimeout, roundTrips)
        let knownPeer = NIOLockedValueBox<PeerID?>(nil)
        return upgrader.upgrade(
            channel, direction: direction, expectedPeer: expectedPeer, timeout: timeout, memory: memory,
            streams: { session in
                knownPeer.withLockedValue { $0 = session.remotePeer }
                let streams = NIOLoopBound(
                    InboundStreams(
                        peer: session.remotePeer, connection: id, protocols: protocols, limits: limits,
                        memory: memory, timeout: streamTimeout),
                    eventLoop: channel.eventLoop)
                return { stream in taken.futureResult.flatMap { streams.value.setUp(stream) } }
            },
            onEvent: { event in
                guard case .roundTrip(let elapsed) = event, let peer = knownPeer.withLockedValue({ $0 })
                else { return }
                roundTrips.report(peer, elapsed)
            }
        ).map { result in
            EstablishedConnection(
                peer: result.session.remotePeer,
                info: ConnectionInfo(
                    id: id, direction: direction, remoteAddress: remote, localAddress: local,
                    channelBinding: result.session.channelBinding),
                channel: channel, muxer: result.muxer, memory: memory, taken: taken)
        }.flatMapErrorThrowing { error in
            taken.fail(error)
            throw error
        }
    }

    private func nextID() -> ConnectionID {
        lastID.withLockedValue { last in
            last += 1
            return ConnectionID(rawValue: last)
        }
    }
}

/// Takes measured round trips from the loops of the connections to the swarm's loop.
final class RoundTripRelay: Sendable {
    private let eventLoop: any EventLoop
    private let receiver = NIOLockedValueBox<(@Sendable (PeerID, Duration) -> Void)?>(nil)

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Sets who hears of round trips, on the swarm's loop.
    func onRoundTrip(_ body: @escaping @Sendable (PeerID, Duration) -> Void) {
        receiver.withLockedValue { $0 = body }
    }

    func report(_ peer: PeerID, _ elapsed: Duration) {
        guard let body = receiver.withLockedValue({ $0 }) else { return }
        eventLoop.execute { body(peer, elapsed) }
    }
}

/// Takes accepted sockets through the gate and the handshake; on their own loops.
struct InboundAcceptor: Sendable {
    let gate: InboundGate
    let underWay: WorkUnderWay
    let establisher: ConnectionEstablisher
    /// The swarm's loop, on which `take` is called.
    let eventLoop: any EventLoop
    let timeout: TimeAmount
    let take: @Sendable (EstablishedConnection) -> Void

    /// Sets up one accepted socket.
    @Sendable func accept(_ channel: any Channel) -> EventLoopFuture<Void> {
        guard let remote = channel.remoteAddress?.ip,
            let pass = gate.enter(
                remote: remote, local: channel.localAddress?.ip, close: { channel.close(promise: nil) })
        else {
            return channel.eventLoop.makeFailedFuture(SwarmError.refused("a network that is blocked"))
        }
        guard underWay.begin() else {
            gate.leave(pass)
            return channel.eventLoop.makeFailedFuture(SwarmError.shutDown)
        }
        underWay.add(channel)
        let (gate, underWay, eventLoop, take) = (gate, underWay, eventLoop, take)
        establisher.establish(channel, .inbound, expectedPeer: nil, timeout: timeout).whenComplete { result in
            gate.leave(pass)
            eventLoop.execute {
                if case .success(let connection) = result { take(connection) }
                underWay.end()
            }
        }
        return channel.eventLoop.makeSucceededVoidFuture()
    }
}
