package import Multiformats
package import NIOCore
internal import Timing

/// What an application protocol needs of the swarm: peers, streams and news of both.
///
/// Every callback runs on `eventLoop`, the loop that owns the swarm's state; a protocol's driver
/// lives on the same loop and so needs no lock. Streams are NIO child channels that may live on
/// another loop of the group, the one of their connection.
package protocol Host: Sendable {
    /// The loop on which observers are called and on which drivers keep their state.
    var eventLoop: any EventLoop { get }

    /// This node's own peer ID.
    var localPeer: PeerID { get }

    /// Serves `protocolID` on streams that peers open. The handler is called on the stream's own
    /// loop once the protocol is agreed on, with a channel that is active already (so handlers set
    /// themselves up in `handlerAdded`, there is no `channelActive` to come), whose `autoRead` is on
    /// and whose inbound and outbound type is `ByteBuffer`; what arrives before the returned future
    /// completes is delivered after it. A failed future resets the stream, with its code when the
    /// error is a `StreamReset`. Connected peers learn of the change by identify/push.
    ///
    /// A write of at most 65,507 bytes leaves in one frame of the muxer; writes are never joined.
    /// `close()` sends what was flushed and then FIN; `close(mode: .output)` sends FIN and goes on
    /// reading; the peer's FIN is `ChannelEvent.inputClosed`; a `StreamReset` triggered as a user
    /// outbound event resets, and one that the peer sent arrives as the error.
    func setHandler(for protocolID: ProtocolID, _ handler: @escaping StreamHandler)

    /// Stops serving `protocolID`; streams that are open stay.
    func removeHandler(for protocolID: ProtocolID)

    /// Opens a stream to a connected peer and agrees on the first of `protocols` that it speaks.
    /// `initialize` sets the pipeline up on the stream's loop, once the protocol is settled and the
    /// channel active, before anything is delivered. The protocol is proposed lazily when identify
    /// has already said that the peer speaks it: `initialize` is called at once and what it writes
    /// leaves in one write with header and proposal; should the peer refuse after all, the stream
    /// fails later.
    ///
    /// Without a connection, the connector is asked for one (`setConnector`). Fails with `SwarmError` when
    /// the peer is not connected then, refuses every protocol, or the limits of the peer are reached.
    func openStream(
        to peer: PeerID, protocols: [ProtocolID], initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel>

    /// Dials `peer` at `addresses` (without their `/p2p` part) and at those remembered from
    /// identify, unless it is connected already. Failed addresses are redialled with backoff only
    /// when asked again or when `keepConnected` holds for the peer.
    func dial(_ peer: PeerID, addresses: [Multiaddr]) -> EventLoopFuture<Void>

    /// Marks `peer` as one to stay connected to: the swarm redials it with backoff until the mark
    /// is taken away. Said again of a peer that is not connected, it is dialled at once.
    func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr])

    /// The same, with what the peer is dialled for: dials have slots by that.
    func dial(_ peer: PeerID, addresses: [Multiaddr], as dialClass: DialClass) -> EventLoopFuture<Void>
    func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr], as dialClass: DialClass)

    /// Says what `peer`, which is connected, has shown of itself. It holds until the last connection is gone; a
    /// peer of which nothing is said may hold next to nothing here (`PeerStanding`).
    func setStanding(_ standing: PeerStanding, of peer: PeerID)

    /// Closes every connection to `peer`.
    func disconnect(_ peer: PeerID, reason: DisconnectReason)

    /// Sets who is asked, on `eventLoop`, to connect to a peer to which a stream is opened: a future that
    /// completes when there is a connection on which the peer serves this node, or nil when there will be
    /// none.
    func setConnector(_ connector: @escaping @Sendable (PeerID) -> EventLoopFuture<Void>?)

    /// Registers `observer`, which is first told of the present state (listen addresses, connected
    /// and identified peers) and then of every change, in order.
    func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void)
}

extension Host {
    /// For hosts that dial nobody.
    package func dial(
        _ peer: PeerID, addresses: [Multiaddr], as dialClass: DialClass
    ) -> EventLoopFuture<Void> {
        dial(peer, addresses: addresses)
    }

    package func setKeepConnected(
        _ keep: Bool, for peer: PeerID, addresses: [Multiaddr], as dialClass: DialClass
    ) {
        setKeepConnected(keep, for: peer, addresses: addresses)
    }

