import Glibc
import LibP2P
import Multiformats
import NIOCore
import NIOPosix
import Synchronization

/// Hosts of one process, joined by socket pairs: streams with real back-pressure and half-closing,
/// without a network.
final class MemoryNetwork: Sendable {
    fileprivate let hosts = Mutex<[PeerID: MemoryHost]>([:])

    func host(_ peer: PeerID) -> MemoryHost? { hosts.withLock { $0[peer] } }
}

final class MemoryHost: Host {
    enum Failure: Error { case notConnected, noProtocol, noSocket }

    let eventLoop: any EventLoop
    let localPeer: PeerID
    private let network: MemoryNetwork
    private let state = Mutex(State())

    private struct State {
        var handlers: [ProtocolID: StreamHandler] = [:]
        var observers: [@Sendable (SwarmEvent) -> Void] = []
        var isReachable = true
        var channels: [any Channel] = []
        var dials = 0
        var opened = 0
    }

    init(_ network: MemoryNetwork, peer: PeerID, eventLoop: any EventLoop) {
        self.network = network
        self.localPeer = peer
        self.eventLoop = eventLoop
        network.hosts.withLock { $0[peer] = self }
    }

    /// Whether streams can be opened to and from this host; turning it off closes those that are open.
    func setReachable(_ reachable: Bool) {
        let channels = state.withLock { state in
            state.isReachable = reachable
            defer { state.channels = [] }
            return reachable ? [] : state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }

    var dials: Int { state.withLock { $0.dials } }
    var openedStreams: Int { state.withLock { $0.opened } }

    func announce(_ event: SwarmEvent) {
        let observers = state.withLock { $0.observers }
        eventLoop.execute { for observer in observers { observer(event) } }
    }

    func setHandler(for protocolID: ProtocolID, _ handler: @escaping StreamHandler) {
        state.withLock { $0.handlers[protocolID] = handler }
    }

    func removeHandler(for protocolID: ProtocolID) { state.withLock { $0.handlers[protocolID] = nil } }

    private func handler(for protocols: [ProtocolID]) -> (ProtocolID, StreamHandler)? {
        state.withLock { state in
            for protocolID in protocols {
                if let handler = state.handlers[protocolID] { return (protocolID, handler) }
            }
            return nil
        }
    }

    func openStream(
        to peer: PeerID, protocols: [ProtocolID], initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel> {
        guard let remote = network.host(peer), remote.state.withLock({ $0.isReachable }),
            state.withLock({ $0.isReachable })
        else { return eventLoop.makeFailedFuture(Failure.notConnected) }
        guard let (protocolID, handler) = remote.handler(for: protocols) else {
            return eventLoop.makeFailedFuture(Failure.noProtocol)
        }
        var sockets: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &sockets) == 0 else {
            return eventLoop.makeFailedFuture(Failure.noSocket)
        }
        let (ours, far) = (sockets[0], sockets[1])
        state.withLock { $0.opened += 1 }
        let connection = ConnectionID(rawValue: 1)
        let local = localPeer
        let theirs = remote.wrap(far) { channel in
            handler(
                NegotiatedStream(
                    channel: channel, protocolID: protocolID, peer: local, connection: connection))
        }
        return theirs.hop(to: eventLoop).flatMap { _ in
            self.wrap(ours) { channel in
                initialize(
                    NegotiatedStream(
                        channel: channel, protocolID: protocolID, peer: peer, connection: connection))
            }
        }
    }

    private func wrap(
        _ socket: Int32, _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { initialize($0) }
            .withConnectedSocket(socket)
            .map { channel in
                self.state.withLock { $0.channels.append(channel) }
                return channel
            }
    }

    func dial(_ peer: PeerID, addresses: [Multiaddr]) -> EventLoopFuture<Void> {
        state.withLock { $0.dials += 1 }
        return eventLoop.makeSucceededVoidFuture()
    }

    func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr]) {}

    func disconnect(_ peer: PeerID, reason: DisconnectReason) {}

    func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void) {
        state.withLock { $0.observers.append(observer) }
    }
}
