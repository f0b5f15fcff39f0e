package import LibP2P

/// How a peer proves on one connection that it holds the network token, without saying it.
///
/// A proof is HMAC-SHA-256 under a key that follows from the token's secrets (and stays the same
/// across rotations), over the role, both peer IDs and the connection's channel binding. So it is worth
/// nothing on another connection, to another peer, or sent back to whoever made it.
package struct AdmissionProof: Sendable {
    /// Who opened the admission stream.
    package enum Role: UInt8, Hashable, Sendable {
        case initiator = 1
        case responder = 2
    }

    /// The length of a proof in bytes.
    package static let length = 32

    private let key: SecretBytes

    /// Proofs for the network of `token`.
    package init(token: NetworkToken) {
        key = token.derivedKey(for: "admission/1")
    }

    /// The proof of the peer in `role` on the connection that `channelBinding` names.
    package func make(
        role: Role, initiator: PeerID, responder: PeerID, channelBinding: [UInt8]
    ) -> [UInt8] {
        var message = Array("kairos/admission/1.0.0".utf8)
        message.append(role.rawValue)
        for field in [initiator.bytes, responder.bytes, channelBinding] {
            withUnsafeBytes(of: UInt64(field.count).bigEndian) { message.append(contentsOf: $0) }
            message.append(contentsOf: field)
        }
        return Crypto.hmacSHA256(key: key, message: message)
    }

    /// Whether `proof` is that of the peer in `role`; takes the same time whatever is wrong.
    package func isValid(
        _ proof: some Collection<UInt8>, role: Role, initiator: PeerID, responder: PeerID,
        channelBinding: [UInt8]
    ) -> Bool {
        let expected = make(
            role: role, initiator: initiator, responder: responder, channelBinding: channelBinding)
        // An empty binding would let a proof travel to another connection.
        return !channelBinding.isEmpty && Crypto.constantTimeEqual(Array(proof), expected)
    }
}
