internal import Glibc

/// Puts packets of one flow, as they come, back together into a super-packet, as a network card's receive
/// offload does: the opposite of `Segmentation`, and what the kernel's GRO would do.
///
/// Only packets that follow each other are joined, so their order never changes. Only those whose transport
/// checksum the channel vouches for are: a checksum that was computed by others is left to the kernel to verify.
struct PacketCoalescer {
    /// The flags that a TCP segment may have to be joined: ACK, and ECE; PSH and FIN end a super-packet.
    private static let joinableFlags: UInt8 = 0x10 | 0x40 | endingFlags
    private static let endingFlags: UInt8 = 0x08 | 0x01

    private let buffer: UnsafeMutableRawPointer
    private let capabilities: OffloadCapabilities
    /// The bytes of the packet that is held, without the virtio-net header; 0: none.
    private var count = 0
    private var segments = 0
    /// Whether more may be joined.
    private var isOpen = false
    private var transport: UInt8 = 0
    private var ipLength = 0
    private var headers = 0
    private var segmentSize = 0
    private var nextSequence: UInt32 = 0
    private var nextIdentification: UInt16 = 0
    private var header = VirtioNetHeader()

    /// `capabilities`: what the device takes. The owner calls `deallocate`.
    init(capabilities: OffloadCapabilities) {
        self.capabilities = capabilities
        self.buffer = .allocate(byteCount: VPNFrame.maximumPayload + 16, alignment: 16)
    }

    func deallocate() { buffer.deallocate() }

    private var packet: UnsafeMutableRawPointer { buffer + VirtioNetHeader.size }

    /// Takes one packet with a header that fits it and asks for no segmentation. `emit` gets what can no longer
    /// grow: a virtio-net header and its packet.
    mutating func add(
        _ bytes: UnsafeRawBufferPointer, _ parsed: IPv4Packet, _ header: VirtioNetHeader,
        emit: (UnsafeRawBufferPointer) -> Void
    ) {
        let payload = joinablePayload(bytes, parsed, header)
        if let payload, isOpen, join(bytes, parsed, payload) { return }
        flush(emit)
        guard let start = bytes.baseAddress, bytes.count <= 65_535 else { return }
        packet.copyMemory(from: start, byteCount: bytes.count)
        count = bytes.count
        segments = 1
        self.header = header
        isOpen = false
        guard let payload else { return }
        transport = parsed.transport
        ipLength = parsed.headerLength
        headers = bytes.count - payload
        segmentSize = payload
        nextIdentification = bytes.bigEndian16(at: 4) &+ 1
        isOpen = true
        if transport == IPv4Packet.tcp {
            nextSequence = bytes.bigEndian32(at: ipLength + 4) &+ UInt32(truncatingIfNeeded: payload)
            isOpen = bytes[ipLength + 13] & Self.endingFlags == 0
        }
    }

    /// Gives out what is held.
    mutating func flush(_ emit: (UnsafeRawBufferPointer) -> Void) {
        guard count > 0 else { return }
        if segments > 1 { finish() }
        header.store(in: buffer)
        emit(UnsafeRawBufferPointer(start: buffer, count: VirtioNetHeader.size + count))
        count = 0
        segments = 0
        isOpen = false
    }

