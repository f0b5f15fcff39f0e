internal import CLinuxNet
internal import Glibc
internal import LibP2P
internal import Synchronization

/// The sessions by our index.
final class SessionTable: Sendable {
    let sessions: [UInt32: DatagramSession]

    init(_ sessions: [UInt32: DatagramSession] = [:]) { self.sessions = sessions }
}

/// Reads datagrams, opens them, and writes their packets to the device, joined to super-packets. Belongs to the
/// packet thread, and shares no lock with the control plane; what concerns that is handed to `onControl`.
struct DatagramReceiver {
    /// What the control plane wants to know.
    enum Event: Sendable {
        case probe(index: UInt32, number: UInt64, from: DatagramEndpoint)
        case echo(index: UInt32, number: UInt64, from: DatagramEndpoint)
        /// An authentic packet came from another address than the path's.
        case moved(index: UInt32, from: DatagramEndpoint)
        /// A block of the peer did not come whole.
        case lostBlock(index: UInt32)
        /// The peer says so of one of ours.
        case blockLost(index: UInt32)
    }

    /// What a receiver is made of, on whatever thread.
    struct Source: Sendable {
        let socket: DatagramSocket
        let sessions: Published<SessionTable>
        let onControl: @Sendable (Event) -> Void
    }

    /// How many bundles are read in a turn.
    private static let bundlesPerTurn = 16
    private static let capacity = 1 << 16

