package import LibP2P

/// The proof that one end of a connection knows the network token: an HMAC over both peer IDs, the
/// end's role and the secure channel, so that it is worth nothing on any other connection and cannot
/// be sent back.
package struct AdmissionProof: Sendable {
    /// Who speaks: the end that opened the admission stream, or the one that answers.
    package enum Role: UInt8, Hashable, Sendable {
        case opener = 1
        case responder = 2
    }

    /// The length of a proof, in bytes.
    package static let length = 32

    private let key: SecretBytes

    /// Makes the prover of a network. `key` follows from the token alone and outlives its rotations
    /// (`NetworkToken.derivedKey(for: AdmissionProof.purpose)`).
    package init(key: SecretBytes) {
        self.key = key
    }

    /// The purpose for which the token's key is derived.
    package static let purpose = "kairos admission 1"

    /// The proof of `role` on the channel between `opener` and `responder`.
    package func proof(of role: Role, opener: PeerID, responder: PeerID, channelBinding: [UInt8]) -> [UInt8] {
        var message: [UInt8] = [role.rawValue]
        for field in [opener.bytes, responder.bytes, channelBinding] {
            withUnsafeBytes(of: UInt64(field.count).bigEndian) { message.append(contentsOf: $0) }
            message.append(contentsOf: field)
        }
        return Crypto.hmacSHA256(key: key, message: message)
    }

    /// Whether `proof` is that of `role` on that channel, compared in constant time.
    package func accepts(
        _ proof: [UInt8], of role: Role, opener: PeerID, responder: PeerID, channelBinding: [UInt8]
    ) -> Bool {
        let expected = self.proof(
            of: role, opener: opener, responder: responder, channelBinding: channelBinding)
        return Crypto.constantTimeEqual(proof, expected)
    }
}
