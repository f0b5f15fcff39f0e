internal import LibP2P

/// The layout of a datagram between two nodes (docs/datagrams.md):
///
/// ```
/// receiver index (4 bytes, big-endian) │ counter (8, big-endian) │ sealed: kind (1) │ three bytes │ body │ tag (16)
/// ```
///
/// A super-packet can go as a block, which is sealed once and cut into parts:
///
/// ```
/// receiver index (4) │ counter with the highest bit set (8) │ part (1) │ last part (1) │ zero (2) │ piece
/// ```
///
/// The pieces, one after the other, are the tag (16) and, sealed, a virtio-net header (10) and the packet.
enum DatagramFormat {
    static let headerLength = 12
    /// Kind and the three bytes that depend on it.
    static let innerHeaderLength = 4
    /// What a packet grows by, without the headers of IP and UDP.
    static let overhead = headerLength + innerHeaderLength + 16
    /// The shortest datagram: nothing but headers and tag.
    static let minimumLength = overhead

    /// A complete packet; the three bytes are zero.
    static let packet: UInt8 = 0
    /// A packet whose transport checksum covers only the pseudo header: checksum offset (1), checksum start (2).
    static let partialPacket: UInt8 = 1
    /// Number of a probe (8 bytes), then zeros up to the size of the largest packet.
    static let probe: UInt8 = 2
    /// The same bytes as in the probe that it answers.
    static let echo: UInt8 = 3

    /// Blocks that the sender of this began to arrive and are not whole: packets are to be sealed one by one.
    static let blockLost: UInt8 = 4

    /// Set in the counter of a part of a block. It is part of the nonce, so a block and a single datagram never
    /// share one.
    static let blockFlag: UInt64 = 1 << 63
    /// A part's header: index (4), counter (8), number of the part (1), number of the last part (1), two zeros.
    static let partHeaderLength = 16
    /// A super-packet that takes more parts goes as single packets.
    static let maximumParts = 128
    /// The largest block: tag, virtio-net header, packet.
    static let maximumBlock = 16 + VPNFrame.maximumPayload

    /// The datagrams of one call of the kernel: at most 64 (the limit of kernels before 6.9), at most 65,507 bytes.
    static let maximumSegments = 64
    static let maximumBundle = 65_507

    /// After so many messages a key is used no more; rekeying comes long before. OCB is bounded by 2^48 blocks of 16
    /// bytes under a key (RFC 7253, 5), and a message has at most 4,099 of them.
    static func maximumCounter(of algorithm: PacketCipher.Algorithm) -> UInt64 {
        algorithm == .aes128OCB ? 1 << 35 : 1 << 60
    }
}
