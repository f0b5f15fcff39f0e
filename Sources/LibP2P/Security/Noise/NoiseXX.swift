/// The handshake pattern XX of the Noise protocol framework with X25519, ChaCha20-Poly1305 and
/// SHA-256, without a prologue (contract/wire.md D.2):
///
/// ```
/// 1  -> e
/// 2  <- e, ee, s, es
/// 3  -> s, se
/// ```
///
/// It moves payloads; what they mean is `NoiseHandshake`'s matter.
package struct NoiseXX: Sendable {
    package enum Role: Hashable, Sendable {
        case initiator
        case responder
    }

    /// What both ends have when the three messages are through.
    package struct Keys: Sendable {
        package var sending: NoiseCipher
        package var receiving: NoiseCipher
        /// The same 32 bytes at both ends, different for every handshake.
        package let handshakeHash: [UInt8]

        package init(sending: NoiseCipher, receiving: NoiseCipher, handshakeHash: [UInt8]) {
            self.sending = sending
            self.receiving = receiving
            self.handshakeHash = handshakeHash
        }
    }

    private static let keyLength = X25519.keyLength
    private static let protocolName = Array("Noise_XX_25519_ChaChaPoly_SHA256".utf8)

    package let role: Role
    private let staticKey: X25519.KeyPair
    private let ephemeralKey: X25519.KeyPair
    /// The peer's static key once its message has been read.
    package private(set) var remoteStaticKey: [UInt8]?
    private var remoteEphemeralKey: [UInt8] = []

    private var chainingKey: SecretBytes
    private var hash: [UInt8]
    private var cipher: NoiseCipher?
    /// The number of the next message: 1 to 3, or 4 when all are through.
    private var next = 1

    /// A handshake that has not begun. Both keys are this side's; the ephemeral one must be new.
    package init(role: Role, staticKey: X25519.KeyPair, ephemeralKey: X25519.KeyPair) {
        self.role = role
        self.staticKey = staticKey
        self.ephemeralKey = ephemeralKey
        // The name is as long as a hash, so it is the first hash and chaining key as it stands; the
        // empty prologue is hashed onto it.
        self.hash = Crypto.sha256(Self.protocolName)
        self.chainingKey = SecretBytes(copying: Self.protocolName)
    }

    /// Whether the next message is this side's to send.
    package var isOurTurn: Bool {
        next <= 3 && (role == .initiator) == (next != 2)
    }

    /// The next message, carrying `payload`, which message 1 carries in the clear.
    package mutating func writeMessage(payload: [UInt8]) throws(NoiseError) -> [UInt8] {
        guard isOurTurn else { throw .unexpectedMessage }
        var message: [UInt8] = []
        switch next {
        case 1:
            message += ephemeralKey.publicKey
            mixHash(ephemeralKey.publicKey)
        case 2:
            message += ephemeralKey.publicKey
            mixHash(ephemeralKey.publicKey)
            try mixKey(ephemeralKey, remoteEphemeralKey)
            message += try sealAndMix(staticKey.publicKey)
            try mixKey(staticKey, remoteEphemeralKey)
        default:
            message += try sealAndMix(staticKey.publicKey)
            try mixKey(staticKey, remoteEphemeralKey)
        }
        message += try sealAndMix(payload)
        next += 1
        return message
    }

    /// Reads the peer's next message and returns the payload that it carries. After an error the
    /// handshake is over.
    package mutating func readMessage(_ message: [UInt8]) throws(NoiseError) -> [UInt8] {
        guard next <= 3, !isOurTurn else { throw .unexpectedMessage }
        var rest = message[...]
        if next < 3 {
            remoteEphemeralKey = try Self.take(Self.keyLength, from: &rest)
            mixHash(remoteEphemeralKey)
        }
        if next > 1 {
            if next == 2 { try mixKey(ephemeralKey, remoteEphemeralKey) }
            let sealed = try Self.take(Self.keyLength + NoiseCipher.tagLength, from: &rest)
            let remote = try openAndMix(sealed)
            remoteStaticKey = remote
            // es for the initiator, se for the responder: our ephemeral key with their static one.
            try mixKey(ephemeralKey, remote)
        }
        let payload = try openAndMix(Array(rest))
        next += 1
        return payload
    }

    /// The transport keys, when all three messages are through.
    package func split() throws(NoiseError) -> Keys {
        guard next == 4 else { throw .unexpectedMessage }
        let (first, second) = Self.derive(chainingKey, SecretBytes(copying: []))
        let towardsResponder = NoiseCipher(key: first)
        let towardsInitiator = NoiseCipher(key: second)
        return role == .initiator
            ? Keys(sending: towardsResponder, receiving: towardsInitiator, handshakeHash: hash)
            : Keys(sending: towardsInitiator, receiving: towardsResponder, handshakeHash: hash)
    }

    private static func take(_ count: Int, from bytes: inout ArraySlice<UInt8>) throws(NoiseError) -> [UInt8]
    {
        guard bytes.count >= count else { throw .messageTooShort }
        defer { bytes = bytes.dropFirst(count) }
        return Array(bytes.prefix(count))
    }

    // MARK: the specification's SymmetricState

    private mutating func mixHash(_ data: [UInt8]) {
        hash = Crypto.sha256(concatenating: hash, data)
    }

    private mutating func mixKey(_ ours: X25519.KeyPair, _ theirs: [UInt8]) throws(NoiseError) {
        let shared: SecretBytes
        do throws(CryptoError) {
            shared = try ours.sharedSecret(with: theirs)
        } catch {
            throw .weakKey
        }
        let (chaining, key) = Self.derive(chainingKey, shared)
        chainingKey = chaining
        cipher = NoiseCipher(key: key)
    }

    private mutating func sealAndMix(_ plaintext: [UInt8]) throws(NoiseError) -> [UInt8] {
        let sealed = try cipher?.seal(plaintext, associatedData: hash) ?? plaintext
        mixHash(sealed)
        return sealed
    }

    private mutating func openAndMix(_ sealed: [UInt8]) throws(NoiseError) -> [UInt8] {
        let plaintext = try cipher?.open(sealed, associatedData: hash) ?? sealed
        mixHash(sealed)
        return plaintext
    }

    /// The specification's HKDF with two outputs.
    private static func derive(_ chainingKey: SecretBytes, _ input: SecretBytes) -> (SecretBytes, SecretBytes)
    {
        let keys = chainingKey.withUnsafeBytes { salt in
            Crypto.hkdfSHA256(secret: input, salt: salt, info: EmptyCollection(), count: 64)
        }
        return keys.withUnsafeBytes { bytes in
            (SecretBytes(copying: bytes.prefix(32)), SecretBytes(copying: bytes.suffix(32)))
        }
    }
}
