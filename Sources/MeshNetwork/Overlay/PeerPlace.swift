internal import LibP2P

/// Where a peer stands on the rings of the overlay, and the short name by which records speak of it.
/// Both follow from its ID alone, so that all nodes agree on them without a word.
struct PeerPlace: Hashable, Sendable {
    /// A position on each ring.
    let positions: SIMD4<UInt64>

    init(_ peer: PeerID) {
        let digest = Crypto.sha256(peer.bytes)
        var words = SIMD4<UInt64>(repeating: 0)
        for (index, byte) in digest.prefix(32).enumerated() {
            words[index / 8] = words[index / 8] << 8 | UInt64(byte)
        }
        positions = words
    }

    /// The first eight bytes of the SHA-256 of the ID, big-endian. Two peers with one tag would be
    /// taken for one another's links; neither could be made without owning 2^64 keys.
    var tag: UInt64 { positions.x }
}
