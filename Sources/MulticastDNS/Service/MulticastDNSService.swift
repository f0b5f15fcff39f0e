package import LibP2P
package import Logging
package import Multiformats
package import NIOCore
package import Timing

/// Serves `ServiceDiscovery` on the machine's network interfaces, as they come and go.
///
/// All of its state lives on one event loop.
package final class MulticastDNSService: Sendable {
    package struct Configuration: Sendable {
        /// What is announced and looked for.
        package var discovery: ServiceDiscovery.Configuration
        /// Interfaces that are never used: at least the VPN's own device, or the node would find its
        /// peers through the tunnel that they make.
        package var excludedInterfaces = InterfaceFilter(InterfaceFilter.containerPatterns)
        /// Whether the loopback interface is served too.
        package var includesLoopback = false

        package init(discovery: ServiceDiscovery.Configuration) {
            self.discovery = discovery
        }
    }

    private let eventLoop: any EventLoop
    private let driver: NIOLoopBound<MulticastDNSDriver>

    /// Makes a service that does nothing until `start`. Must be called on `eventLoop`, on which
    /// `onDiscovered` is called too.
    ///
    /// - Parameters:
    ///   - eventLoop: one of a `MultiThreadedEventLoopGroup`.
    ///   - generator: gives the random instance name, so seed it freshly.
    ///   - onDiscovered: told of a peer, where it can be dialled and whether that was proven, again about once
    ///     a minute while the peer is there.
    /// - Throws: `MulticastDNSError.badServiceName`.
    package init(
        configuration: Configuration, eventLoop: any EventLoop, generator: SeededGenerator,
        time: any TimeSource = SystemTime(), logger: Logger,
        onDiscovered: @escaping @Sendable (PeerID, [Multiaddr], _ isProven: Bool) -> Void
    ) throws(MulticastDNSError) {
        guard
            let discovery = ServiceDiscovery(
                configuration: configuration.discovery, generator: generator, at: time.now())
        else { throw .badServiceName(configuration.discovery.serviceName) }
        let driver = MulticastDNSDriver(
            configuration: configuration, discovery: discovery, eventLoop: eventLoop, time: time,
            logger: logger,
            onDiscovered: onDiscovered)
        self.eventLoop = eventLoop
        self.driver = NIOLoopBound(driver, eventLoop: eventLoop)
    }

    /// Begins to serve the interfaces that are there, and those that appear later. An interface that
    /// cannot be served is logged and tried again when something changes.
    package func start() -> EventLoopFuture<Void> {
        eventLoop.submit { self.driver.value.start() }
    }

    /// Says goodbye to the neighbours and closes everything. The service cannot be started again.
    package func stop() -> EventLoopFuture<Void> {
        eventLoop.flatSubmit { self.driver.value.stop() }
    }

    /// Tells where this node can be dialled, best first. Addresses of excluded interfaces are left out.
    package func updateAddresses(_ addresses: [Multiaddr]) {
        eventLoop.execute { self.driver.value.updateAddresses(addresses) }
    }

    /// The names of the interfaces that are served now, for `status`.
    package func servedInterfaces() -> EventLoopFuture<[String]> {
        eventLoop.submit { self.driver.value.servedInterfaces }
    }
}

/// Why multicast DNS cannot work at all.
package enum MulticastDNSError: Error, Hashable, CustomStringConvertible {
    /// The token's `mdns` value cannot be a DNS label.
    case badServiceName(String)

    package var description: String {
        switch self {
        case .badServiceName(let name):
            "\"\(name)\" cannot be a DNS label of at most 63 bytes; take a token that EdgeVPN generated"
        }
    }
}
