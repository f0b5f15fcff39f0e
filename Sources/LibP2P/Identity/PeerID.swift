/// A peer's identifier: the multihash of its encoded public key (contract/wire.md A.2).
package struct PeerID: Hashable, Sendable {
    /// The binary multihash: 38 bytes for an Ed25519 key.
    package let bytes: [UInt8]
}
