/// The layout of a datagram between two nodes (docs/datagrams.md):
///
/// ```
/// receiver index (4 bytes, big-endian) │ counter (8, big-endian) │ sealed: kind (1) │ three bytes │ body │ tag (16)
/// ```
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

    /// The datagrams of one call of the kernel: at most 64 (the limit of kernels before 6.9), at most 65,507 bytes.
    static let maximumSegments = 64
    static let maximumBundle = 65_507

    /// After so many messages a key is used no more; rekeying comes long before.
    static let maximumCounter: UInt64 = 1 << 60
}
