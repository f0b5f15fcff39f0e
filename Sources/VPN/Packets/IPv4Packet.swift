/// What the packet path reads of an IPv4 header. The header checksum is left to the kernel, which
/// verifies it on every packet that it is given.
struct IPv4Packet: Hashable, Sendable {
    static let tcp: UInt8 = 6
    static let udp: UInt8 = 17

    let source: VirtualAddress
    let destination: VirtualAddress
    /// The header's length in bytes, options included: 20 to 60.
    let headerLength: Int
    /// The transport protocol's number.
    let transport: UInt8
    /// Whether this is a fragment, first or later.
    let isFragment: Bool

    /// Reads the header at the start of `bytes`, which must be exactly one packet.
    static func parse(_ bytes: UnsafeRawBufferPointer) -> Result<IPv4Packet, DropReason> {
        guard let first = bytes.first else { return .failure(.malformed) }
        guard first >> 4 == 4 else { return .failure(first >> 4 == 6 ? .notIPv4 : .malformed) }
        let headerLength = Int(first & 15) * 4
        guard headerLength >= 20, bytes.count >= headerLength, Int(bytes.bigEndian16(at: 2)) == bytes.count
        else {
            return .failure(.malformed)
        }
        return .success(
            IPv4Packet(
                source: VirtualAddress(rawValue: bytes.bigEndian32(at: 12)),
                destination: VirtualAddress(rawValue: bytes.bigEndian32(at: 16)), headerLength: headerLength,
                transport: bytes[9], isFragment: bytes.bigEndian16(at: 6) & 0x3fff != 0))
    }
}
