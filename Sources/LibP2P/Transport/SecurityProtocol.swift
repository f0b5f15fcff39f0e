package import NIOCore

/// Authenticates both ends of a connection and encrypts what follows: `/noise`, `/tls/1.0.0`.
package protocol SecurityProtocol: Sendable {
    /// The name under which it is negotiated.
    var protocolID: ProtocolID { get }

    /// Adds the handlers that run the handshake, then encrypt and decrypt, at the end of `channel`'s
    /// pipeline. Called on the channel's loop.
    ///
    /// When the handshake is through, `initialize` sets up what takes the decrypted bytes; nothing is
    /// delivered to it before its future completes. When the handshake fails, the error goes up the
    /// pipeline and the channel is closed.
    ///
    /// - Parameters:
    ///   - direction: which end opened the connection: it is the handshake's initiator.
    ///   - expectedPeer: who must be at the other end; nil when anyone may.
    ///   - muxers: what is offered for the connection, best first.
    ///   - timeout: how long the handshake may take.
    func install(
        on channel: any Channel, direction: ConnectionDirection, expectedPeer: PeerID?, muxers: [ProtocolID],
        timeout: TimeAmount, initialize: @escaping (SecureSession, any Channel) -> EventLoopFuture<Void>
    ) throws
}

/// Noise XX, `/noise` (contract/wire.md D.2).
package struct NoiseSecurity: SecurityProtocol {
    package let protocolID: ProtocolID = "/noise"
    private let identity: Identity

    /// Proves `identity` to the other ends.
    package init(identity: Identity) {
        self.identity = identity
    }

    package func install(
        on channel: any Channel, direction: ConnectionDirection, expectedPeer: PeerID?, muxers: [ProtocolID],
        timeout: TimeAmount, initialize: @escaping (SecureSession, any Channel) -> EventLoopFuture<Void>
    ) throws {
        let handshake = NoiseChannelHandshake(
            role: direction == .outbound ? .initiator : .responder, identity: identity,
            expectedPeer: expectedPeer, muxers: muxers)
        try channel.pipeline.syncOperations.addHandler(
            HandshakeHandler(handshake, timeout: timeout, initialize: initialize))
    }
}
