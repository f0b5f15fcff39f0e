internal import Glibc

/// Seals packets into one bundle of datagrams, which leaves in one call of the kernel when it is full, when a
/// datagram does not fit into it, or at `flush`. Belongs to the packet thread; allocates nothing
/// after it was made.
struct DatagramSender {
    private let arena: UnsafeMutableRawPointer
    private let counters: PacketCounters
    private var path: DatagramPath?
    private var count = 0
    private var segments = 0
    /// The length of the datagrams of the bundle.
    private var segmentSize = 0
    private var packets = 0
    private var bytes = 0

    /// The owner calls `deallocate`.
    init(counters: PacketCounters) {
        self.counters = counters
        self.arena = .allocate(byteCount: 1 << 17, alignment: 64)
    }

    func deallocate() { arena.deallocate() }

    /// Whether each packet that the two stand for fits into a datagram of the path.
    static func fits(_ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer, on path: DatagramPath)
        -> Bool
    {
        if header.segmentationType == VirtioNetHeader.segmentationNone {
            return packet.count <= path.session.maximumPacket
        }
        // 120 bytes are the longest headers of IPv4 and TCP; the device's own packets have far shorter ones.
        return packet.count > 120
            && headersLength(header, packet) + Int(header.segmentSize) <= path.session.maximumPacket
    }

    private static func headersLength(_ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer) -> Int {
        let ip = Int(packet[0] & 15) * 4
        return header.segmentationType == VirtioNetHeader.segmentationTCPv4
            ? ip + Int(packet[ip + 12] >> 4) * 4 : ip + 8
    }

    /// Takes a packet, and `framed`, the same with its virtio-net header before it, for which `fits` holds.
    mutating func send(
        _ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer, framed: UnsafeRawBufferPointer,
        _ parsed: IPv4Packet, on path: DatagramPath
    ) throws(DropReason) {
        guard header.fits(parsed, count: packet.count), let start = packet.baseAddress else {
            throw .malformedOffload
        }
        if self.path !== path {
            flush()
            self.path = path
        }
        packets += 1
        bytes += packet.count
        guard header.segmentationType != VirtioNetHeader.segmentationNone else {
            let isPartial = header.flags & VirtioNetHeader.needsChecksum != 0
            // An offset that does not fit its byte: no protocol has one.
            guard !isPartial || header.checksumOffset <= 255 else { throw .malformedOffload }
            let inner = place(packet.count, on: path)
            inner.copyMemory(from: start, byteCount: packet.count)
            try seal(
                packet.count, on: path,
                partial: isPartial ? (header.checksumStart, header.checksumOffset) : nil)
            return
        }
        guard path.session.sealsBlock(header, count: framed.count) else {
            return try cut(header, packet, parsed, on: path)
        }
        try sendBlock(framed, on: path)
    }

    /// Sends a super-packet as a block of its own.
    private mutating func sendBlock(_ framed: UnsafeRawBufferPointer, on path: DatagramPath)
        throws(DropReason)
    {
        sendBundle()
        guard let total = path.session.sealBlock(framed, into: arena) else { throw .noPath }
        let part = path.session.pieceLength(for: framed.count) + DatagramFormat.partHeaderLength
        let most = part * min(DatagramFormat.maximumSegments, DatagramFormat.maximumBundle / part)
        var offset = 0
        while offset < total {
            let length = min(most, total - offset)
            hand(UnsafeRawBufferPointer(start: arena + offset, count: length), segment: part, on: path)
            offset += length
        }
        path.noteUse()
    }

