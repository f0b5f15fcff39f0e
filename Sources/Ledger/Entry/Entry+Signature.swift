package import LibP2P

extension Entry {
    /// Whether the signature is that of the key which the owner's peer ID holds. Owners whose ID is
    /// only a hash of their key (RSA, ECDSA) can never be verified (contract J.7).
    package func hasValidSignature(at id: EntryID) -> Bool {
        guard let signature, !signature.isEmpty, let key = Self.publicKey(of: owner) else { return false }
        return key.verify(signature, of: CanonicalEntry.bytes(of: self, at: id))
    }

    /// The public key that the peer ID `owner` holds, or nil when it is no peer ID or holds no key.
    package static func publicKey(of owner: LedgerText) -> PublicKey? {
        guard owner.utf8.count <= 128, let peer = try? PeerID(owner.string) else { return nil }
        return peer.publicKey
    }

    /// Signs the entry with `identity`, whose peer ID becomes its owner.
    package mutating func sign(at id: EntryID, with identity: Identity) {
        owner = LedgerText(identity.peerID.description)
        signature = identity.sign(CanonicalEntry.bytes(of: self, at: id))
    }
}
