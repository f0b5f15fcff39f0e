package import LibP2P
package import Logging
package import MeshNetwork
internal import NIOCore
internal import Synchronization
package import Timing

/// The VPN of one node: its device, a link to each peer that has an address, and the streams by which
/// packets come in.
///
/// The composition tells it the node's address (`setLocalAddress`) and who has which address
/// (`updateRoutes`); it knows nothing of the ledger. Any thread may call it. The device is kept as
/// it should be: looked at every `checkInterval`, opened again when it was taken away.
package final class VPNService: Sendable {
    /// The constants of a VPN, the same on all nodes of a network.
    package struct Configuration: Sendable {
        package var subnet: VirtualSubnet
        /// The device's MTU: 1200 is what stock nodes have (contract K.1).
        package var mtu: UInt16
        /// The bytes that may wait for one peer.
        package var queueBytes: Int
        /// How often the device is compared with what it should be.
        package var checkInterval: Duration
        var link = PeerLinkCore.Configuration()

        package init(
            subnet: VirtualSubnet = .standard, mtu: UInt16 = TunDevice.standardMTU, queueBytes: Int = 2 << 20,
            checkInterval: Duration = .seconds(30)
        ) {
            self.subnet = subnet
            self.mtu = mtu
            self.queueBytes = queueBytes
            self.checkInterval = checkInterval
        }
    }

    /// How many streams of one peer carry packets to us at once: a peer needs one, and a second one
    /// while it replaces a lost one.
    private static let streamsPerPeer = 4
    /// How many streams of one stock peer are open at once, each with a packet.
    private static let stockStreamsPerPeer = 256
    /// The waits between attempts to bring the device up.
    private static let retryIntervals: [Duration] = [.seconds(1), .seconds(2), .seconds(5), .seconds(15)]

    private let configuration: Configuration
    private let context: LinkContext
    private let isAdmitted: @Sendable (PeerID) -> Bool
    private let openDevice: @Sendable () throws(TunDeviceError) -> any VPNDevice
    private let openSocket: (@Sendable () throws(DatagramSocket.Failure) -> DatagramSocket)?
    private let logger: Logger
    private let routing: RoutingPublisher
    private let currentDatagrams: CurrentDatagramPaths
    private let turns = DeviceTurns()
    private let state = Mutex(State())

    private struct State {
        var isStopped = false
        var isObserving = false
        /// What the device should have; nil before the first address and after a withdrawal.
        var wanted: WantedAddresses?
        var device: (any VPNDevice)?
        var pump: DevicePump?
        var deviceStatus = VPNDeviceStatus.down
        var waitingSince: UnixTime?
        var failures = 0
        var links: [PeerID: PeerLink] = [:]
        var routes: [VirtualAddress: PeerID] = [:]
        var shared: SharedAddress?
        var isSharedStillHere: @Sendable () -> Bool = { true }
        /// The streams of each peer that carry packets to us, the oldest first.
        var receiving: [PeerID: [any Channel]] = [:]
        var stockReceiving: [PeerID: Int] = [:]
        var datagrams: DatagramPaths?
        /// The swarm's connections.
        var connections: [ConnectionID: (PeerID, ConnectionInfo)] = [:]
    }

    /// An address that moves between nodes, and where it is.
    private struct SharedAddress: Hashable {
        var address: VirtualAddress
        var place: SharedAddressPlace
    }

    private struct WantedAddresses: Hashable {
        var address: VirtualAddress
        var additional: Set<VirtualAddress>
    }

    /// Makes the service. `openDevice` attaches to the device when the first address is set, and again
    /// if the device is taken away. `isAdmitted` says whether a peer has proven to be of the network;
    /// it is called on any thread. `openSocket` gives the socket of the datagram paths; without it, and where it
    /// fails, all packets go by streams.
    package init(
        configuration: Configuration, host: any Host, time: any TimeSource = SystemTime(), logger: Logger,
        isAdmitted: @escaping @Sendable (PeerID) -> Bool,
        openSocket: (@Sendable () throws(DatagramSocket.Failure) -> DatagramSocket)? = nil,
        openDevice: @escaping @Sendable () throws(TunDeviceError) -> any VPNDevice
    ) {
        self.configuration = configuration
        self.openSocket = openSocket
        let datagrams = CurrentDatagramPaths()
        self.currentDatagrams = datagrams
        self.context = LinkContext(
            host: host, counters: PacketCounters(), time: time, kernel: KernelCapabilities(),
            mtu: configuration.mtu, queueBytes: configuration.queueBytes, configuration: configuration.link,
            onStreamUse: { datagrams.value?.streamUsed(by: $0) })
        self.isAdmitted = isAdmitted
        self.openDevice = openDevice
        self.logger = logger
        self.routing = RoutingPublisher(RoutingTable(subnet: configuration.subnet))
    }

    // MARK: - what the composition says

    /// Brings the device up with `address` and the `additional` single addresses, such as the API
    /// server's while this node holds it. With nil the mesh's addresses are taken off; the device
    /// stays up.
    ///
    /// Throws `TunDeviceError` when that fails now; the service goes on trying.
    package func setLocalAddress(
        _ address: VirtualAddress?, additional: Set<VirtualAddress> = []
    ) async throws(TunDeviceError) {
        let wallClock = context.time.wallClock()
        state.withLock { state in
            state.wanted = address.map { WantedAddresses(address: $0, additional: additional) }
            state.waitingSince = wallClock
            state.failures = 0
        }
        observe()
        try await turns.perform { () throws(TunDeviceError) in try self.reconcile() }
    }

    /// Says which live peer has which address. Peers that are missing get no packets, and packets
    /// from them are dropped.
    package func updateRoutes(_ routes: [VirtualAddress: PeerID]) {
        let gone = state.withLock { state -> [PeerLink] in
            guard !state.isStopped else { return [] }
            state.routes = routes
            let peers = Set(routes.values)
            var gone: [PeerLink] = []
            for (peer, link) in state.links where !peers.contains(peer) {
                gone.append(link)
                state.links[peer] = nil
            }
            for peer in peers where peer != context.host.localPeer && state.links[peer] == nil {
                state.links[peer] = PeerLink(peer: peer, context: context)
            }
            state.datagrams?.update(peers: peers)
            publishTable(state)
            return gone
        }
        for link in gone { link.shutDown() }
    }

    /// Says where the address is that moves between nodes, the API server's. Here, it is put on the
    /// device as a single address beside the node's own; at a peer, packets to it go to that peer and
    /// packets from it come from that peer only; nowhere, they are dropped. What `updateRoutes` says of
    /// this address does not count.
    ///
    /// `isStillHere` is asked, on any thread, right before the device is set up: the process may have
    /// been frozen since it was decided.
    package func setSharedAddress(
        _ address: VirtualAddress, _ place: SharedAddressPlace,
        isStillHere: @escaping @Sendable () -> Bool = { true }
    ) {
        let shared = SharedAddress(address: address, place: place)
        let reconciles = state.withLock { state -> Bool in
            guard !state.isStopped, state.shared != shared else { return false }
            let wasHere = state.shared?.place == .here
            state.shared = shared
            state.isSharedStillHere = isStillHere
            publishTable(state)
            return state.wanted != nil && (wasHere || place == .here)
        }
        guard reconciles else { return }
        Task {
            try? await turns.perform { () throws(TunDeviceError) in
                // A failure is in `deviceStatus` and schedules the next attempt.
                try self.reconcile()
            }
        }
    }

    /// Ends the packet path: streams close, the device keeps its address and stays.
    package func stop() {
        stopDatagrams()
        let (pump, links, channels) = state.withLock { state in
            state.isStopped = true
            defer {
                state.pump = nil
                state.device = nil
                state.links = [:]
                state.receiving = [:]
            }
            return (state.pump, Array(state.links.values), state.receiving.values.flatMap { $0 })
        }
        context.host.removeHandler(for: .kairosVPN)
        context.host.removeHandler(for: .edgeVPN)
        pump?.stop()
        for link in links { link.shutDown() }
        for channel in channels { channel.close(promise: nil) }
    }

    // MARK: - what the composition asks

    /// What the packet path has done.
    package var counters: PacketCounts { context.counters.snapshot }

    /// The device as it is.
    package var deviceStatus: VPNDeviceStatus { state.withLock { $0.deviceStatus } }

    /// The links to all peers that have an address.
    package var links: [VPNLinkStatus] {
        let (links, datagrams) = state.withLock { (Array($0.links.values), $0.datagrams) }
        return links.map { link in
            var status = link.snapshot
            status.path = datagrams?.pathState(of: link.peer) ?? .stream
            return status
        }
    }

    /// Whether packets have lately gone to or come from `peer`, or wait for it, so that the connection to it
    /// is worth keeping. Any thread may ask.
    package func uses(connectionTo peer: PeerID) -> Bool {
        let (link, isReceiving, datagrams) = state.withLock { state in
            (
                state.links[peer],
                state.receiving[peer]?.isEmpty == false || state.stockReceiving[peer] != nil,
                state.datagrams
            )
        }
        return isReceiving || link.map { $0.snapshot.state != .idle } ?? false
            || datagrams?.isInUse(by: peer) ?? false
    }

    /// What the device waits for; nil when it is up or not wanted yet.
    package var waiting: Waiting? {
        state.withLock { state in
            guard state.wanted != nil, let since = state.waitingSince else { return nil }
            switch state.deviceStatus {
            case .up: return nil
            case .down: return Waiting(step: .device, what: "the VPN device to come up", since: since)
            case .failed(let error):
                return Waiting(step: .device, what: error.description, remedy: error.remedy, since: since)
            }
        }
    }

    // MARK: - the device

    /// Makes the device as it is wanted. Runs in turns, one at a time.
    private func reconcile() throws(TunDeviceError) {
        let (wanted, present, isStopped) = state.withLock { ($0.wanted, $0.device, $0.isStopped) }
        if isStopped { return }
        do throws(TunDeviceError) {
            guard let wanted else {
                try present?.clear()
                state.withLock { state in
                    state.deviceStatus = .down
                    publishTable(state)
                }
                return
            }
            let device: any VPNDevice
            if let present { device = present } else { device = try openDevice() }
            // Asked for at the last moment: the address may have moved since.
            let additional = state.withLock { state in
                state.isSharedStillHere() ? Self.singleAddresses(state, wanted) : wanted.additional
            }
            let outcome = try device.apply(address: wanted.address, additional: additional)
            if present == nil { try startPumping(device) }
            if !outcome.changes.isEmpty {
                logger.info(
                    "VPN device set up",
                    metadata: [
                        "address": "\(wanted.address)",
                        "changes": "\(outcome.changes.joined(separator: ", "))",
                    ])
            }
            state.withLock { state in
                state.failures = 0
                state.deviceStatus = .up(
                    name: device.name, index: outcome.index, address: wanted.address, mtu: configuration.mtu)
                publishTable(state)
            }
            scheduleCheck(in: configuration.checkInterval)
        } catch {
            var lost = false
            let failures = state.withLock { state in
                let isNew = state.deviceStatus != .failed(error)
                state.deviceStatus = .failed(error)
                if case .vanished = error {
                    lost = true
                    state.pump?.stop()
                    state.pump = nil
                    state.device = nil
                }
                state.failures += 1
                return (state.failures, isNew)
            }
            if lost { stopDatagrams() }
            if failures.1 {
                logger.error(
                    "VPN device cannot be set up",
                    metadata: ["reason": "\(error)", "remedy": "\(error.remedy)"])
            }
            scheduleCheck(in: Self.retryIntervals[min(failures.0, Self.retryIntervals.count) - 1])
            throw error
        }
    }

    private func startPumping(_ device: any VPNDevice) throws(TunDeviceError) {
        context.kernel.value = device.capabilities
        let pump: DevicePump
        do throws(PacketDeviceError) {
            pump = try DevicePump.start(device: device, routing: routing, counters: context.counters) {
                [weak self] _ in self?.deviceFailed()
            }
        } catch {
            throw .system(name: device.name, action: "start a thread for", errno: error.errno)
        }
        let isStopped = state.withLock { state in
            if !state.isStopped {
                state.device = device
                state.pump = pump
            }
            return state.isStopped
        }
        if isStopped { return pump.stop() }
        context.host.setHandler(for: .kairosVPN) { [weak self] in Self.accept($0, by: self) }
        context.host.setHandler(for: .edgeVPN) { [weak self] in Self.accept($0, by: self) }
        startDatagrams(device, pump)
    }

    // MARK: - datagrams

    private func startDatagrams(_ device: any VPNDevice, _ pump: DevicePump) {
        guard let openSocket else { return }
        do {
            let socket = try openSocket()
            let paths = DatagramPaths(
                host: context.host, time: context.time, socket: socket, subnet: configuration.subnet,
                mtu: configuration.mtu, capabilities: device.capabilities, logger: logger,
                connectionInfo: { [weak self] id in self?.state.withLock { $0.connections[id]?.1 } }
            ) { [weak self] in
                guard let self else { return }
                state.withLock { self.publishTable($0) }
            }
            pump.attach(
                .init(socket: socket, sessions: paths.sessions) { [weak paths] in paths?.receive($0) })
            currentDatagrams.value = paths
            state.withLock { state in
                paths.update(peers: Set(state.routes.values).subtracting([context.host.localPeer]))
                state.datagrams = paths
            }
            context.host.setHandler(for: .kairosDatagram) { [weak self, weak paths] stream in
                guard let self, let paths, isAdmitted(stream.peer) else {
                    return stream.channel.eventLoop.makeFailedFuture(StreamRefusal.notAdmitted)
                }
                return paths.accept(stream)
            }
        } catch {
            logger.warning("packets go by streams only", metadata: ["reason": "\(error)"])
        }
    }

    private func stopDatagrams() {
        let paths = state.withLock { state in
            defer { state.datagrams = nil }
            return state.datagrams
        }
        guard let paths else { return }
        currentDatagrams.value = nil
        context.host.removeHandler(for: .kairosDatagram)
        // Their thread is that of the device, and ends with it.
        paths.stop()
    }

    /// The device was taken away while it was being read.
    private func deviceFailed() {
        stopDatagrams()
        let channels = state.withLock { state in
            state.device = nil
            state.pump = nil
            defer { state.receiving = [:] }
            return state.receiving.values.flatMap { $0 }
        }
        // They write to a device that is no more; the peers open new ones.
        for channel in channels { channel.close(promise: nil) }
        scheduleCheck(in: .zero)
    }

    private func scheduleCheck(in delay: Duration) {
        context.host.eventLoop.scheduleTask(in: .nanoseconds(delay.wholeNanoseconds)) { [weak self] in
            guard let self, self.state.withLock({ $0.wanted != nil && !$0.isStopped }) else { return }
            Task {
                // The outcome is in `deviceStatus`, and a failure schedules the next attempt.
                try? await self.turns.perform { () throws(TunDeviceError) in try self.reconcile() }
            }
        }
    }

    /// The single addresses that the device should have now.
    private static func singleAddresses(
        _ state: borrowing State, _ wanted: WantedAddresses
    ) -> Set<VirtualAddress> {
        guard let shared = state.shared, shared.place == .here else { return wanted.additional }
        return wanted.additional.union([shared.address])
    }

    private func publishTable(_ state: borrowing State) {
        var links: [VirtualAddress: PeerLink] = [:]
        var local: Set<VirtualAddress> = []
        if let wanted = state.wanted {
            local = Self.singleAddresses(state, wanted).union([wanted.address])
        }
        for (address, peer) in state.routes
        where !local.contains(address) && address != state.shared?.address {
            links[address] = state.links[peer]
        }
        if let shared = state.shared, case .peer(let peer) = shared.place, !local.contains(shared.address) {
            links[shared.address] = state.links[peer]
        }
        routing.publish(
            RoutingTable(
                subnet: configuration.subnet, localAddresses: local, links: links,
                paths: state.datagrams?.paths ?? [:]))
    }

    // MARK: - peers and their streams

    private func observe() {
        let isFirst = state.withLock { state in
            defer { state.isObserving = true }
            return !state.isObserving
        }
        guard isFirst else { return }
        context.host.addObserver { [weak self] event in
            self?.noteConnection(event)
            switch event {
            case .peerConnected(let peer, _): self?.link(to: peer)?.peerConnected()
            case .peerIdentified(let peer, let information):
                self?.link(to: peer)?.peerIdentified(information.protocols)
            default: break
            }
        }
    }

    private func noteConnection(_ event: SwarmEvent) {
        let datagrams = state.withLock { state in
            switch event {
            case .peerConnected(let peer, let info), .connectionAdded(let peer, let info):
                state.connections[info.id] = (peer, info)
            case .connectionRemoved(_, let id): state.connections[id] = nil
            // The end of the last connection names none.
            case .peerDisconnected(let peer):
                state.connections = state.connections.filter { $0.value.0 != peer }
            default: break
            }
            return state.datagrams
        }
        datagrams?.observe(event)
    }

    private func link(to peer: PeerID) -> PeerLink? {
        state.withLock { $0.links[peer] }
    }

    private static func accept(_ stream: NegotiatedStream, by service: VPNService?) -> EventLoopFuture<Void> {
        guard let service, service.admit(stream) else {
            // The stream's owner resets it.
            return stream.channel.eventLoop.makeFailedFuture(StreamRefusal.notAdmitted)
        }
        return stream.channel.eventLoop.makeCompletedFuture { try service.setUp(stream) }
    }

    /// Between our nodes the proof of the network token counts; a stock peer must have an address
    /// (contract K.1, K.5).
    private func admit(_ stream: NegotiatedStream) -> Bool {
        if stream.protocolID == .kairosVPN { return isAdmitted(stream.peer) }
        return routing.current.peers.contains(stream.peer)
    }

    private func setUp(_ stream: NegotiatedStream) throws {
        guard let device = state.withLock({ $0.device }) else { throw StreamRefusal.noDevice }
        let receiver = PacketReceiver(
            peer: stream.peer, device: device, counters: context.counters, routing: routing)
        let pipeline = stream.channel.pipeline.syncOperations
        if stream.protocolID == .kairosVPN {
            let hello = VPNHello(capabilities: device.capabilities, mtu: configuration.mtu)
            try pipeline.addHandler(ReceivingStreamHandler(receiver: receiver, hello: hello))
            register(stream)
        } else if registerStock(stream) {
            try pipeline.addHandler(
                StockReceivingStreamHandler(receiver: receiver, counters: context.counters))
        } else {
            throw StreamRefusal.tooManyStreams
        }
    }

    private func register(_ stream: NegotiatedStream) {
        let (peer, channel) = (stream.peer, stream.channel)
        let superfluous = state.withLock { state -> (any Channel)? in
            state.receiving[peer, default: []].append(channel)
            guard let count = state.receiving[peer]?.count, count > Self.streamsPerPeer else { return nil }
            return state.receiving[peer]?.removeFirst()
        }
        superfluous?.close(promise: nil)
        channel.closeFuture.whenComplete { [weak self] _ in
            self?.state.withLock { state in
                state.receiving[peer]?.removeAll { $0 === channel }
                if state.receiving[peer]?.isEmpty == true { state.receiving[peer] = nil }
            }
        }
    }

    private func registerStock(_ stream: NegotiatedStream) -> Bool {
        let peer = stream.peer
        let isTaken = state.withLock { state in
            let count = state.stockReceiving[peer] ?? 0
            guard count < Self.stockStreamsPerPeer else { return false }
            state.stockReceiving[peer] = count + 1
            return true
        }
        guard isTaken else { return false }
        stream.channel.closeFuture.whenComplete { [weak self] _ in
            self?.state.withLock { state in
                let count = (state.stockReceiving[peer] ?? 1) - 1
                state.stockReceiving[peer] = count > 0 ? count : nil
            }
        }
        return true
    }
}

/// Where links find the datagram paths, which come and go with the device.
private final class CurrentDatagramPaths: Sendable {
    private let state = Mutex<DatagramPaths?>(nil)

    var value: DatagramPaths? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

/// Why a stream that a peer opened is not served.
enum StreamRefusal: Error, Hashable, Sendable {
    /// The peer has not proven to be of the network, or has no address.
    case notAdmitted
    /// The device is not up.
    case noDevice
    /// The peer has too many streams open.
    case tooManyStreams
}

/// Lets one piece of work on the device happen at a time, in order.
private actor DeviceTurns {
    func perform(_ work: @Sendable () throws(TunDeviceError) -> Void) throws(TunDeviceError) {
        try work()
    }
}
