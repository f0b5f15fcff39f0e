internal import CLinuxNet
internal import Glibc
internal import LibP2P
internal import Synchronization

/// The sessions by our index.
final class SessionTable: Sendable {
    let sessions: [UInt32: DatagramSession]

    init(_ sessions: [UInt32: DatagramSession] = [:]) { self.sessions = sessions }
}

/// Reads datagrams on a thread of its own, opens them, and writes their packets to the device, joined to
/// super-packets. Shares no lock with the control plane; what concerns that is handed to `onControl`.
final class DatagramReceiver: Sendable {
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

    /// How many bundles are read before what is held is given to the device.
    private static let bundlesPerTurn = 16

    private let socket: DatagramSocket
    private let device: any PacketDevice
    private let sessions: Published<SessionTable>
    private let routing: RoutingPublisher
    private let counters: PacketCounters
    private let onControl: @Sendable (Event) -> Void
    private let isStopping = Atomic<Bool>(false)

    private init(
        socket: DatagramSocket, device: any PacketDevice, sessions: Published<SessionTable>,
        routing: RoutingPublisher, counters: PacketCounters, onControl: @escaping @Sendable (Event) -> Void
    ) {
        self.socket = socket
        self.device = device
        self.sessions = sessions
        self.routing = routing
        self.counters = counters
        self.onControl = onControl
    }

    /// Starts the thread.
    ///
    /// Throws the system's error number when there can be no thread.
    static func start(
        socket: DatagramSocket, device: any PacketDevice, sessions: Published<SessionTable>,
        routing: RoutingPublisher, counters: PacketCounters, onControl: @escaping @Sendable (Event) -> Void
    ) throws(PacketDeviceError) -> DatagramReceiver {
        let receiver = DatagramReceiver(
            socket: socket, device: device, sessions: sessions, routing: routing, counters: counters,
            onControl: onControl)
        let result = DetachedThread.start(name: "vpn-datagrams") { receiver.run() }
        guard result == 0 else { throw PacketDeviceError(errno: result) }
        return receiver
    }

    /// Ends the thread soon.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        socket.wake()
    }

    private func run() {
        let capacity = 1 << 16
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 64)
        defer { buffer.deallocate() }
        var work = Work(
            device: device, routing: RoutingPublisher.Reader(routing), counters: counters,
            onControl: onControl)
        defer { work.deallocate() }
        var reader = Published<SessionTable>.Reader(sessions)
        while !isStopping.load(ordering: .acquiring) {
            var bundles = 0
            receiving: while bundles < Self.bundlesPerTurn {
                switch socket.receive(into: buffer) {
                case .datagrams(let count, let segment, let from):
                    bundles += 1
                    guard segment > 0, count <= capacity else { continue }
                    let table = reader.latest()
                    var offset = 0
                    while offset < count {
                        let length = min(segment, count - offset)
                        let rest = UnsafeRawBufferPointer(rebasing: buffer[offset..<count])
                        if let part = DatagramPart(UnsafeRawBufferPointer(rebasing: rest[..<length])) {
                            offset += work.take(part, rest, segment: segment, from: from, table)
                            continue
                        }
                        work.take(
                            UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<(offset + length)]),
                            from: from,
                            table)
                        offset += length
                    }
                case .nothing: break receiving
                case .failed: return
                }
            }
            work.finishTurn()
            if bundles == 0 { socket.waitUntilReadable() }
        }
    }

    /// What the thread owns.
    private struct Work {
        let device: any PacketDevice
        var routing: RoutingPublisher.Reader
        let counters: PacketCounters
        let onControl: @Sendable (Event) -> Void
        var coalescer: PacketCoalescer
        var assembler = BlockAssembler()
        /// Where blocks are opened.
        let opened = UnsafeMutableRawBufferPointer.allocate(
            byteCount: DatagramFormat.maximumBlock, alignment: 64)
        /// The session of which a block was lost in this turn.
        var lostBlock: UInt32?
        var packets = 0
        var bytes = 0
        var refused = 0
        /// The last address that was reported as new, so that each is reported once.
        var reported: DatagramEndpoint?

        init(
            device: any PacketDevice, routing: RoutingPublisher.Reader, counters: PacketCounters,
            onControl: @escaping @Sendable (Event) -> Void
        ) {
            self.device = device
            self.routing = routing
            self.counters = counters
            self.onControl = onControl
            self.coalescer = PacketCoalescer(capabilities: device.capabilities)
        }

        func deallocate() {
            coalescer.deallocate()
            assembler.deallocate()
            opened.deallocate()
        }

        /// Takes `part`, with which `rest` starts, and what follows of its block; returns how many bytes that were.
        mutating func take(
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

        mutating func take(
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

        mutating func finishTurn() {
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
}
