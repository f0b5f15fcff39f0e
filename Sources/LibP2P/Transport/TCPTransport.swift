package import Multiformats
package import NIOCore
internal import NIOPosix
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Dials and listens with plain TCP over IPv4 and IPv6.
package struct TCPTransport: Sendable {
    private let group: any EventLoopGroup

    /// Uses the loops of `group` for the connections.
    package init(group: any EventLoopGroup) {
        self.group = group
    }

    /// Connects to `address`, an address of plain TCP, which may begin with a domain name. The
    /// channel's pipeline is empty and its `autoRead` off, so that what the other end sends at once
    /// waits for the handlers. `opened` hears of each socket before it connects. Fails with `SwarmError.invalidAddress`, an error of the system or
    /// `ChannelError.connectTimeout`.
    package func dial(
        _ address: Multiaddr, timeout: Duration, on loop: any EventLoop,
        opened: @escaping @Sendable (any Channel) -> Void
    ) -> EventLoopFuture<any Channel> {
        guard let endpoint = address.tcpEndpoint else {
            return loop.makeFailedFuture(SwarmError.invalidAddress("\(address) is no TCP address"))
        }
        let bootstrap = Self.applyOptions(to: ClientBootstrap(group: loop))
            .channelOption(.autoRead, value: false)
            .connectTimeout(.nanoseconds(timeout.wholeNanoseconds))
            .channelInitializer { channel in
                opened(channel)
                return channel.eventLoop.makeSucceededVoidFuture()
            }
        switch endpoint.host {
        case .address(let ip, let zone):
            do {
                return bootstrap.connect(to: try Self.socketAddress(ip, zone: zone, port: endpoint.port))
            } catch {
                return loop.makeFailedFuture(SwarmError.invalidAddress("\(address): \(error)"))
            }
        case .name(let name, _):
            return bootstrap.connect(host: name, port: Int(endpoint.port))
        }
    }

    /// Listens on `address`, such as `/ip4/0.0.0.0/tcp/0`. IPv6 sockets take IPv6 alone, so that both
    /// families may use one port. `accept` sets up every connection, on the connection's loop.
    package func listen(
        _ address: Multiaddr, accept: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        let loop = group.next()
        guard let endpoint = address.tcpEndpoint, case .address(let ip, let zone) = endpoint.host else {
            return loop.makeFailedFuture(
                SwarmError.invalidAddress("\(address) is no TCP address to listen on"))
        }
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer(accept)
        if case .v6 = ip {
            let option = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
            bootstrap = bootstrap.serverChannelOption(option, value: 1)
        }
        for option in Self.socketOptions {
            bootstrap = bootstrap.childChannelOption(option.name, value: option.value)
        }
        bootstrap =
            bootstrap
            .childChannelOption(.writeBufferWaterMark, value: Self.narrowWatermark)
            .childChannelOption(.recvAllocator, value: Self.narrowAllocator)
        do {
            return bootstrap.bind(to: try Self.socketAddress(ip, zone: zone, port: endpoint.port))
        } catch {
            return loop.makeFailedFuture(SwarmError.invalidAddress("\(address): \(error)"))
        }
    }

    // MARK: - Socket options

    /// Encrypted bytes that may wait in the process: enough for one large segment of the card's own
    /// offload, little enough that a packet written now leaves soon.
    private static let wideWatermark = ChannelOptions.Types.WriteBufferWaterMark(
        low: 128 * 1024, high: 256 * 1024)
    private static let wideAllocator = AdaptiveRecvByteBufferAllocator(
        minimum: 2048, initial: 8192, maximum: 128 * 1024)
    /// The same while the peer has proven nothing: buffers grow with what arrives and stay with the socket.
    private static let narrowWatermark = ChannelOptions.Types.WriteBufferWaterMark(
        low: 16 * 1024, high: 32 * 1024)
    private static let narrowAllocator = AdaptiveRecvByteBufferAllocator(
        minimum: 2048, initial: 2048, maximum: 16 * 1024)

    /// Gives the socket of `channel` large buffers, which `ConnectionMemory.wideBuffers` counts, or small ones.
    static func setBuffers(of channel: any Channel, areWide: Bool) {
        let options = [
            channel.setOption(.recvAllocator, value: areWide ? wideAllocator : narrowAllocator),
            channel.setOption(.writeBufferWaterMark, value: areWide ? wideWatermark : narrowWatermark),
        ]
        for option in options {
            option.whenFailure { _ in
                // The socket is gone.
            }
        }
    }

    private struct SocketOption {
        let name: ChannelOptions.Types.SocketOption
        let value: SocketOptionValue
    }

    /// Nagle's delay off; keep-alive by the kernel as well, for what the muxer's own misses; a limit
    /// to the time that sent bytes may go unacknowledged, and to the bytes that wait unsent in the
    /// kernel, where no turn is fair any more.
    private static let socketOptions: [SocketOption] = [
        SocketOption(name: .socketOption(.so_keepalive), value: 1),
        SocketOption(name: .tcpOption(.tcp_nodelay), value: 1),
        SocketOption(name: .tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: 30_000),
        SocketOption(name: .tcpOption(.init(rawValue: TCP_NOTSENT_LOWAT)), value: 128 * 1024),
    ]

    private static func applyOptions(to bootstrap: ClientBootstrap) -> ClientBootstrap {
        var bootstrap =
            bootstrap
            .channelOption(.writeBufferWaterMark, value: narrowWatermark)
            .channelOption(.recvAllocator, value: narrowAllocator)
        for option in socketOptions { bootstrap = bootstrap.channelOption(option.name, value: option.value) }
        return bootstrap
    }

    private static func socketAddress(_ ip: IPAddress, zone: String?, port: UInt16) throws -> SocketAddress {
        guard let zone else { return try SocketAddress(ipAddress: "\(ip)", port: Int(port)) }
        // A numeric address with an interface: the resolver does not ask anybody.
        return try SocketAddress.makeAddressResolvingHost("\(ip)%\(zone)", port: Int(port))
    }
}