    let socket: DatagramSocket
    private let device: any PacketDevice
    private var sessions: Published<SessionTable>.Reader
    private var routing: RoutingPublisher.Reader
    private let counters: PacketCounters
    private let onControl: @Sendable (Event) -> Void
    private var coalescer: PacketCoalescer
    private var assembler = BlockAssembler()
    /// Where bundles are read.
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.capacity, alignment: 64)
    /// Where blocks are opened.
    private let opened = UnsafeMutableRawBufferPointer.allocate(
        byteCount: DatagramFormat.maximumBlock, alignment: 64)
    /// The session of which a block was lost in this turn.
    private var lostBlock: UInt32?
    private var packets = 0
    private var bytes = 0
    private var refused = 0
    /// The last address that was reported as new, so that each is reported once.
    private var reported: DatagramEndpoint?

    /// The owner calls `deallocate`.
    init(_ source: Source, device: any PacketDevice, routing: RoutingPublisher, counters: PacketCounters) {
        self.socket = source.socket
        self.device = device
        self.sessions = .init(source.sessions)
        self.routing = .init(routing)
        self.counters = counters
        self.onControl = source.onControl
        self.coalescer = PacketCoalescer(capabilities: device.capabilities)
    }

    func deallocate() {
        coalescer.deallocate()
        assembler.deallocate()
        buffer.deallocate()
        opened.deallocate()
    }

    /// Takes what waits at the socket, up to some bundles. False when the socket is gone.
    mutating func turn() -> Bool {
        var isOpen = true
        receiving: for _ in 0..<Self.bundlesPerTurn {
            switch socket.receive(into: buffer) {
            case .datagrams(let count, let segment, let from):
                guard segment > 0, count <= Self.capacity else { continue }
                let table = sessions.latest()
                var offset = 0
                while offset < count {
                    let length = min(segment, count - offset)
                    let rest = UnsafeRawBufferPointer(rebasing: buffer[offset..<count])
                    if let part = DatagramPart(UnsafeRawBufferPointer(rebasing: rest[..<length])) {
                        offset += take(part, rest, segment: segment, from: from, table)
                        continue
                    }
                    take(
                        UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<(offset + length)]),
                        from: from,
                        table)
                    offset += length
                }
            case .nothing: break receiving
            case .failed:
                isOpen = false
                break receiving
            }
        }
        finishTurn()
        return isOpen
    }

    /// Takes `part`, with which `rest` starts, and what follows of its block; returns how many bytes that were.
    private mutating func take(
        _ part: DatagramPart, _ rest: UnsafeRawBufferPointer, segment: Int, from: DatagramEndpoint,
        _ table: SessionTable
    ) -> Int {
        let length = min(segment, rest.count)
        guard let start = rest.baseAddress, let session = table.sessions[part.index],
            session.window.accepts(part.counter & ~DatagramFormat.blockFlag)
        else {
            counters.dropped(.notAuthentic)
            return length
        }
        let header = DatagramFormat.partHeaderLength
        if let whole = part.wholeBlock(in: rest, segment: segment) {
            open(
                start + header, stride: segment, piece: segment - header,
                count: whole - (part.last + 1) * header,
                part, session, from)
            return whole
        }
        let piece = UnsafeRawBufferPointer(rebasing: rest[header..<length])
        var lost: UInt32?
        let block = assembler.add(part, piece: piece) { lost = $0 }
        if let lost { lostBlock = lost }
        if let block {
            open(
                block.bytes, stride: block.piece, piece: block.piece, count: block.count, part, session,
                from)
        }
        return length
    }

    private mutating func open(
        _ pieces: UnsafeRawPointer, stride: Int, piece: Int, count: Int, _ part: DatagramPart,
        _ session: DatagramSession, _ from: DatagramEndpoint
    ) {
        guard
            let length = session.openBlock(
                pieces, stride: stride, piece: piece, count: count, counter: part.counter, into: opened)
        else { return counters.dropped(.notAuthentic) }
        assembler.passed(index: part.index, counter: part.counter & ~DatagramFormat.blockFlag) {
            lostBlock = $0
        }
        let framed = UnsafeRawBufferPointer(rebasing: opened[..<length])
        guard length > VirtioNetHeader.size, let header = VirtioNetHeader(framed),
            device.capabilities.isSuperset(of: header.required)
        else { return counters.dropped(.malformedOffload) }
        do throws(DropReason) {
            _ = try admit(
                UnsafeRawBufferPointer(rebasing: framed[VirtioNetHeader.size...]), header, session, from)
            // What came before is not to be overtaken.
            flush()
            if !device.write(framed) { refused += 1 }
        } catch {
            counters.dropped(error)
        }
    }

    private mutating func take(
        _ datagram: UnsafeMutableRawBufferPointer, from: DatagramEndpoint, _ table: SessionTable
    ) {
        guard datagram.count >= DatagramFormat.minimumLength,
            let session = table.sessions[UnsafeRawBufferPointer(datagram).bigEndian32(at: 0)],
            let inner = session.open(datagram)
        else { return counters.dropped(.notAuthentic) }
        let body = UnsafeRawBufferPointer(rebasing: inner[DatagramFormat.innerHeaderLength...])
        switch inner[0] {
        case DatagramFormat.packet: packet(body, VirtioNetHeader(), session, from)
        case DatagramFormat.partialPacket:
            var header = VirtioNetHeader()
            header.flags = VirtioNetHeader.needsChecksum
            header.checksumOffset = UInt16(inner[1])
            header.checksumStart = inner.bigEndian16(at: 2)
            packet(body, header, session, from)
        case DatagramFormat.probe where body.count >= 8:
            onControl(.probe(index: session.localIndex, number: number(body), from: from))
        case DatagramFormat.echo where body.count >= 8:
            onControl(.echo(index: session.localIndex, number: number(body), from: from))
        case DatagramFormat.blockLost: onControl(.blockLost(index: session.localIndex))
        // Kinds of later versions.
        default: counters.dropped(.malformed)
        }
    }

    private func number(_ body: UnsafeRawBufferPointer) -> UInt64 {
        UInt64(body.bigEndian32(at: 0)) << 32 | UInt64(body.bigEndian32(at: 4))
    }

    private mutating func packet(
        _ bytes: UnsafeRawBufferPointer, _ header: VirtioNetHeader, _ session: DatagramSession,
        _ from: DatagramEndpoint
    ) {
        do throws(DropReason) {
            let parsed = try admit(bytes, header, session, from)
            let device = device
            var refused = 0
            coalescer.add(bytes, parsed, header) { if !device.write($0) { refused += 1 } }
            self.refused += refused
        } catch {
            counters.dropped(error)
        }
    }

    /// Checks that an authentic packet is the peer's and for us, and counts it.
    private mutating func admit(
        _ bytes: UnsafeRawBufferPointer, _ header: VirtioNetHeader, _ session: DatagramSession,
        _ from: DatagramEndpoint
    ) throws(DropReason) -> IPv4Packet {
        let table = routing.latest()
        let parsed = try IPv4Packet.parse(bytes).get()
        if let objection = table.objection(to: parsed, from: session.peer) { throw objection }
        guard header.fits(parsed, count: bytes.count) else { throw .malformedOffload }
        if let path = table.path(to: parsed.source), path.session === session, path.endpoint != from,
            reported != from
        {
            reported = from
            onControl(.moved(index: session.localIndex, from: from))
        }
        packets += 1
        self.bytes += bytes.count
        return parsed
    }

    private mutating func flush() {
        let device = device
        var refused = 0
        coalescer.flush { if !device.write($0) { refused += 1 } }
        self.refused += refused
    }

    private mutating func finishTurn() {
        flush()
        if let lostBlock { onControl(.lostBlock(index: lostBlock)) }
        lostBlock = nil
        if refused > 0 { counters.dropped(.deviceRefused, count: refused) }
        refused = 0
        guard packets > 0 else { return }
        counters.received(packets: packets, bytes: bytes)
        packets = 0
        bytes = 0
    }
}
