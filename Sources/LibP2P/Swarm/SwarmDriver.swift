internal import Logging
internal import Multiformats
internal import NIOCore
internal import Timing

/// Carries out what `SwarmCore` decides: sockets, handshakes, streams, timers, observers. All of it
/// on one loop; connections live on others.
final class SwarmDriver {
    let eventLoop: any EventLoop
    let configuration: SwarmConfiguration
    let protocols: ProtocolTable
    let gate: InboundGate
    let log: Logger
    var identifyState: IdentifyState
    var connections: [ConnectionID: SwarmConnection] = [:]
    var information: [PeerID: PeerInformation] = [:]
    var pushTimer: Scheduled<Void>?
    var lastPush = Instant.zero
    /// Who is asked to connect to peers on demand.
    var connector: (@Sendable (PeerID) -> EventLoopFuture<Void>?)?
    /// Is told of connections whose other end has proven this node's own key, right before they are closed.
    var ownKeySeen: (@Sendable (ConnectionInfo) -> Void)?
    private(set) var isShutDown = false

    private let identity: Identity
    private let group: any EventLoopGroup
    private let transport: TCPTransport
    private let establisher: ConnectionEstablisher
    private let underWay: WorkUnderWay
    private var core: SwarmCore
    private var observers: [@Sendable (SwarmEvent) -> Void] = []
    private var listeners: [any Channel] = []
    private var attempts: [SwarmCore.AttemptID: (any Channel)?] = [:]
    private var dials: [PeerID: [EventLoopPromise<Void>]] = [:]
    private let roundTrips: RoundTripRelay
    private var timer: Scheduled<Void>?
    private var timerDeadline = Instant.distantFuture
    private var wakeUp = WakeUp("SwarmCore")
    private var blocklist = AddressBlocklist()
    private var addressWatch: AddressWatch?

    init(
        identity: Identity, security: [any SecurityProtocol], group: any EventLoopGroup, loop: any EventLoop,
        configuration: SwarmConfiguration, protocols: ProtocolTable, gate: InboundGate
    ) {
        self.eventLoop = loop
        self.identity = identity
        self.group = group
        self.configuration = configuration
        self.protocols = protocols
        self.gate = gate
        self.log = Logger(label: "swarm")
        self.transport = TCPTransport(group: group)
        self.underWay = WorkUnderWay(eventLoop: loop)
        let roundTrips = RoundTripRelay(eventLoop: loop)
        self.roundTrips = roundTrips
        self.establisher = ConnectionEstablisher(
            upgrader: ConnectionUpgrader(
                security: security, yamuxConfiguration: configuration.yamux, clock: configuration.clock),
            protocols: protocols, limits: configuration.limits, timings: configuration.timings,
            roundTrips: roundTrips, budget: configuration.memory)
        self.core = SwarmCore(
            localPeer: identity.peerID, limits: configuration.limits, timings: configuration.timings,
            seed: configuration.seed)
        self.identifyState = IdentifyState(
            publicKey: identity.publicKey.bytes, agentVersion: configuration.agentVersion)
    }

    var now: Instant { configuration.clock.now() }

    /// Registers the swarm's own protocols and begins to watch the interfaces.
    func start() {
        registerOwnProtocols()
        _ = identifyState.setProtocols(protocols.names)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        roundTrips.onRoundTrip { bound.value.emit(.roundTrip($0, $1)) }
        addressWatch = AddressWatch(eventLoop: eventLoop) { bound.value.addressesMayHaveChanged() }
    }

    // MARK: - Observers

