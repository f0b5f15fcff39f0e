/// What happens to a Noise handshake.
package enum NoiseHandshakeInput: Sendable {
    /// The connection is open: begin.
    case start
    /// The peer's next message, without its length.
    case message([UInt8])
    /// The peer will send nothing more.
    case endOfInput
    /// The time for the handshake is over.
    case deadlinePassed
}

/// What a Noise handshake wants done, in order.
package enum NoiseHandshakeEffect: Sendable {
    /// Send this message, with its length in front.
    case send([UInt8])
    /// The channel is secure; everything from here on goes through `keys`.
    case completed(SecureSession, keys: NoiseXX.Keys)
    /// There is no secure channel; end the connection.
    case failed(NoiseError)
}

/// libp2p's use of Noise: XX, the proof of both identities, and the choice of a muxer along the way
/// (contract/wire.md D.2).
///
/// ```
/// initiator:  start ─ send 1 ─► awaiting 2 ─ judge payload, send 3 ─► done
/// responder:  start ─► awaiting 1 ─ send 2 ─► awaiting 3 ─ judge payload ─► done
/// ```
package struct NoiseHandshake: Sendable {
    /// The longest message that is read. The format would allow 65535 bytes; the longest honest one
    /// carries an RSA key of 8192 bits, its signature and a list of muxers.
    package static let maximumMessageLength = 16384

    private let payload: [UInt8]
    private let muxers: [ProtocolID]
    private let expectedPeer: PeerID?
    private var noise: NoiseXX
    private var isDone = false

    /// A handshake that has not begun.
    ///
    /// - Parameters:
    ///   - role: whether this side dialled.
    ///   - identity: this node.
    ///   - expectedPeer: whom this side means to reach, if it dialled.
    ///   - muxers: the muxers that this side speaks, best first.
    ///   - staticKey: the key that `identity` vouches for.
    ///   - ephemeralKey: a key made for this handshake alone.
    package init(
        role: NoiseXX.Role, identity: Identity, expectedPeer: PeerID?, muxers: [ProtocolID],
        staticKey: X25519.KeyPair, ephemeralKey: X25519.KeyPair
    ) {
        self.init(
            role: role, expectedPeer: expectedPeer, muxers: muxers, staticKey: staticKey,
            ephemeralKey: ephemeralKey,
            payload: NoisePayload(identity: identity, staticKey: staticKey.publicKey, muxers: muxers).bytes)
    }

    /// A handshake that sends `payload` as it is.
    package init(
        role: NoiseXX.Role, expectedPeer: PeerID?, muxers: [ProtocolID], staticKey: X25519.KeyPair,
        ephemeralKey: X25519.KeyPair, payload: [UInt8]
    ) {
        self.payload = payload
        self.muxers = muxers
        self.expectedPeer = expectedPeer
        self.noise = NoiseXX(role: role, staticKey: staticKey, ephemeralKey: ephemeralKey)
    }

    /// Takes the next event. After `completed` or `failed` there are no more effects.
    package mutating func receive(_ input: NoiseHandshakeInput) -> [NoiseHandshakeEffect] {
        guard !isDone else { return [] }
        do throws(NoiseError) {
            switch input {
            case .start: return noise.role == .initiator ? [.send(try noise.writeMessage(payload: []))] : []
            case .message(let message): return try read(message)
            case .endOfInput: throw .endOfStream
            case .deadlinePassed: throw .timedOut
            }
        } catch {
            isDone = true
            return [.failed(error)]
        }
    }

    private mutating func read(_ message: [UInt8]) throws(NoiseError) -> [NoiseHandshakeEffect] {
        guard message.count <= Self.maximumMessageLength else { throw .messageTooLong }
        let received = try noise.readMessage(message)
        guard let staticKey = noise.remoteStaticKey else {
            // Message 1 carries nothing that counts.
            return [.send(try noise.writeMessage(payload: payload))]
        }
        let theirs = try NoisePayload(bytes: received)
        let key = try theirs.verify(staticKey: staticKey, expecting: expectedPeer)
        var effects: [NoiseHandshakeEffect] = []
        if noise.isOurTurn { effects.append(.send(try noise.writeMessage(payload: payload))) }
        let keys = try noise.split()
        let muxer =
            noise.role == .initiator
            ? SecureSession.selectMuxer(initiator: muxers, responder: theirs.muxers)
            : SecureSession.selectMuxer(initiator: theirs.muxers, responder: muxers)
        isDone = true
        let session = SecureSession(
            remotePeer: PeerID(key), remoteKey: key, channelBinding: keys.handshakeHash, muxer: muxer)
        return effects + [.completed(session, keys: keys)]
    }
}
