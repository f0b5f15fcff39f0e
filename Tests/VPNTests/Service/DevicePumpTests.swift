import Glibc
import LibP2P
import Synchronization
import Testing

@testable import VPN

@Suite("The packet thread: neither way waits for the other to run dry")
struct DevicePumpTests {
    /// Never runs dry.
    private final class EndlessDevice: PacketDevice {
        let capabilities: OffloadCapabilities = []
        let reads = Atomic<Int>(0)

        func read(into buffer: UnsafeMutableRawBufferPointer) throws(PacketDeviceError) -> Int? {
            reads.wrappingAdd(1, ordering: .relaxed)
            return 1
        }

        func write(_ packet: UnsafeRawBufferPointer) -> Bool { true }

        func wait(alongside other: Int32?) -> PacketReadiness {
            var descriptor = pollfd(fd: other ?? -1, events: Int16(POLLIN), revents: 0)
            poll(&descriptor, 1, 0)
            return descriptor.revents != 0 ? [.device, .other] : .device
        }

        func wake() {}
    }

    @Test("A device that never runs dry does not keep datagrams waiting", .timeLimit(.minutes(1)))
    func deviceFlood() async throws {
        let key = SecretBytes(copying: [UInt8](repeating: 7, count: 16))
        let peer = Identity.generate().peerID
        func session(_ local: UInt32, _ remote: UInt32) throws -> DatagramSession {
            try #require(
                DatagramSession(
                    peer: peer, localIndex: local, remoteIndex: remote, maximumPacket: 1200, sendKey: key,
                    receiveKey: key, algorithm: .aes128OCB))
        }
        let (far, near) = (try session(1, 2), try session(2, 1))
        let (from, to) = (try DatagramSocket(port: 0), try DatagramSocket(port: 0))
        let device = EndlessDevice()
        let counters = PacketCounters()
        let routing = RoutingPublisher(RoutingTable(subnet: .standard))
        let pump = try DevicePump.start(device: device, routing: routing, counters: counters) { _ in }
        defer { pump.stop() }
        let probe = try #require(far.control(kind: DatagramFormat.probe, number: 41))
        let endpoint = try #require(DatagramEndpoint(address: [127, 0, 0, 1], port: to.port))
        let heard = Atomic<UInt64>(0)
        pump.attach(
            .init(socket: to, sessions: Published(SessionTable([2: near]))) { event in
                if case .probe(2, let number, _) = event { heard.store(number, ordering: .relaxed) }
            })
        _ = probe.withUnsafeBytes { from.send($0, segment: $0.count, to: endpoint) }
        for _ in 0..<1000 where heard.load(ordering: .relaxed) == 0 {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(heard.load(ordering: .relaxed) == 41)
        #expect(device.reads.load(ordering: .relaxed) > 0)
    }

    @Test("A flood of datagrams ends its turn, so that the device gets one")
    func datagramFlood() throws {
        let (from, to) = (try DatagramSocket(port: 0), try DatagramSocket(port: 0))
        let endpoint = try #require(DatagramEndpoint(address: [127, 0, 0, 1], port: to.port))
        let counters = PacketCounters()
        var receiver = DatagramReceiver(
            .init(socket: to, sessions: Published(SessionTable())) { _ in }, device: EndlessDevice(),
            routing: RoutingPublisher(RoutingTable(subnet: .standard)), counters: counters)
        defer { receiver.deallocate() }
        for length in 100..<140 {
            let bytes = [UInt8](repeating: 0, count: length)
            #expect(bytes.withUnsafeBytes { from.send($0, segment: $0.count, to: endpoint) } == 0)
        }
        // Loopback delivers before the sending returns.
        for expected in [16, 32, 40, 40] as [UInt64] {
            let isOpen = receiver.turn()
            #expect(isOpen)
            #expect(counters.snapshot.dropped[.notAuthentic] == expected)
        }
    }
}
