/// What a security handshake has established, whichever protocol it was.
package struct SecureSession: Hashable, Sendable {
    /// Who is at the other end, proven.
    package let remotePeer: PeerID
    /// The key that proved it.
    package let remoteKey: PublicKey
    /// A value that both ends of this channel know and nobody else can choose, 32 bytes.
    package let channelBinding: [UInt8]
    /// The muxer that both ends agreed on during the handshake; nil when it has yet to be negotiated.
    package let muxer: ProtocolID?

    package init(remotePeer: PeerID, remoteKey: PublicKey, channelBinding: [UInt8], muxer: ProtocolID?) {
        self.remotePeer = remotePeer
        self.remoteKey = remoteKey
        self.channelBinding = channelBinding
        self.muxer = muxer
    }

    /// The muxer that follows from both lists: the first of the initiator's that the responder has
    /// (contract/wire.md D.2).
    package static func selectMuxer(initiator: [ProtocolID], responder: [ProtocolID]) -> ProtocolID? {
        initiator.first { responder.contains($0) }
    }
}