    /// Cuts a super-packet, whose checksums stay partial: the tag protects them better.
    private mutating func cut(
        _ header: VirtioNetHeader, _ packet: UnsafeRawBufferPointer, _ parsed: IPv4Packet,
        on path: DatagramPath
    ) throws(DropReason) {
        let ip = parsed.headerLength
        let headers = Self.headersLength(header, packet)
        guard let start = packet.baseAddress, headers >= ip + 8, packet.count >= headers else {
            throw .malformedOffload
        }
        let isTCP = header.segmentationType == VirtioNetHeader.segmentationTCPv4
        guard !isTCP || headers >= ip + 20 else { throw .malformedOffload }
        let size = Int(header.segmentSize)
        let identification = packet.bigEndian16(at: 4)
        let sequence = isTCP ? packet.bigEndian32(at: ip + 4) : 0
        let field = ip + Int(header.checksumOffset)
        var (offset, index) = (headers, UInt16(0))
        repeat {
            let payload = min(size, packet.count - offset)
            let total = headers + payload
            let inner = place(total, on: path)
            inner.copyMemory(from: start, byteCount: headers)
            (inner + headers).copyMemory(from: start + offset, byteCount: payload)
            let bytes = UnsafeMutableRawBufferPointer(start: inner, count: total)
            bytes.storeBigEndian(UInt16(truncatingIfNeeded: total), at: 2)
            bytes.storeBigEndian(identification &+ index, at: 4)
            Segmentation.setHeaderChecksum(bytes, headerLength: ip)
            if isTCP {
                bytes.storeBigEndian(sequence &+ UInt32(truncatingIfNeeded: offset - headers), at: ip + 4)
                // FIN and PSH belong to the last segment, CWR to the first.
                if offset + payload < packet.count { bytes[ip + 13] &= ~0x09 }
                if index > 0 { bytes[ip + 13] &= ~0x80 }
            } else {
                bytes.storeBigEndian(UInt16(truncatingIfNeeded: total - ip), at: ip + 4)
            }
            let pseudo = InternetChecksum.pseudoHeader(
                ipHeader: UnsafeRawBufferPointer(bytes), transport: parsed.transport, length: total - ip)
            bytes.storeBytes(of: InternetChecksum.fold(pseudo), toByteOffset: field, as: UInt16.self)
            try seal(total, on: path, partial: (UInt16(truncatingIfNeeded: ip), header.checksumOffset))
            offset += payload
            index &+= 1
        } while offset < packet.count
    }

    /// The place of a packet of `length` bytes in the bundle, after sending what it cannot be added to.
    private mutating func place(_ length: Int, on path: DatagramPath) -> UnsafeMutableRawPointer {
        let total = length + DatagramFormat.overhead
        if count > 0,
            total > segmentSize || segments == DatagramFormat.maximumSegments
                || count + total > DatagramFormat.maximumBundle
        {
            sendBundle()
        }
        if count == 0 { segmentSize = total }
        return arena + count + DatagramFormat.headerLength + DatagramFormat.innerHeaderLength
    }

    private mutating func seal(_ length: Int, on path: DatagramPath, partial: (UInt16, UInt16)?)
        throws(DropReason)
    {
        let start = arena + count
        var inner: UInt32 = 0
        if let (checksumStart, offset) = partial {
            inner =
                UInt32(DatagramFormat.partialPacket) << 24 | UInt32(offset & 255) << 16
                | UInt32(checksumStart)
        }
        start.storeBytes(of: inner.bigEndian, toByteOffset: DatagramFormat.headerLength, as: UInt32.self)
        guard let total = path.session.seal(start, count: DatagramFormat.innerHeaderLength + length) else {
            throw .noPath
        }
        count += total
        segments += 1
        // A shorter one is the last of its bundle.
        if total < segmentSize { sendBundle() }
    }

    /// Sends what is there.
    mutating func flush() {
        sendBundle()
        if packets > 0 {
            counters.sent(packets: packets, bytes: bytes)
            packets = 0
            bytes = 0
        }
    }

    private mutating func sendBundle() {
        guard count > 0, let path else { return }
        hand(UnsafeRawBufferPointer(start: arena, count: count), segment: segmentSize, on: path)
        path.noteUse()
        count = 0
        segments = 0
    }

    /// Gives datagrams to the kernel.
    private func hand(_ bytes: UnsafeRawBufferPointer, segment: Int, on path: DatagramPath) {
        var error = path.socket.send(bytes, segment: segment, to: path.endpoint)
        if error == EIO || error == EINVAL || error == EOPNOTSUPP, bytes.count > segment {
            // A network card without checksum offload takes no bundles.
            error = sendSingly(bytes, segment: segment, on: path)
        }
        // A full buffer is as a full queue of a router; anything else the next look at the path finds out.
        if error != 0 { counters.dropped(.queueFull, count: (bytes.count + segment - 1) / segment) }
    }

    private func sendSingly(_ bytes: UnsafeRawBufferPointer, segment: Int, on path: DatagramPath) -> Int32 {
        var (offset, last) = (0, Int32(0))
        while offset < bytes.count {
            let length = min(segment, bytes.count - offset)
            let error = path.socket.send(
                UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)]), segment: length,
                to: path.endpoint)
            if error != 0 { last = error }
            offset += length
        }
        return last
    }
}
