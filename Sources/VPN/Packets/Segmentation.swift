/// Does in user space what a network device would: completes checksums and cuts super-packets into
/// packets, for peers that cannot take them as they are. The results are those of the kernel's
/// software segmentation (`inet_gso_segment`, `tcp_gso_segment`, `__udp_gso_segment`).
struct Segmentation {
    /// Holds one packet while it is being made.
    private var scratch: [UInt8] = []

    init() {}

    /// Calls `emit` with each complete packet that `header` and `packet` stand for, in order.
    ///
    /// Throws `DropReason` when the two do not fit each other; nothing has been emitted then.
    mutating func packets(
        _ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer, emit: (UnsafeRawBufferPointer) -> Void
    ) throws(DropReason) {
        let parsed = try IPv4Packet.parse(packet).get()
        guard header.fits(parsed, count: packet.count) else { throw .malformedOffload }
        if header.segmentationType == VirtioNetHeader.segmentationNone {
            guard header.flags & VirtioNetHeader.needsChecksum != 0 else { return emit(packet) }
            return complete(header, packet, parsed, emit)
        }
        let transportLength: Int
        if header.segmentationType == VirtioNetHeader.segmentationTCPv4 {
            guard packet.count >= parsed.headerLength + 20 else { throw .malformedOffload }
            transportLength = Int(packet[parsed.headerLength + 12] >> 4) * 4
            guard transportLength >= 20 else { throw .malformedOffload }
        } else {
            transportLength = 8
        }
        let headers = parsed.headerLength + transportLength
        guard packet.count >= headers else { throw .malformedOffload }
        cut(header, packet, parsed, headers: headers, emit)
    }

    /// Completes the checksum of a single packet.
    private mutating func complete(
        _ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer, _ parsed: IPv4Packet,
        _ emit: (UnsafeRawBufferPointer) -> Void
    ) {
        let start = Int(header.checksumStart)
        let field = start + Int(header.checksumOffset)
        // The field holds the pseudo header's sum already, so summing over it adds that in.
        let sum = InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: packet[start...]))
        var checksum = ~InternetChecksum.fold(sum)
        // UDP: zero means that there is no checksum (RFC 768).
        if checksum == 0, parsed.transport == IPv4Packet.udp { checksum = 0xffff }
        scratch.removeAll(keepingCapacity: true)
        scratch.append(contentsOf: packet)
        scratch.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: checksum, toByteOffset: field, as: UInt16.self)
            emit(UnsafeRawBufferPointer(bytes))
        }
    }

    /// Cuts a super-packet after `headers` bytes of headers.
    private mutating func cut(
        _ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer, _ parsed: IPv4Packet, headers: Int,
        _ emit: (UnsafeRawBufferPointer) -> Void
    ) {
        let size = Int(header.segmentSize)
        let payload = packet.count - headers
        let isTCP = header.segmentationType == VirtioNetHeader.segmentationTCPv4
        let identification = packet.bigEndian16(at: 4)
        let sequence = isTCP ? packet.bigEndian32(at: parsed.headerLength + 4) : 0
        var offset = 0
        var index: UInt16 = 0
        repeat {
            let count = min(size, payload - offset)
            let isLast = offset + count == payload
            scratch.removeAll(keepingCapacity: true)
            scratch.append(contentsOf: packet[..<headers])
            scratch.append(contentsOf: packet[(headers + offset)..<(headers + offset + count)])
            scratch.withUnsafeMutableBytes { bytes in
                bytes.storeBigEndian(UInt16(truncatingIfNeeded: bytes.count), at: 2)
                bytes.storeBigEndian(identification &+ index, at: 4)
                Self.setHeaderChecksum(bytes, headerLength: parsed.headerLength)
                let transport = parsed.headerLength
                if isTCP {
                    bytes.storeBigEndian(
                        sequence &+ UInt32(truncatingIfNeeded: offset), at: transport + 4)
                    // FIN and PSH belong to the last segment, CWR to the first.
                    if !isLast { bytes[transport + 13] &= ~0x09 }
                    if index > 0 { bytes[transport + 13] &= ~0x80 }
                } else {
                    bytes.storeBigEndian(
                        UInt16(truncatingIfNeeded: bytes.count - transport), at: transport + 4)
                }
                Self.setTransportChecksum(bytes, parsed, field: transport + Int(header.checksumOffset))
                emit(UnsafeRawBufferPointer(bytes))
            }
            offset += count
            index &+= 1
        } while offset < payload
    }

    static func setHeaderChecksum(_ bytes: UnsafeMutableRawBufferPointer, headerLength: Int) {
        bytes.storeBytes(of: 0, toByteOffset: 10, as: UInt16.self)
        let sum = InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: bytes[..<headerLength]))
        bytes.storeBytes(of: ~InternetChecksum.fold(sum), toByteOffset: 10, as: UInt16.self)
    }

    private static func setTransportChecksum(
        _ bytes: UnsafeMutableRawBufferPointer, _ parsed: IPv4Packet, field: Int
    ) {
        bytes.storeBytes(of: 0, toByteOffset: field, as: UInt16.self)
        let packet = UnsafeRawBufferPointer(bytes)
        let segment = UnsafeRawBufferPointer(rebasing: packet[parsed.headerLength...])
        let pseudo = InternetChecksum.pseudoHeader(
            ipHeader: packet, transport: parsed.transport, length: segment.count)
        var checksum = ~InternetChecksum.fold(InternetChecksum.sum(segment, initial: pseudo))
        if checksum == 0, parsed.transport == IPv4Packet.udp { checksum = 0xffff }
        bytes.storeBytes(of: checksum, toByteOffset: field, as: UInt16.self)
    }
}

extension UnsafeMutableRawBufferPointer {
    func storeBigEndian(_ value: some FixedWidthInteger, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: type(of: value).self)
    }
}
