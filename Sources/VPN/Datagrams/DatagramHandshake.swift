internal import LibP2P

/// What each end says on a stream of `/kairos/datagram/1.0.0`, and what follows from it.
///
/// ```
/// length of the rest (1 byte: 42) │ version (1) │ abilities (1) │ UDP port (2) │ MTU (2) │ receiver index (4) │ key (32)
/// ```
///
/// Integers are big-endian. The opener names every cipher that it takes, the answer the one that is used.
struct DatagramHello: Hashable, Sendable {
    static let version: UInt8 = 1
    /// The length of the message behind its length byte.
    static let length = 42

    /// The four lower bits: those of `PacketCipher.Algorithm`. The four upper ones: what the sender of the hello
    /// takes in blocks.
    private var abilities: UInt8
    var port: UInt16
    var mtu: UInt16
    /// What the sender of the hello wants to see in datagrams to it.
    var index: UInt32
    /// An X25519 key that is used once.
    var publicKey: [UInt8]

    /// Bits of `PacketCipher.Algorithm`.
    var ciphers: UInt8 {
        get { abilities & 15 }
        set { abilities = abilities & 0xf0 | newValue & 15 }
    }

    /// What the answering end uses of what the opener offers and it takes itself, the fastest first; nil when there
    /// is nothing. Bits that are not known are those of later versions.
    static func agreed(offered: UInt8, own: UInt8) -> PacketCipher.Algorithm? {
        [PacketCipher.Algorithm.aes128OCB, .aes256GCM, .chaCha20Poly1305]
            .first { offered & own & $0.rawValue != 0 }
    }

    /// The super-packets that the sender of the hello takes as blocks.
    var blocks: OffloadCapabilities { OffloadCapabilities(rawValue: abilities >> 4) }

    /// The message with its length byte.
    var bytes: [UInt8] {
        var bytes: [UInt8] = [UInt8(Self.length), Self.version, abilities]
        for value in [port, mtu] { bytes += [UInt8(value >> 8), UInt8(value & 255)] }
        bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: index >> $0) }
        return bytes + publicKey
    }

    init(
        ciphers: UInt8, blocks: OffloadCapabilities = [], port: UInt16, mtu: UInt16, index: UInt32,
        publicKey: [UInt8]
    ) {
        self.abilities = ciphers & 15 | blocks.rawValue << 4
        self.port = port
        self.mtu = mtu
        self.index = index
        self.publicKey = publicKey
    }

    /// Reads a message behind its length byte; nil when it is none of this version, or has no port or index.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.length, bytes[0] == Self.version else { return nil }
        abilities = bytes[1]
        port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        mtu = UInt16(bytes[4]) << 8 | UInt16(bytes[5])
        index = bytes[6..<10].reduce(0) { $0 << 8 | UInt32($1) }
        publicKey = Array(bytes[10...])
        guard port != 0, index != 0, mtu >= 68 else { return nil }
    }
}

/// The keys of one session, each for one direction.
struct DatagramKeys: Sendable {
    let fromInitiator: SecretBytes
    let fromResponder: SecretBytes

    /// Derives the keys (docs/datagrams.md, "Keys"): HKDF-SHA-256 of what the one-time keys share, bound to the
    /// secure channel, both peers and both messages, of which the answer names the cipher.
    ///
    /// Throws `CryptoError` when the other end's key gives no secret.
    init(
        own: X25519.KeyPair, initiator: (peer: PeerID, hello: DatagramHello),
        responder: (peer: PeerID, hello: DatagramHello), isInitiator: Bool, channelBinding: [UInt8],
        for algorithm: PacketCipher.Algorithm
    ) throws(CryptoError) {
        let remote = isInitiator ? responder.hello.publicKey : initiator.hello.publicKey
        let secret = try own.sharedSecret(with: remote)
        var transcript = Array("/kairos/datagram/1.0.0".utf8)
        for part in [
            channelBinding, initiator.peer.bytes, responder.peer.bytes, initiator.hello.bytes,
            responder.hello.bytes,
        ] {
            transcript += [UInt8(truncatingIfNeeded: part.count >> 8), UInt8(truncatingIfNeeded: part.count)]
            transcript += part
        }
        let salt = Crypto.sha256(transcript)
        fromInitiator = Crypto.hkdfSHA256(
            secret: secret, salt: salt, info: Array("initiator to responder".utf8),
            count: algorithm.keyLength)
        fromResponder = Crypto.hkdfSHA256(
            secret: secret, salt: salt, info: Array("responder to initiator".utf8),
            count: algorithm.keyLength)
    }
}
