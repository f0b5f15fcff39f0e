internal import CLinuxNet
internal import Glibc
internal import NIOCore
internal import Synchronization

/// Reads packets from the device on a thread of its own and hands them to the links. All that wait
/// are read at one waking, and each peer's go to its link in one batch, so that they are sealed and
/// flushed together.
final class DevicePump: Sendable {
    /// How many packets are read before the links get what there is.
    private static let packetsPerTurn = 64
    /// When a batch is handed over although more packets wait.
    private static let batchBytes = 256 * 1024

    private let device: any PacketDevice
    private let routing: RoutingPublisher
    private let counters: PacketCounters
    private let onFailure: @Sendable (PacketDeviceError) -> Void
    private let isStopping = Atomic<Bool>(false)

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
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        let retained = Unmanaged.passRetained(pump)
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                clinuxnet_name_thread("vpn-device")
                Unmanaged<DevicePump>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        guard result == 0 else {
            retained.release()
            throw PacketDeviceError(errno: result)
        }
        return pump
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
        while !isStopping.load(ordering: .acquiring) {
            let table = reader.latest()
            var count = 0
            do throws(PacketDeviceError) {
                while count < Self.packetsPerTurn, let length = try device.read(into: scratch) {
                    count += 1
                    dispatch(UnsafeRawBufferPointer(rebasing: scratch[..<length]), table, &pending)
                }
            } catch {
                if !isStopping.load(ordering: .acquiring) { onFailure(error) }
                return
            }
            for batch in pending {
                batch.link.send(PacketBatch(frames: batch.frames, packets: batch.packets))
            }
            pending.removeAll(keepingCapacity: true)
            if count == 0 { device.waitUntilReadable() }
        }
    }

    private func dispatch(_ bytes: UnsafeRawBufferPointer, _ table: RoutingTable, _ pending: inout [Pending])
    {
        guard bytes.count > VirtioNetHeader.size else { return counters.dropped(.malformed) }
        let link: PeerLink
        do {
            let packet = try IPv4Packet.parse(
                UnsafeRawBufferPointer(rebasing: bytes[VirtioNetHeader.size...])
            ).get()
            link = try table.route(packet).get()
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
