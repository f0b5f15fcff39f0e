internal import NIOCore
internal import Synchronization

/// The packet thread: reads packets from the device and hands them to the links, and takes datagrams. Of the device
/// what waits is read at one waking, and each peer's go to its link in one batch, so that they are sealed and flushed
/// together. Packets to peers with a datagram path are sealed and sent on this thread.
///
/// Both ways share a thread because they wait for each other: the acknowledgements of what was written to the device
/// are there when the write returns, and another thread would have to be woken for each of them.
final class DevicePump: Sendable {
    /// How many packets are read before the links get what there is, and datagrams have their turn.
    private static let packetsPerTurn = 64
    /// The turn of the device also ends after so many bytes: what a super-packet costs grows with its length.
    private static let bytesPerTurn = 1 << 20
    /// When a batch is handed over although more packets wait.
    private static let batchBytes = 256 * 1024

    private let device: any PacketDevice
    private let routing: RoutingPublisher
    private let counters: PacketCounters
    private let onFailure: @Sendable (PacketDeviceError) -> Void
    private let isStopping = Atomic<Bool>(false)
    /// Datagrams that the thread does not take yet.
    private let newDatagrams = Mutex<DatagramReceiver.Source?>(nil)
    private let hasNewDatagrams = Atomic<Bool>(false)

    private init(
        device: any PacketDevice, routing: RoutingPublisher, counters: PacketCounters,
        onFailure: @escaping @Sendable (PacketDeviceError) -> Void
    ) {
        self.device = device
        self.routing = routing
        self.counters = counters
        self.onFailure = onFailure
    }

    /// Starts the thread. `onFailure` is called on it, once, when the device is gone.
    ///
    /// Throws the system's error number when there can be no thread.
    static func start(
        device: any PacketDevice, routing: RoutingPublisher, counters: PacketCounters,
        onFailure: @escaping @Sendable (PacketDeviceError) -> Void
    ) throws(PacketDeviceError) -> DevicePump {
        let pump = DevicePump(device: device, routing: routing, counters: counters, onFailure: onFailure)
        let result = DetachedThread.start(name: "vpn-packets") { pump.run() }
        guard result == 0 else { throw PacketDeviceError(errno: result) }
        return pump
    }

    /// Takes datagrams from now on, until the thread ends.
    func attach(_ datagrams: DatagramReceiver.Source) {
        newDatagrams.withLock { $0 = datagrams }
        hasNewDatagrams.store(true, ordering: .releasing)
        device.wake()
    }

    /// Ends the thread soon; the device can be dropped at once.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        device.wake()
    }

    /// Packets of one turn for one link.
    private struct Pending {
        let link: PeerLink
        var frames: ByteBuffer
        var packets: Int
    }

    private func run() {
        // One packet and its frame's prefix, so that packet and prefix are copied as one.
        let scratch = UnsafeMutableRawBufferPointer.allocate(
            byteCount: VPNFrame.maximumPayload, alignment: 16)
        defer { scratch.deallocate() }
        var reader = RoutingPublisher.Reader(routing)
        var pending: [Pending] = []
        var sender = DatagramSender(counters: counters)
        defer { sender.deallocate() }
        var receiver: DatagramReceiver?
        defer { receiver?.deallocate() }
        while !isStopping.load(ordering: .acquiring) {
            // Looked at between turns, so that neither way waits for the other to run dry.
            let ready = device.wait(alongside: receiver?.socket.descriptor)
            if hasNewDatagrams.exchange(false, ordering: .acquiring) {
                receiver?.deallocate()
                receiver = newDatagrams.withLock { $0.take() }.map {
                    DatagramReceiver($0, device: device, routing: routing, counters: counters)
                }
            }
            if ready.contains(.other), receiver?.turn() == false {
                receiver?.deallocate()
                receiver = nil
            }
            guard ready.contains(.device) else { continue }
            let table = reader.latest()
            var (count, bytes) = (0, 0)
            do throws(PacketDeviceError) {
                while count < Self.packetsPerTurn, bytes < Self.bytesPerTurn,
                    let length = try device.read(into: scratch)
                {
                    count += 1
                    bytes += length
                    dispatch(UnsafeRawBufferPointer(rebasing: scratch[..<length]), table, &pending, &sender)
                }
            } catch {
                if !isStopping.load(ordering: .acquiring) { onFailure(error) }
                return
            }
            sender.flush()
            for batch in pending {
                batch.link.send(PacketBatch(frames: batch.frames, packets: batch.packets))
            }
            pending.removeAll(keepingCapacity: true)
        }
    }

    private func dispatch(
        _ bytes: UnsafeRawBufferPointer, _ table: RoutingTable, _ pending: inout [Pending],
        _ sender: inout DatagramSender
    ) {
        guard bytes.count > VirtioNetHeader.size, let header = VirtioNetHeader(bytes) else {
            return counters.dropped(.malformed)
        }
        let packet = UnsafeRawBufferPointer(rebasing: bytes[VirtioNetHeader.size...])
        let link: PeerLink
        do throws(DropReason) {
            let parsed = try IPv4Packet.parse(packet).get()
            if let path = table.path(to: parsed.destination), DatagramSender.fits(header, packet, on: path) {
                return try sender.send(header, packet, framed: bytes, parsed, on: path)
            }
            link = try table.route(parsed).get()
        } catch {
            return counters.dropped(error)
        }
        // Packets come in runs, and a turn rarely has more than a few destinations.
        if let index = pending.lastIndex(where: { $0.link === link }) {
            VPNFrame.append(packet: bytes, to: &pending[index].frames)
            pending[index].packets += 1
            if pending[index].frames.readableBytes >= Self.batchBytes {
                let batch = pending.remove(at: index)
                batch.link.send(PacketBatch(frames: batch.frames, packets: batch.packets))
            }
            return
        }
        var frames = ByteBufferAllocator().buffer(capacity: max(4096, bytes.count + VPNFrame.prefixLength))
        VPNFrame.append(packet: bytes, to: &frames)
        pending.append(Pending(link: link, frames: frames, packets: 1))
    }
}
