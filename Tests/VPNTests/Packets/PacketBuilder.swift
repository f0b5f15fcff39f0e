@testable import VPN

/// Makes packets as a kernel would, with its own plain checksum so that the code under test is
/// not checked against itself.
enum PacketBuilder {
    static func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

    static func bytes(_ value: UInt32) -> [UInt8] {
        bytes(UInt16(value >> 16)) + bytes(UInt16(value & 0xffff))
    }

    /// The textbook checksum: big-endian words, end-around carry, complement.
    static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[index]) << 8 | (index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0)
            if sum > 0xffff { sum = (sum & 0xffff) + 1 }
        }
        return ~UInt16(sum)
    }

    static func ipv4(
        from source: UInt32 = 0x0a01_0003, to destination: UInt32 = 0x0a01_0004, transport: UInt8,
        identification: UInt16 = 0x1234, flags: UInt16 = 0x4000, payload: [UInt8]
    ) -> [UInt8] {
        var header: [UInt8] = [0x45, 0]
        header += bytes(UInt16(20 + payload.count)) + bytes(identification) + bytes(flags)
        header += [64, transport, 0, 0] + bytes(source) + bytes(destination)
        header.replaceSubrange(10..<12, with: bytes(checksum(header)))
        return header + payload
    }

    static func pseudoHeader(_ packet: [UInt8]) -> [UInt8] {
        Array(packet[12..<20]) + [0, packet[9]] + bytes(UInt16(packet.count - 20))
    }

    /// Sets the transport checksum: complete, or only the pseudo header's sum as a kernel leaves it.
    static func setChecksum(_ packet: inout [UInt8], at field: Int, partial: Bool = false) {
        packet.replaceSubrange(field..<(field + 2), with: [0, 0])
        let sum = partial ? ~checksum(pseudoHeader(packet)) : checksum(pseudoHeader(packet) + packet[20...])
        packet.replaceSubrange(field..<(field + 2), with: bytes(sum))
    }

    static func tcp(
        from source: UInt32 = 0x0a01_0003, to destination: UInt32 = 0x0a01_0004,
        sequence: UInt32 = 0xffff_ff00,
        flags: UInt8 = 0x18, options: [UInt8] = [], identification: UInt16 = 0x1234, payload: [UInt8],
        partial: Bool = false
    ) -> [UInt8] {
        var segment = bytes(UInt16(50000)) + bytes(UInt16(6443)) + bytes(sequence) + bytes(UInt32(77))
        segment +=
            [UInt8((20 + options.count) / 4) << 4, flags] + bytes(UInt16(512)) + [0, 0, 0, 0] + options
        var packet = ipv4(
            from: source, to: destination, transport: 6, identification: identification,
            payload: segment + payload)
        setChecksum(&packet, at: 36, partial: partial)
        return packet
    }

    static func udp(
        from source: UInt32 = 0x0a01_0003, to destination: UInt32 = 0x0a01_0004,
        identification: UInt16 = 0x1234,
        payload: [UInt8], partial: Bool = false
    ) -> [UInt8] {
        let datagram = bytes(UInt16(8472)) + bytes(UInt16(8472)) + bytes(UInt16(8 + payload.count)) + [0, 0]
        var packet = ipv4(
            from: source, to: destination, transport: 17, identification: identification,
            payload: datagram + payload)
        setChecksum(&packet, at: 26, partial: partial)
        return packet
    }

    static func header(
        segmentation: UInt8 = VirtioNetHeader.segmentationNone, size: UInt16 = 0, start: UInt16 = 20,
        offset: UInt16 = 16
    ) -> VirtioNetHeader {
        var header = VirtioNetHeader()
        header.flags = VirtioNetHeader.needsChecksum
        header.segmentationType = segmentation
        header.segmentSize = size
        header.headerLength = 40
        header.checksumStart = start
        header.checksumOffset = offset
        return header
    }
}
