import Dispatch
import LibP2P
import Logging
import Multiformats
import NIOCore
import NIOPosix
import Synchronization
import VPN

/// What a packet costs on the thread that reads the device, from there to a peer's queue, without the kernel: its
/// header is read, its destination looked up among 1,000 nodes, and it is copied into a batch. No node is connected, so
/// the queues are full, and what a batch costs beyond them is not in it.
enum Router {
    struct Failed: Error {}

    private static let packetsAtOnce = 6400

    static func measurements(isQuick: Bool) async throws -> [Measurement] {
        var found: [Measurement] = []
        let subnet = try VirtualSubnet("10.1.0.0/16")
        for (name, bytes, isOwned) in [
            ("router, packet to one of 1,000 nodes", 64, true),
            ("router, packet to one of 1,000 nodes", 1420, true),
            ("router, packet to an address that nobody has", 64, false),
        ] {
            let device = EndlessDevice(bytes: bytes, isOwned: isOwned)
            let service = VPNService(
                configuration: .init(subnet: subnet, queueBytes: 4096), host: NobodyIsConnected(),
                logger: Logger(label: "microbench", factory: { _ in SwiftLogNoOpLogHandler() }),
                isAdmitted: { _ in true }, openDevice: { device })
            service.updateRoutes(
                Dictionary(
                    uniqueKeysWithValues: (1...1000).map { number in
                        (VirtualAddress(rawValue: 0x0a01_0000 + number), Identity.generate().peerID)
                    }))
            try await service.setLocalAddress(VirtualAddress(rawValue: 0x0a01_07d0))
            defer { service.stop() }
            let many = Measurement.of(name, bytes: bytes, isQuick: isQuick) {
                device.pass(packetsAtOnce)
            }
            let dropped = service.counters.dropped
            guard dropped[.malformed] == nil, (dropped[.noRoute] == nil) == isOwned else {
                throw Failed()
            }
            found.append(
                Measurement(name: name, bytes: bytes, nanoseconds: many.nanoseconds / Double(packetsAtOnce)))
        }
        return found
    }

    /// Has as many packets as it is told, to one address after the other.
    private final class EndlessDevice: VPNDevice {
        let name = "bench0"
        let capabilities: OffloadCapabilities = [.partialChecksum, .tcpSegmentation]
        private let packet: [UInt8]
        private let isOwned: Bool
        private let remaining = Atomic<Int>(0)
        private let destination = Atomic<Int>(0)
        private let isWanted = DispatchSemaphore(value: 0)
        private let isDone = DispatchSemaphore(value: 0)

        init(bytes: Int, isOwned: Bool) {
            // A virtio-net header that asks for nothing, and a header of IPv4.
            var packet = [UInt8](repeating: 0, count: 10 + bytes)
            packet[10] = 0x45
            packet[12] = UInt8(bytes >> 8)
            packet[13] = UInt8(bytes & 255)
            packet[19] = 17
            packet[22] = 10
            packet[23] = 1
            packet[26] = 10
            packet[27] = 1
            self.packet = packet
            self.isOwned = isOwned
        }

        /// Returns when `count` packets have been taken.
        func pass(_ count: Int) {
            remaining.store(count, ordering: .releasing)
            isWanted.signal()
            isDone.wait()
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws(PacketDeviceError) -> Int? {
            let left = remaining.load(ordering: .acquiring)
            guard left > 0 else { return nil }
            remaining.store(left - 1, ordering: .relaxed)
            // Sixteen packets in a row to each.
            let number = (destination.load(ordering: .relaxed) + 1) % 16_000
            destination.store(number, ordering: .relaxed)
            let host = number / 16 + (isOwned ? 1 : 3000)
            packet.withUnsafeBytes { buffer.copyMemory(from: $0) }
            buffer[28] = UInt8(host >> 8)
            buffer[29] = UInt8(host & 255)
            if left == 1 { isDone.signal() }
            return packet.count
        }

        func wait(alongside other: Int32?) -> PacketReadiness {
            if remaining.load(ordering: .acquiring) == 0 { isWanted.wait() }
            return .device
        }

        func wake() { isWanted.signal() }

        func write(_ packet: UnsafeRawBufferPointer) -> Bool { true }

        func apply(
            address: VirtualAddress, additional: Set<VirtualAddress>
        ) throws(TunDeviceError) -> DeviceConfigurator.Outcome { .init(index: 1, changes: []) }

        func clear() throws(TunDeviceError) {}
    }

    private final class NobodyIsConnected: Host {
        struct NotConnected: Error {}

        let eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let localPeer = Identity.generate().peerID

        func setHandler(for protocolID: ProtocolID, _ handler: @escaping StreamHandler) {}
        func removeHandler(for protocolID: ProtocolID) {}
        func openStream(
            to peer: PeerID, protocols: [ProtocolID], initialize: @escaping StreamHandler
        ) -> EventLoopFuture<any Channel> { eventLoop.makeFailedFuture(NotConnected()) }
        func dial(_ peer: PeerID, addresses: [Multiaddr]) -> EventLoopFuture<Void> {
            eventLoop.makeSucceededVoidFuture()
        }
        func setKeepConnected(_ keep: Bool, for peer: PeerID, addresses: [Multiaddr]) {}
        func disconnect(_ peer: PeerID, reason: DisconnectReason) {}
        func addObserver(_ observer: @escaping @Sendable (SwarmEvent) -> Void) {}
    }
}
