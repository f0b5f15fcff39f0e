/// The 10 bytes that stand before each packet on a TUN device with IFF_VNET_HDR, and before each
/// packet of a frame: `virtio_net_hdr`, its integers little-endian (linux/virtio_net.h).
struct VirtioNetHeader: Hashable, Sendable {
    /// The header's length in bytes.
    static let size = 10

    /// The transport checksum covers only the pseudo header; it is to be completed over the bytes
    /// from `checksumStart`.
    static let needsChecksum: UInt8 = 1
    /// The checksum has been verified already.
    static let checksumVerified: UInt8 = 2

    static let segmentationNone: UInt8 = 0
    static let segmentationTCPv4: UInt8 = 1
    static let segmentationUDP: UInt8 = 5

    var flags: UInt8 = 0
    var segmentationType: UInt8 = VirtioNetHeader.segmentationNone
    /// The length of all headers, a hint.
    var headerLength: UInt16 = 0
    /// The payload bytes of each segment.
    var segmentSize: UInt16 = 0
    /// Where the checksum's range starts, counted from the packet's start.
    var checksumStart: UInt16 = 0
    /// Where the checksum stands, counted from `checksumStart`.
    var checksumOffset: UInt16 = 0

    init() {}

    /// Reads the header at the start of `bytes`; nil when there are fewer than 10.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.size else { return nil }
        flags = bytes[0]
        segmentationType = bytes[1]
        headerLength = bytes.littleEndian16(at: 2)
        segmentSize = bytes.littleEndian16(at: 4)
        checksumStart = bytes.littleEndian16(at: 6)
        checksumOffset = bytes.littleEndian16(at: 8)
    }

    /// The header's bytes.
    var bytes: [UInt8] {
        var bytes = [flags, segmentationType]
        for value in [headerLength, segmentSize, checksumStart, checksumOffset] {
            bytes.append(UInt8(value & 255))
            bytes.append(UInt8(value >> 8))
        }
        return bytes
    }

    /// Writes the header to `memory`, which has room for 10 bytes.
    func store(in memory: UnsafeMutableRawPointer) {
        memory.storeBytes(of: flags, as: UInt8.self)
        memory.storeBytes(of: segmentationType, toByteOffset: 1, as: UInt8.self)
        memory.storeBytes(of: headerLength.littleEndian, toByteOffset: 2, as: UInt16.self)
        memory.storeBytes(of: segmentSize.littleEndian, toByteOffset: 4, as: UInt16.self)
        memory.storeBytes(of: checksumStart.littleEndian, toByteOffset: 6, as: UInt16.self)
        memory.storeBytes(of: checksumOffset.littleEndian, toByteOffset: 8, as: UInt16.self)
    }

    /// Whether the packet is complete as it stands.
    var isPlain: Bool {
        flags & Self.needsChecksum == 0 && segmentationType == Self.segmentationNone
    }

    /// What a receiver must take to be given the packet as it stands.
    var required: OffloadCapabilities {
        switch segmentationType {
        case Self.segmentationTCPv4: [.partialChecksum, .tcpSegmentation]
        case Self.segmentationUDP: [.partialChecksum, .udpSegmentation]
        default: flags & Self.needsChecksum != 0 ? .partialChecksum : []
        }
    }

    /// Whether the header fits the packet, so that nothing in it points outside or asks for an
    /// unreasonable number of segments. Checked for packets from peers and before segmentation.
    func fits(_ packet: IPv4Packet, count: Int) -> Bool {
        guard flags & ~(Self.needsChecksum | Self.checksumVerified) == 0 else { return false }
        if flags & Self.needsChecksum != 0 {
            let field = Int(checksumStart) + Int(checksumOffset)
            guard Int(checksumStart) >= packet.headerLength, field + 2 <= count else { return false }
        }
        guard segmentationType != Self.segmentationNone else { return true }
        // TCP never negotiates segments below 48 bytes; fewer would only multiply work.
        guard flags & Self.needsChecksum != 0, segmentSize >= 48, !packet.isFragment,
            Int(checksumStart) == packet.headerLength
        else { return false }
        switch segmentationType {
        case Self.segmentationTCPv4: return packet.transport == IPv4Packet.tcp && checksumOffset == 16
        case Self.segmentationUDP: return packet.transport == IPv4Packet.udp && checksumOffset == 6
        default: return false
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The caller has checked that `offset + 2` is within bounds; the subscript checks again in
    /// debug builds.
    func littleEndian16(at offset: Int) -> UInt16 {
        UInt16(self[offset]) | UInt16(self[offset + 1]) << 8
    }

    /// As `littleEndian16`, in network byte order.
    func bigEndian16(at offset: Int) -> UInt16 {
        UInt16(self[offset]) << 8 | UInt16(self[offset + 1])
    }

    /// As `littleEndian16`, four bytes in network byte order.
    func bigEndian32(at offset: Int) -> UInt32 {
        UInt32(bigEndian16(at: offset)) << 16 | UInt32(bigEndian16(at: offset + 2))
    }
}
