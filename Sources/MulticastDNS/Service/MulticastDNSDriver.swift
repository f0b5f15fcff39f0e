internal import CLinuxNet
internal import Glibc
internal import LibP2P
internal import Logging
internal import Multiformats
internal import NIOCore
internal import NIOPosix
internal import Timing

/// Carries packets between `ServiceDiscovery` and one socket per link, and keeps the sockets in step
/// with the interfaces. Belongs to its event loop.
final class MulticastDNSDriver {
    /// Changes of interfaces come in bursts; they are looked at once they have settled.
    private static let settleTime = TimeAmount.milliseconds(250)
    /// How often the interfaces are looked at when the kernel does not say that they change, and
    /// how soon again after one could not be served.
    private static let pollInterval = TimeAmount.seconds(30)

    private let configuration: MulticastDNSService.Configuration
    private let eventLoop: any EventLoop
    private let time: any TimeSource
    private let logger: Logger
    private let onDiscovered: @Sendable (PeerID, [Multiaddr], Bool) -> Void
    private var discovery: ServiceDiscovery
    private var sockets: [MulticastLink.ID: MulticastSocket] = [:]
    private var monitor: (any Channel)?
    private var timer: Scheduled<Void>?
    private var wakeUp = WakeUp("ServiceDiscovery")
    private var scan: Scheduled<Void>?
    private var addresses: [Multiaddr] = []
    private var excludedAddresses: Set<IPAddress> = []
    private var isRunning = false

    init(
        configuration: MulticastDNSService.Configuration, discovery: ServiceDiscovery,
        eventLoop: any EventLoop,
        time: any TimeSource, logger: Logger,
        onDiscovered: @escaping @Sendable (PeerID, [Multiaddr], Bool) -> Void
    ) {
        self.configuration = configuration
        self.discovery = discovery
        self.eventLoop = eventLoop
        self.time = time
        self.logger = logger
        self.onDiscovered = onDiscovered
    }

    var servedInterfaces: [String] { Set(sockets.values.map(\.link.name)).sorted() }

    func start() {
        guard !isRunning else { return }
        isRunning = true
        startMonitor()
        rescan()
    }

    func stop() -> EventLoopFuture<Void> {
        guard isRunning else { return eventLoop.makeSucceededVoidFuture() }
        feed(.stop)
        isRunning = false
        timer?.cancel()
        scan?.cancel()
        // Closing comes after the goodbyes, which were flushed.
        let channels = sockets.values.map(\.channel) + [monitor].compactMap { $0 }
        sockets = [:]
        monitor = nil
        let closed = channels.map { channel in channel.close().recover { _ in } }
        return EventLoopFuture.andAllSucceed(closed, on: eventLoop)
    }

    func updateAddresses(_ addresses: [Multiaddr]) {
        self.addresses = addresses
        advertise()
    }

    private func advertise() {
        let usable = addresses.filter { address in
            guard let host = address.ipAddress else { return true }
            return !excludedAddresses.contains(host)
        }
        feed(.addressesChanged(usable))
    }

    // MARK: The state machine

    private func feed(_ input: ServiceDiscovery.Input) {
        perform(discovery.receive(input, at: time.now()))
        schedule()
    }

    private func perform(_ effects: [ServiceDiscovery.Effect]) {
        for effect in effects {
            switch effect {
            case .multicast(let packet, let id): sockets[id]?.multicast(packet)
            case .unicast(let packet, let destination, let id): sockets[id]?.unicast(packet, to: destination)
            case .discovered(let peer, let addresses, let isProven): onDiscovered(peer, addresses, isProven)
            }
        }
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        guard isRunning, let plan = wakeUp.next(discovery.nextDeadline, at: time.now()) else { return }
        if let warning = plan.warning { logger.warning("\(warning)") }
        let delay = max(plan.delay.wholeNanoseconds, 1_000_000)
        let driver = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(in: .nanoseconds(delay)) {
            driver.value.wakeUp.fired()
            driver.value.feed(.tick)
        }
    }

    // MARK: Interfaces