    func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void) {
        observer(.listening(listenAddresses))
        for peer in core.connectedPeers {
            for (index, info) in core.connections(to: peer).enumerated() {
                observer(index == 0 ? .peerConnected(peer, info) : .connectionAdded(peer, info))
            }
            if let known = information[peer] { observer(.peerIdentified(peer, known)) }
        }
        observers.append(observer)
    }

    func emit(_ event: SwarmEvent) {
        for observer in observers { observer(event) }
    }

    // MARK: - The core

    func receive(_ input: SwarmCore.Input) {
        for effect in core.receive(input, at: now) { perform(effect) }
        schedule()
    }

    private func perform(_ effect: SwarmCore.Effect) {
        switch effect {
        case .dial(let attempt, let peer, let address, let timeout): start(attempt, peer, address, timeout)
        case .cancel(let attempt):
            if let channel = attempts.removeValue(forKey: attempt) { channel?.close(promise: nil) }
        case .dialEnded(let peer, let error): dialEnded(peer, error)
        case .accepted(let peer, let info, let isFirst): accepted(peer, info, isFirst: isFirst)
        case .refuse(let connection, let reason):
            connections.removeValue(forKey: connection)?.reject(reason)
        case .close(let connection, let reason):
            connections[connection]?.close(reason)
        case .removed(let peer, let connection, let isLast): removed(peer, connection, isLast: isLast)
        case .standing(let peer, let standing): changed(peer, standing)
        }
    }

    private func schedule() {
        let deadline = core.nextDeadline
        guard deadline != timerDeadline || timer == nil else { return }
        timer?.cancel()
        timer = nil
        guard let plan = wakeUp.next(deadline, at: now), let deadline else { return }
        if let warning = plan.warning { log.warning("\(warning)") }
        timerDeadline = deadline
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) {
            bound.value.timer = nil
            bound.value.wakeUp.fired()
            bound.value.receive(.tick)
        }
    }

    // MARK: - Dialling

    func dial(
        _ peer: PeerID, _ addresses: [Multiaddr], as dialClass: DialClass
    ) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        dials[peer, default: []].append(promise)
        receive(.dial(peer, addresses: addresses, as: dialClass))
        return promise.futureResult
    }

    private func dialEnded(_ peer: PeerID, _ error: SwarmError?) {
        let promises = dials.removeValue(forKey: peer) ?? []
        for promise in promises {
            if let error { promise.fail(error) } else { promise.succeed() }
        }
        if let error, !isShutDown {
            log.debug("dial failed", metadata: ["peer": "\(peer)", "reason": "\(error)"])
            emit(.dialFailed(peer, reason: "\(error)"))
        }
    }

    private func start(
        _ attempt: SwarmCore.AttemptID, _ peer: PeerID, _ address: Multiaddr, _ timeout: Duration
    ) {
        guard underWay.begin() else { return }
        attempts[attempt] = .some(nil)
        let (establisher, underWay) = (establisher, underWay)
        let limit = TimeAmount.nanoseconds(timeout.wholeNanoseconds)
        let began = now
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        transport.dial(address, timeout: timeout, on: group.next(), opened: underWay.add).hop(
            to: eventLoop
        ).flatMap { channel in
            let driver = bound.value
            guard driver.attempts[attempt] != nil else {
                channel.close(promise: nil)
                return driver.eventLoop.makeFailedFuture(SwarmError.refused("given up"))
            }
            driver.attempts[attempt] = .some(channel)
            let rest = limit - .nanoseconds((driver.now - began).wholeNanoseconds)
            return channel.eventLoop.flatSubmit {
                establisher.establish(channel, .outbound, expectedPeer: peer, timeout: rest)
            }.hop(to: driver.eventLoop)
        }.whenComplete { (result: Result<EstablishedConnection, any Error>) in
            let driver = bound.value
            let isWanted = driver.attempts.removeValue(forKey: attempt) != nil
            switch result {
            case .success(let connection):
                if isWanted {
                    driver.take(connection, attempt: attempt)
                } else {
                    connection.reject(.supplanted)
                }
            case .failure(let error):
                if isWanted { driver.receive(.attemptFailed(attempt, reason: "\(error)")) }
            }
            underWay.end()
        }
    }

    /// Connects to `address` if this node's own key is there, and closes the connection again: a machine with a copy
    /// of the key learns of this one by it, and tells by the binding whether it was this node itself.
    ///
    /// With TLS alone: there the end that dials is done first, with nothing left to wait for. So a node that was
    /// led back to itself always knows the binding of its own connection before the other end of it is done.
    func lookForOwnKey(at address: Multiaddr) {
        guard !isShutDown, let establisher = establisher.with(TLSSecurity.name), !blocklist.blocks(address),
            underWay.begin()
        else { return }
        let peer = identity.peerID
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        transport.dial(address, timeout: .seconds(5), on: group.next(), opened: underWay.add)
            .flatMap { channel in
                channel.eventLoop.flatSubmit {
                    establisher.establish(channel, .outbound, expectedPeer: peer, timeout: .seconds(5))
                }
            }.hop(to: eventLoop).whenComplete { (result: Result<EstablishedConnection, any Error>) in
                let driver = bound.value
                if case .success(let connection) = result {
                    driver.ownKeySeen?(connection.info)
                    connection.reject(.gated)
                }
                driver.underWay.end()
            }
    }

    // MARK: - Listening

    var listenAddresses: [Multiaddr] { identifyState.listenAddresses }

    func listen(on addresses: [Multiaddr]) -> EventLoopFuture<[Multiaddr]> {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let acceptor = InboundAcceptor(
            gate: gate, underWay: underWay, establisher: establisher, eventLoop: eventLoop,
            timeout: .nanoseconds(configuration.timings.inboundUpgradeTimeout.wholeNanoseconds)
        ) { bound.value.take($0, attempt: nil) }
        let binds = addresses.map { address in transport.listen(address, accept: acceptor.accept) }
        return EventLoopFuture.whenAllComplete(binds, on: eventLoop).flatMapThrowing { results in
            try bound.value.bound(Array(zip(addresses, results)))
        }
    }

    private func bound(_ results: [(Multiaddr, Result<any Channel, any Error>)]) throws -> [Multiaddr] {
        var failure: (any Error)?
        var isBound = false
        for (address, result) in results {
            switch result {
            case .success(let channel):
                isBound = true
                if isShutDown { channel.close(promise: nil) } else { listeners.append(channel) }
            case .failure(let error):
                failure = error
                log.warning("cannot listen", metadata: ["address": "\(address)", "reason": "\(error)"])
            }
        }
        if let failure, !isBound { throw failure }
        addressesMayHaveChanged()
        return listenAddresses
    }

    /// Looks at the interfaces again and tells observers and peers when something changed.
    func addressesMayHaveChanged() {
        guard !isShutDown else { return }
        let interfaces = InterfaceAddresses.all()
        var addresses: [Multiaddr] = []
        for listener in listeners {
            guard let local = listener.localAddress?.tcpMultiaddr else { continue }
            for address in InterfaceAddresses.resolve(local, interfaces: interfaces)
            where !blocklist.blocks(address) && !addresses.contains(address) {
                addresses.append(address)
            }
        }
        guard identifyState.setListenAddresses(addresses) else { return }
        emit(.listening(addresses))
        schedulePush()
    }

    func block(_ blocklist: AddressBlocklist) {
        self.blocklist = blocklist
        gate.block(blocklist)
        receive(.block(blocklist))
        addressesMayHaveChanged()
    }

    func protocolsChanged() {
        if identifyState.setProtocols(protocols.names) { schedulePush() }
    }

    // MARK: - Connections

    func connections(to peer: PeerID) -> [ConnectionInfo] {
        core.connections(to: peer)
    }

    func preferredConnection(to peer: PeerID) -> SwarmConnection? {
        core.preferredConnection(to: peer).flatMap { connections[$0] }
    }

    /// Offers an upgraded connection to the core.
    private func take(_ connection: EstablishedConnection, attempt: SwarmCore.AttemptID?) {
        if connection.peer == identity.peerID { ownKeySeen?(connection.info) }
        let entry = SwarmConnection(connection)
        connections[entry.info.id] = entry
        receive(.opened(entry.peer, entry.info, attempt: attempt))
    }

    private func accepted(_ peer: PeerID, _ info: ConnectionInfo, isFirst: Bool) {
        guard let connection = connections[info.id] else { return }
        log.debug(
            "connected",
            metadata: [
                "peer": "\(peer)", "address": "\(info.remoteAddress)", "direction": "\(info.direction)",
            ])
        connection.setStanding(core.standing(of: peer))
        emit(isFirst ? .peerConnected(peer, info) : .connectionAdded(peer, info))
        connection.accept()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        connection.channel.closeFuture.hop(to: eventLoop).whenComplete { _ in
            bound.value.receive(.closed(info.id))
        }
        identify(connection)
    }

    private func changed(_ peer: PeerID, _ standing: PeerStanding) {
        for info in core.connections(to: peer) { connections[info.id]?.setStanding(standing) }
        // What an unproven peer said of its addresses was not taken; now it counts.
        guard standing > .unproven, let known = information[peer] else { return }
        receive(.identified(peer, addresses: known.listenAddresses, isOurs: known.isKairosNode))
    }

    private func removed(_ peer: PeerID, _ connection: ConnectionID, isLast: Bool) {
        connections[connection] = nil
        if isLast {
            information[peer] = nil
            identifyState.forget(peer)
            log.debug("disconnected", metadata: ["peer": "\(peer)"])
            emit(.peerDisconnected(peer))
        } else {
            emit(.connectionRemoved(peer, connection))
        }
    }

    // MARK: - The end

    func shutDown() -> EventLoopFuture<Void> {
        guard !isShutDown else { return eventLoop.makeSucceededVoidFuture() }
        isShutDown = true
        pushTimer?.cancel()
        addressWatch?.stop()
        addressWatch = nil
        var closing = listeners.map { $0.closeFuture }
        for listener in listeners { listener.close(promise: nil) }
        listeners = []
        // They end by what their muxers have yet to say.
        let connected = Set(connections.values.map { ObjectIdentifier($0.channel) })
        receive(.shutDown)
        timer?.cancel()
        closing.append(underWay.shut { connected.contains(ObjectIdentifier($0)) })
        let log = log
        return EventLoopFuture.whenAllComplete(closing, on: eventLoop).map { _ in
            log.debug("shut down")
        }
    }
}
