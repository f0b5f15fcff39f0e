internal import Logging
package import Multiformats
package import NIOCore
internal import Timing

/// The node's connections: dials and listens with TCP, secures, muxes, identifies, and offers what
/// `Host` promises.
///
/// This is the face for callers on any loop; `SwarmDriver` holds the state on one loop, and
/// `SwarmCore` decides.
package final class Swarm: Host {
    package let eventLoop: any EventLoop
    package let localPeer: PeerID

    private let driver: NIOLoopBound<SwarmDriver>
    private let protocols: ProtocolTable
    private let gate: InboundGate
    /// The memory of all connections' queues and buffers.
    package let memory: MemoryBudget

    /// Makes a swarm that neither listens nor dials yet.
    ///
    /// - Parameters:
    ///   - identity: this node's key.
    ///   - security: the security protocols, best first.
    ///   - group: the loops of the connections; one of them holds the swarm's state.
    package static func make(
        identity: Identity, security: [any SecurityProtocol], group: any EventLoopGroup,
        configuration: SwarmConfiguration = SwarmConfiguration()
    ) -> EventLoopFuture<Swarm> {
        let loop = group.next()
        return loop.submit {
            Swarm(
                identity: identity, security: security, group: group, loop: loop, configuration: configuration
            )
        }
    }

    private init(
        identity: Identity, security: [any SecurityProtocol], group: any EventLoopGroup, loop: any EventLoop,
        configuration: SwarmConfiguration
    ) {
        self.eventLoop = loop
        self.localPeer = identity.peerID
        self.protocols = ProtocolTable()
        self.gate = InboundGate(
            limits: configuration.limits, clock: configuration.clock, seed: configuration.seed &+ 1)
        self.memory = configuration.memory
        let driver = SwarmDriver(
            identity: identity, security: security, group: group, loop: loop, configuration: configuration,
            protocols: protocols, gate: gate)
        self.driver = NIOLoopBound(driver, eventLoop: loop)
        driver.start()
    }

    private func onLoop(_ body: @escaping @Sendable (SwarmDriver) -> Void) {
        let driver = driver
        if eventLoop.inEventLoop {
            body(driver.value)
        } else {
            eventLoop.execute { body(driver.value) }
        }
    }

    private func onLoop<Value: Sendable>(
        _ body: @escaping @Sendable (SwarmDriver) -> EventLoopFuture<Value>
    ) -> EventLoopFuture<Value> {
        let driver = driver
        if eventLoop.inEventLoop { return body(driver.value) }
        return eventLoop.flatSubmit { body(driver.value) }
    }

    // MARK: - Host

    package func setHandler(for protocolID: ProtocolID, _ handler: @escaping StreamHandler) {
        if protocols.set(handler, for: protocolID) { onLoop { $0.protocolsChanged() } }
    }

    package func removeHandler(for protocolID: ProtocolID) {
        if protocols.set(nil, for: protocolID) { onLoop { $0.protocolsChanged() } }
    }

    package func openStream(
        to peer: PeerID, protocols: [ProtocolID], initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel> {
        onLoop { $0.openConnectedStream(to: peer, protocols: protocols, initialize: initialize) }
    }

    package func setConnector(_ connector: @escaping @Sendable (PeerID) -> EventLoopFuture<Void>?) {
        onLoop { $0.connector = connector }
    }

    package func dial(_ peer: PeerID, addresses: [Multiaddr]) -> EventLoopFuture<Void> {
        dial(peer, addresses: addresses, as: .recorded)
    }

    package func dial(
        _ peer: PeerID, addresses: [Multiaddr], as dialClass: DialClass
    ) -> EventLoopFuture<Void> {
        onLoop { $0.dial(peer, addresses, as: dialClass) }
    }

    package func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr]) {
        setKeepConnected(keep, for: peer, addresses: addresses, as: .recorded)
    }

    package func setKeepConnected(
        _ keep: Bool, for peer: PeerID, addresses: [Multiaddr], as dialClass: DialClass
    ) {
        onLoop { $0.receive(.keepConnected(keep, peer, addresses: addresses, as: dialClass)) }
    }

    package func setStanding(_ standing: PeerStanding, of peer: PeerID) {
        onLoop { $0.receive(.standing(peer, standing)) }
    }

    package func disconnect(_ peer: PeerID, reason: DisconnectReason) {
        onLoop { $0.receive(.disconnect(peer, reason)) }
    }

    package func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void) {
        onLoop { $0.addObserver(observer) }
    }

    // MARK: - Beyond Host

    /// Sets who hears, on the swarm's loop, of connections whose other end has proven this node's own key. They are
    /// closed at once.
    package func onOwnKeySeen(_ body: @escaping @Sendable (ConnectionInfo) -> Void) {
        onLoop { $0.ownKeySeen = body }
    }

    /// Lets whoever has this node's key at `address` know that it is in use here, too.
    package func lookForOwnKey(at address: Multiaddr) {
        onLoop { $0.lookForOwnKey(at: address) }
    }

    /// Listens on `addresses`, such as `/ip4/0.0.0.0/tcp/0` and `/ip6/::/tcp/0`; returns where it is
    /// reached, wildcards resolved to the addresses of the interfaces. Fails when none could be
    /// bound; those of a family that the machine lacks are left out with a word in the log.
    package func listen(on addresses: [Multiaddr]) -> EventLoopFuture<[Multiaddr]> {
        onLoop { $0.listen(on: addresses) }
    }

    /// Refuses connections from and to `subnets`, ends those there are, and stops advertising
    /// addresses in them: the VPN's own network (contract/wire.md K.1).
    package func setBlockedSubnets(_ subnets: [Subnet]) {
        onLoop { $0.block(AddressBlocklist(subnets)) }
    }

    /// Where this node listens, wildcards resolved, blocked networks left out.
    package func listenAddresses() -> EventLoopFuture<[Multiaddr]> {
        onLoop { $0.eventLoop.makeSucceededFuture($0.listenAddresses) }
    }

    /// The connections to `peer`.
    package func connections(to peer: PeerID) -> EventLoopFuture<[ConnectionInfo]> {
        onLoop { $0.eventLoop.makeSucceededFuture($0.connections(to: peer)) }
    }

    /// Measures a round trip to `peer` with the ping protocol.
    package func ping(_ peer: PeerID) -> EventLoopFuture<Duration> {
        onLoop { $0.ping(peer) }
    }

    /// Ends all connections and stops listening. Nothing works afterwards.
    package func shutDown() -> EventLoopFuture<Void> {
        gate.shut()
        return onLoop { $0.shutDown() }
    }
}
