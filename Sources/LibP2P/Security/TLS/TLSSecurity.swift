package import NIOCore
package import Timing

/// TLS 1.3, `/tls/1.0.0` (contract/wire.md D.3).
package struct TLSSecurity: SecurityProtocol {
    static let name: ProtocolID = "/tls/1.0.0"
    package let protocolID = name
    private let context: TLSContext

    /// Proves `identity` to the other ends, with one key and certificate for all connections. Throws
    /// `TLSError.unavailable` when the system's libssl does not offer what that takes.
    package init(identity: Identity, clock: any TimeSource = SystemTime()) throws(TLSError) {
        self.init(try TLSContext(credential: TLSCredential(identity: identity), clock: clock))
    }

    /// Proves whatever `context` proves.
    package init(_ context: TLSContext) {
        self.context = context
    }

    package func install(
        on channel: any Channel, direction: ConnectionDirection, expectedPeer: PeerID?, muxers: [ProtocolID],
        timeout: TimeAmount, initialize: @escaping (SecureSession, any Channel) -> EventLoopFuture<Void>
    ) throws {
        let session = try TLSSession(
            context, isClient: direction == .outbound, expectedPeer: expectedPeer, muxers: muxers)
        try channel.pipeline.syncOperations.addHandler(
            HandshakeHandler(TLSChannelHandshake(session), timeout: timeout, initialize: initialize))
    }
}