    private func startMonitor() {
        let descriptor = clinuxnet_interface_monitor()
        guard descriptor >= 0 else {
            logger.warning(
                "interfaces are polled: the kernel gives no news", metadata: ["error": "\(-descriptor)"])
            return
        }
        let driver = NIOLoopBound(self, eventLoop: eventLoop)
        NIOPipeBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = InterfaceNewsHandler {
                        driver.value.interfacesChanged(after: Self.settleTime)
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .whenComplete { result in driver.value.monitorStarted(result, descriptor: descriptor) }
    }

    private func monitorStarted(_ result: Result<any Channel, any Error>, descriptor: Int32) {
        switch result {
        case .success(let channel):
            guard isRunning else {
                channel.close(promise: nil)
                return
            }
            monitor = channel
            let driver = NIOLoopBound(self, eventLoop: eventLoop)
            channel.closeFuture.whenComplete { _ in driver.value.monitorEnded() }
        case .failure(let error):
            close(descriptor)
            logger.warning("interfaces are polled: the kernel gives no news", metadata: ["error": "\(error)"])
            interfacesChanged(after: Self.pollInterval)
        }
    }

    /// The kernel drops the news of those who read too slowly; then everything is looked at anew.
    private func monitorEnded() {
        monitor = nil
        guard isRunning else { return }
        interfacesChanged(after: Self.settleTime)
        let driver = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .seconds(5)) {
            if driver.value.isRunning, driver.value.monitor == nil { driver.value.startMonitor() }
        }
    }

    private func interfacesChanged(after delay: TimeAmount) {
        guard isRunning, scan == nil else { return }
        let driver = NIOLoopBound(self, eventLoop: eventLoop)
        scan = eventLoop.scheduleTask(in: delay) { driver.value.rescan() }
    }

    private func rescan() {
        scan?.cancel()
        scan = nil
        guard isRunning else { return }
        let entries: [InterfaceScan.Entry]
        do {
            entries = try InterfaceScan.currentEntries()
        } catch {
            logger.warning("\(error)")
            interfacesChanged(after: Self.pollInterval)
            return
        }
        let found = InterfaceScan(
            entries: entries, excluded: configuration.excludedInterfaces,
            includesLoopback: configuration.includesLoopback)
        if excludedAddresses != found.excludedAddresses {
            excludedAddresses = found.excludedAddresses
            advertise()
        }
        let wanted = Dictionary(found.links.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for (id, socket) in sockets where wanted[id]?.name != socket.link.name { drop(id) }
        var isComplete = true
        for link in found.links {
            if sockets[link.id] != nil {
                sockets[link.id]?.link = link
                feed(.linkUp(link))
            } else {
                isComplete = open(link) && isComplete
            }
        }
        if monitor == nil || !isComplete { interfacesChanged(after: Self.pollInterval) }
    }

    private func drop(_ id: MulticastLink.ID) {
        guard let socket = sockets.removeValue(forKey: id) else { return }
        logger.debug("multicast DNS left an interface", metadata: ["interface": "\(socket.link.name)"])
        socket.channel.close(promise: nil)
        feed(.linkDown(id))
    }

    private func open(_ link: MulticastLink) -> Bool {
        let descriptor = MulticastSocket.open(link)
        guard descriptor >= 0 else {
            logger.debug(
                "an interface cannot be served by multicast DNS",
                metadata: ["interface": "\(link.name)", "error": "\(-descriptor)"])
            return false
        }
        let driver = NIOLoopBound(self, eventLoop: eventLoop)
        DatagramBootstrap(group: eventLoop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 9000))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = MulticastPacketHandler { packet, source in
                        driver.value.feed(.received(packet, from: source, on: link.id))
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .withBoundSocket(descriptor)
            .whenComplete { result in driver.value.opened(result, link: link, descriptor: descriptor) }
        return true
    }

    private func opened(_ result: Result<any Channel, any Error>, link: MulticastLink, descriptor: Int32) {
        switch result {
        case .success(let channel):
            guard isRunning, sockets[link.id] == nil else {
                channel.close(promise: nil)
                return
            }
            sockets[link.id] = MulticastSocket(link: link, channel: channel)
            logger.debug("multicast DNS serves an interface", metadata: ["interface": "\(link.name)"])
            let driver = NIOLoopBound(self, eventLoop: eventLoop)
            channel.closeFuture.whenComplete { _ in driver.value.closed(link.id, channel) }
            feed(.linkUp(link))
        case .failure(let error):
            close(descriptor)
            logger.warning(
                "an interface cannot be served by multicast DNS",
                metadata: ["interface": "\(link.name)", "error": "\(error)"])
            interfacesChanged(after: Self.pollInterval)
        }
    }

    private func closed(_ id: MulticastLink.ID, _ channel: any Channel) {
        guard isRunning, sockets[id]?.channel === channel else { return }
        drop(id)
        interfacesChanged(after: Self.settleTime)
    }
}
