package import Multiformats

/// A peer's identifier: the multihash of its encoded public key (contract/wire.md A.2, A.3).
package struct PeerID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The longest encoded key that an ID holds as it is; longer ones are hashed.
    static let longestEmbeddedKey = 42

    /// The binary multihash: 38 bytes for an Ed25519 key.
    package let bytes: [UInt8]

    /// The ID of the peer that owns `publicKey`.
    package init(_ publicKey: PublicKey) {
        let key = publicKey.bytes
        let multihash =
            key.count <= Self.longestEmbeddedKey
            ? Multihash(code: Multihash.identityCode, digest: key)
            : Multihash(code: Multihash.sha256Code, digest: Crypto.sha256(key))
        self.bytes = multihash.bytes
    }

    /// Reads the binary form. Any multihash will do, as in other implementations: whoever must
    /// have the key asks for `publicKey`.
    package init(bytes: some Collection<UInt8>) throws(PeerIDError) {
        do {
            self.bytes = try Multihash(bytes: bytes).bytes
        } catch {
            throw .notMultihash(error)
        }
    }

    /// Reads the text form: base58btc, or a CID of a libp2p key.
    package init(_ text: some StringProtocol) throws(PeerIDError) {
        guard let bytes = Multiaddr.peerIDBytes(text: text) else { throw .invalidText }
        self.bytes = bytes
    }

    /// The key inside of the ID; nil when the ID holds a hash, or bytes that are no key.
    package var publicKey: PublicKey? {
        guard let multihash = try? Multihash(bytes: bytes), multihash.code == Multihash.identityCode,
            let key = try? PublicKey(bytes: multihash.digest)
        else { return nil }
        return key
    }

    /// Whether this is the ID of the owner of `publicKey`.
    package func matches(_ publicKey: PublicKey) -> Bool {
        PeerID(publicKey) == self
    }

    /// The ID as a content identifier.
    package var cid: CID? {
        guard let multihash = try? Multihash(bytes: bytes) else { return nil }
        return CID(codec: CID.libp2pKeyCodec, multihash: multihash)
    }

    /// base58btc: 52 characters that begin with `12D3KooW` for an Ed25519 key.
    package var description: String { Multibase.base58btc.encodeWithoutPrefix(bytes) }

    /// The last six characters of the text form, for logs that name many peers.
    package var shortDescription: String { String(description.suffix(6)) }

    package func hash(into hasher: inout Hasher) {
        // In one piece: IDs are the keys of most maps.
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    /// Orders IDs by their bytes.
    package static func < (left: PeerID, right: PeerID) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

/// Why something is no peer ID.
package enum PeerIDError: Error, Hashable, CustomStringConvertible {
    case notMultihash(WireError)
    case invalidText

    package var description: String {
        switch self {
        case .notMultihash(let error): "the bytes are no peer ID: \(error)"
        case .invalidText:
            "the text is no peer ID: neither base58btc of a multihash nor a CID of a libp2p key"
        }
    }
}