    /// For hosts that bound nothing.
    package func setStanding(_ standing: PeerStanding, of peer: PeerID) {}

    /// For hosts on which all peers are connected.
    package func setConnector(_ connector: @escaping @Sendable (PeerID) -> EventLoopFuture<Void>?) {}
}

/// Sets up the pipeline of one negotiated stream.
package typealias StreamHandler = @Sendable (NegotiatedStream) -> EventLoopFuture<Void>

/// A stream on which both ends agreed on a protocol.
package struct NegotiatedStream: Sendable {
    /// The stream's channel: `ByteBuffer` in and out, half-closure enabled.
    package let channel: any Channel
    /// What was agreed on.
    package let protocolID: ProtocolID
    /// The authenticated peer at the other end.
    package let peer: PeerID
    /// Which of the peer's connections carries the stream.
    package let connection: ConnectionID
    /// The connection's account: what waits for the peer is reserved there, and its standing says how long its
    /// frames may be. Nil on hosts that bound nothing.
    package let memory: ConnectionMemory?

    package init(
        channel: any Channel, protocolID: ProtocolID, peer: PeerID, connection: ConnectionID,
        memory: ConnectionMemory? = nil
    ) {
        self.memory = memory
        self.channel = channel
        self.protocolID = protocolID
        self.peer = peer
        self.connection = connection
    }
}

/// Names one connection within this process's life.
package struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    package var description: String { "#\(rawValue)" }
}

/// Which end opened a connection or a stream.
package enum ConnectionDirection: Hashable, Sendable {
    case inbound
    case outbound
}

/// A secured, muxed connection as others see it.
package struct ConnectionInfo: Hashable, Sendable {
    package let id: ConnectionID
    package let direction: ConnectionDirection
    /// The other end's address, without `/p2p`.
    package let remoteAddress: Multiaddr
    /// This end's address, without `/p2p`.
    package let localAddress: Multiaddr
    /// A value that both ends of this secure channel know and nobody else can choose: the Noise
    /// handshake hash or the TLS exporter, 32 bytes. Proofs bound to it cannot be replayed on
    /// another connection.
    package let channelBinding: [UInt8]

    package init(
        id: ConnectionID, direction: ConnectionDirection, remoteAddress: Multiaddr, localAddress: Multiaddr,
        channelBinding: [UInt8]
    ) {
        self.id = id
        self.direction = direction
        self.remoteAddress = remoteAddress
        self.localAddress = localAddress
        self.channelBinding = channelBinding
    }
}

/// What identify says of a peer (contract/wire.md D.5).
package struct PeerInformation: Hashable, Sendable {
    /// Where the peer says it listens, filtered by the class of the connection's address.
    package var listenAddresses: [Multiaddr]
    package var protocols: Set<ProtocolID>
    /// Where the peer sees us.
    package var observedAddress: Multiaddr?
    package var agentVersion: String

    package init(
        listenAddresses: [Multiaddr], protocols: Set<ProtocolID>, observedAddress: Multiaddr?,
        agentVersion: String
    ) {
        self.listenAddresses = listenAddresses
        self.protocols = protocols
        self.observedAddress = observedAddress
        self.agentVersion = agentVersion
    }
}

/// News of the swarm, in the order in which it happened.
package enum SwarmEvent: Sendable {
    /// The addresses at which this node listens: wildcards resolved to interface addresses.
    case listening([Multiaddr])
    /// The first connection to a peer is up.
    case peerConnected(PeerID, ConnectionInfo)
    /// A further connection to a connected peer is up.
    case connectionAdded(PeerID, ConnectionInfo)
    /// One of several connections is gone.
    case connectionRemoved(PeerID, ConnectionID)
    /// Identify completed, or the peer pushed an update.
    case peerIdentified(PeerID, PeerInformation)
    /// The last connection is gone.
    case peerDisconnected(PeerID)
    /// A measured round trip of a connection's keep-alive ping.
    case roundTrip(PeerID, Duration)
    /// An attempt to reach a peer failed at every address; the text says why, for `status`.
    case dialFailed(PeerID, reason: String)
}

/// Why this node ends the connections to a peer: sent as the muxer's GoAway code (contract D.4).
package enum DisconnectReason: Hashable, Sendable {
    case shutdown
    case protocolViolation
    case resourceLimit
    case rateLimited
    /// Another connection to the same peer serves instead.
    case supplanted
    /// The peer may not be connected to: the gater, or an admission that failed.
    case gated
}