    /// The payload's length, if this kind of packet can be part of a super-packet.
    private func joinablePayload(
        _ bytes: UnsafeRawBufferPointer, _ parsed: IPv4Packet, _ header: VirtioNetHeader
    ) -> Int? {
        let ip = parsed.headerLength
        guard header.flags == VirtioNetHeader.needsChecksum, Int(header.checksumStart) == ip,
            !parsed.isFragment,
            ip == 20
        else { return nil }
        let payload: Int
        switch parsed.transport {
        case IPv4Packet.tcp:
            guard capabilities.contains(.tcpSegmentation), header.checksumOffset == 16,
                bytes.count >= ip + 20,
                bytes[ip + 13] & ~Self.joinableFlags == 0, bytes[ip + 13] & 0x10 != 0
            else { return nil }
            let length = Int(bytes[ip + 12] >> 4) * 4
            guard length >= 20 else { return nil }
            payload = bytes.count - ip - length
        case IPv4Packet.udp:
            guard capabilities.contains(.udpSegmentation), header.checksumOffset == 6, bytes.count >= ip + 8,
                Int(bytes.bigEndian16(at: ip + 4)) == bytes.count - ip
            else { return nil }
            payload = bytes.count - ip - 8
        default:
            return nil
        }
        // Shorter segments are not taken by `VirtioNetHeader.fits` either.
        return payload >= 1 && (payload >= 48 || isOpen) ? payload : nil
    }

    /// Appends the payload, if the packet is the next of what is held.
    private mutating func join(_ bytes: UnsafeRawBufferPointer, _ parsed: IPv4Packet, _ payload: Int) -> Bool
    {
        guard let start = bytes.baseAddress, parsed.transport == transport, bytes.count - payload == headers,
            segmentSize >= 48, payload <= segmentSize, count + payload <= 65_535,
            segments < DatagramFormat.maximumSegments, bytes.bigEndian16(at: 4) == nextIdentification,
            // Version, length of the header, class of service; flags, time to live, protocol; addresses.
            memcmp(packet, start, 2) == 0, memcmp(packet + 6, start + 6, 4) == 0,
            memcmp(packet + 12, start + 12, 8) == 0,
            // Ports.
            memcmp(packet + ipLength, start + ipLength, 4) == 0
        else { return false }
        let (held, new) = (packet + ipLength, start + ipLength)
        if transport == IPv4Packet.tcp {
            let flags = held.load(fromByteOffset: 13, as: UInt8.self)
            let added = new.load(fromByteOffset: 13, as: UInt8.self)
            guard bytes.bigEndian32(at: ipLength + 4) == nextSequence,
                (flags ^ added) & ~Self.endingFlags == 0,
                // Acknowledgement and offset; window; urgent pointer and options.
                memcmp(held + 8, new + 8, 5) == 0, memcmp(held + 14, new + 14, 2) == 0,
                memcmp(held + 18, new + 18, headers - ipLength - 18) == 0
            else { return false }
            held.storeBytes(of: flags | added, toByteOffset: 13, as: UInt8.self)
            if added & Self.endingFlags != 0 { isOpen = false }
            nextSequence &+= UInt32(truncatingIfNeeded: payload)
        }
        (packet + count).copyMemory(from: start + headers, byteCount: payload)
        count += payload
        segments += 1
        nextIdentification &+= 1
        if payload < segmentSize { isOpen = false }
        return true
    }

    /// Makes the headers those of a super-packet.
    private mutating func finish() {
        let whole = UnsafeMutableRawBufferPointer(start: packet, count: count)
        whole.storeBigEndian(UInt16(truncatingIfNeeded: count), at: 2)
        Segmentation.setHeaderChecksum(whole, headerLength: ipLength)
        let isTCP = transport == IPv4Packet.tcp
        if !isTCP { whole.storeBigEndian(UInt16(truncatingIfNeeded: count - ipLength), at: ipLength + 4) }
        let pseudo = InternetChecksum.pseudoHeader(
            ipHeader: UnsafeRawBufferPointer(whole), transport: transport, length: count - ipLength)
        whole.storeBytes(
            of: InternetChecksum.fold(pseudo), toByteOffset: ipLength + (isTCP ? 16 : 6), as: UInt16.self)
        header.segmentationType = isTCP ? VirtioNetHeader.segmentationTCPv4 : VirtioNetHeader.segmentationUDP
        header.headerLength = UInt16(truncatingIfNeeded: headers)
        header.segmentSize = UInt16(truncatingIfNeeded: segmentSize)
    }
}
