import LibP2P
import Multiformats
import NIOCore
import NIOEmbedded
import Timing

/// Hosts on one embedded loop whose streams are pairs of embedded channels: a swarm without a network.
final class FakeNetwork {
    struct Stream {
        let protocolID: ProtocolID
        let opener: PeerID
        let target: PeerID
        let near: EmbeddedChannel
        let far: EmbeddedChannel
    }

    let loop = EmbeddedEventLoop()
    var hosts: [PeerID: FakeHost] = [:]
    private(set) var streams: [Stream] = []
    /// Everything that was written on the far ends, which nobody ever should.
    private(set) var writtenBack = 0

    func addHost() -> FakeHost {
        let host = FakeHost(network: self, identity: .generate())
        hosts[host.localPeer] = host
        return host
    }

    /// Connects two hosts and lets each identify the other.
    func connect(
        _ first: FakeHost, _ second: FakeHost, protocols: Set<ProtocolID> = ["/meshsub/1.1.0"],
        agentVersion: String = "github.com/mudler/edgevpn"
    ) throws {
        for (host, other, direction) in [
            (first, second, ConnectionDirection.outbound), (second, first, ConnectionDirection.inbound),
        ] {
            let connection = ConnectionInfo(
                id: ConnectionID(rawValue: 1), direction: direction,
                remoteAddress: try Multiaddr("/ip4/10.0.0.1/tcp/1"),
                localAddress: try Multiaddr("/ip4/10.0.0.2/tcp/1"), channelBinding: [])
            host.emit(.peerConnected(other.localPeer, connection))
            let information = PeerInformation(
                listenAddresses: [], protocols: protocols, observedAddress: nil, agentVersion: agentVersion)
            host.emit(.peerIdentified(other.localPeer, information))
        }
        pump()
    }

    func disconnect(_ first: FakeHost, _ second: FakeHost) {
        first.emit(.peerDisconnected(second.localPeer))
        second.emit(.peerDisconnected(first.localPeer))
        pump()
    }

    /// The open streams that `opener` opened to `target`.
    func streams(from opener: FakeHost, to target: FakeHost) -> [Stream] {
        streams.filter { $0.opener == opener.localPeer && $0.target == target.localPeer }
    }

    func open(
        from opener: PeerID, to target: PeerID, _ protocolID: ProtocolID,
        _ initialize: @escaping StreamHandler
    )
        -> EventLoopFuture<any Channel>
    {
        guard let host = hosts[target], let handler = host.handlers[protocolID], !host.refusesStreams else {
            return loop.makeFailedFuture(ChannelError.connectTimeout(.seconds(1)))
        }
        let stream = Stream(
            protocolID: protocolID, opener: opener, target: target, near: EmbeddedChannel(loop: loop),
            far: EmbeddedChannel(loop: loop))
        streams.append(stream)
        let connection = ConnectionID(rawValue: 1)
        let ends: [(EmbeddedChannel, PeerID, StreamHandler)] = [
            (stream.near, target, initialize), (stream.far, opener, handler),
        ]
        for (channel, peer, setUp) in ends {
            channel.pipeline.fireChannelRegistered()
            if let address = try? SocketAddress(ipAddress: "127.0.0.1", port: 1) {
                channel.connect(to: address, promise: nil)
            }
            _ = setUp(
                NegotiatedStream(channel: channel, protocolID: protocolID, peer: peer, connection: connection)
            )
        }
        return loop.makeSucceededFuture(stream.near)
    }

    /// Carries bytes and ends of streams until nothing moves.
    func pump() {
        var moved = true
        while moved {
            moved = false
            loop.run()
            for stream in streams {
                while let bytes = try? stream.near.readOutbound(as: ByteBuffer.self) {
                    moved = true
                    if stream.far.isActive { _ = try? stream.far.writeInbound(bytes) }
                }
                while let bytes = try? stream.far.readOutbound(as: ByteBuffer.self) {
                    writtenBack += bytes.readableBytes
                    moved = true
                }
                if stream.near.isActive != stream.far.isActive {
                    moved = true
                    let open = stream.near.isActive ? stream.near : stream.far
                    open.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
                    // An end that no service holds has nobody to close it.
                    if open.isActive { open.close(promise: nil) }
                }
            }
            streams.removeAll { !$0.near.isActive && !$0.far.isActive }
        }
    }

    func advance(_ time: TimeAmount) {
        for _ in 0..<10 {
            loop.advanceTime(by: .nanoseconds(time.nanoseconds / 10))
            pump()
        }
    }
}

/// The clock of the embedded loop.
struct LoopTime: TimeSource, @unchecked Sendable {
    let loop: EmbeddedEventLoop

    func now() -> Instant {
        Instant(nanoseconds: UInt64(clamping: loop.now.uptimeNanoseconds) + 1_000_000_000)
    }
    func wallClock() -> UnixTime { UnixTime(nanoseconds: Int64(clamping: now().nanoseconds)) }
}

/// One host of a fake network. Only its loop's thread touches it.
final class FakeHost: Host, @unchecked Sendable {
    let network: FakeNetwork
    let identity: Identity
    var handlers: [ProtocolID: StreamHandler] = [:]
    var observers: [@Sendable (SwarmEvent) -> Void] = []
    var refusesStreams = false

    init(network: FakeNetwork, identity: Identity) {
        self.network = network
        self.identity = identity
    }

    var eventLoop: any EventLoop { network.loop }
    var localPeer: PeerID { identity.peerID }

    func emit(_ event: SwarmEvent) {
        for observer in observers { observer(event) }
    }

    func setHandler(for protocolID: ProtocolID, _ handler: @escaping StreamHandler) {
        handlers[protocolID] = handler
    }
    func removeHandler(for protocolID: ProtocolID) { handlers[protocolID] = nil }

    func openStream(
        to peer: PeerID, protocols: [ProtocolID], initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel> {
        network.open(from: localPeer, to: peer, protocols[0], initialize)
    }

    func dial(_ peer: PeerID, addresses: [Multiaddr]) -> EventLoopFuture<Void> {
        eventLoop.makeSucceededVoidFuture()
    }
    func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr]) {}
    func disconnect(_ peer: PeerID, reason: DisconnectReason) {}
    func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void) { observers.append(observer) }
}
