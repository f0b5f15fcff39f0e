/// A node's own key: whoever holds it is the peer (contract/wire.md A). Ed25519, the kind that
/// EdgeVPN uses. Its memory is overwritten when the last copy is gone.
package struct Identity: Sendable, CustomStringConvertible {
    private let secretKey: SecretBytes

    /// The public half.
    package let publicKey: PublicKey
    /// The ID that others know the node by.
    package let peerID: PeerID

    /// The identity that follows from a seed of 32 bytes.
    package init(seed: SecretBytes) throws(CryptoError) {
        let (secretKey, publicKey) = try Ed25519.keys(seed: seed)
        guard let key = try? PublicKey(ed25519: publicKey) else { throw .invalidLength("Ed25519 public key") }
        self.init(secretKey: secretKey, publicKey: key)
    }

    private init(secretKey: SecretBytes, publicKey: PublicKey) {
        self.secretKey = secretKey
        self.publicKey = publicKey
        self.peerID = PeerID(publicKey)
    }

    /// A new identity.
    package static func generate() -> Identity {
        let seed = SecretBytes.random(count: Ed25519.seedLength)
        guard let identity = try? Identity(seed: seed) else {
            // The seed has the one length that is asked for.
            preconditionFailure("a seed of \(Ed25519.seedLength) bytes makes a key")
        }
        return identity
    }

    /// Reads the private key message: 64 bytes of seed ‖ public key, or the old form of 96 with the
    /// public key twice (contract/wire.md A.1). The halves must belong together.
    package init(privateKey bytes: some Collection<UInt8>) throws(KeyError) {
        let message = try KeyMessage(bytes)
        guard message.type == .ed25519 else { throw .unsupportedType(message.type) }
        guard message.data.count == 64 || message.data.count == 96 else { throw .invalidKey(.ed25519) }
        let data = message.data
        guard let identity = try? Identity(seed: SecretBytes(copying: data.prefix(32))) else {
            throw .invalidKey(.ed25519)
        }
        guard data.dropFirst(32).prefix(32).elementsEqual(identity.publicKey.data),
            data.count == 64 || data.suffix(32).elementsEqual(identity.publicKey.data)
        else { throw .halvesDisagree }
        self = identity
    }

    /// The private key message: what EdgeVPN's key cache holds, 68 bytes. A secret: the caller
    /// overwrites it after use (`Crypto.zero`).
    package var privateKey: [UInt8] {
        secretKey.withUnsafeBytes { KeyMessage.encode(type: .ed25519, data: $0) }
    }

    /// The signature of `message`: 64 bytes.
    package func sign(_ message: some Collection<UInt8>) -> [UInt8] {
        Ed25519.sign(message, secretKey: secretKey)
    }

    /// The peer ID; never the key.
    package var description: String { peerID.description }
}
