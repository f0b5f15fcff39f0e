import Foundation
import LibP2P
import Logging
import MeshNetwork
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Timing

@testable import VPN

/// One node of the tests: a namespace, its device and its service.
private final class TestNode: Sendable {
    let namespace: NetworkNamespace
    let peer: PeerID
    let host: MemoryHost
    let address: VirtualAddress
    let service: VPNService

    init(
        _ network: MemoryNetwork, address: UInt32, group: MultiThreadedEventLoopGroup, offloads: Bool = true,
        namespace: NetworkNamespace? = nil, peer: PeerID? = nil,
        isAdmitted: @escaping @Sendable (PeerID) -> Bool = { _ in true }
    ) throws {
        let namespace = try namespace ?? NetworkNamespace()
        self.namespace = namespace
        self.peer = peer ?? Identity.generate().peerID
        self.host = MemoryHost(network, peer: self.peer, eventLoop: group.next())
        self.address = VirtualAddress(rawValue: address)
        self.service = VPNService(
            configuration: VPNService.Configuration(checkInterval: .milliseconds(300)), host: host,
            logger: Logger(label: "vpn", factory: { _ in SwiftLogNoOpLogHandler() }), isAdmitted: isAdmitted
        ) { () throws(TunDeviceError) in
            do {
                return try namespace.inside { try TunDevice.attach(offloads: offloads) }
            } catch let error as TunDeviceError {
                throw error
            } catch {
                throw .noDriver(name: "edgevpn0")
            }
        }
    }
}

private func withGroup<Value>(
    _ body: (MultiThreadedEventLoopGroup) async throws -> Value
) async throws -> Value {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    do {
        let value = try await body(group)
        try await group.shutdownGracefully()
        return value
    } catch {
        try await group.shutdownGracefully()
        throw error
    }
}

/// Waits until `condition` holds; the bound makes a hanging test a failing one.
private func eventually(
    _ what: String, within seconds: Double = 10, _ condition: () throws -> Bool
) async throws {
    let deadline = Date().addingTimeInterval(seconds)
    while !(try condition()) {
        guard Date() < deadline else {
            throw NetworkNamespace.Failure(description: "waited in vain for \(what)")
        }
        try await Task.sleep(for: .milliseconds(10))
    }
}

@Suite("The VPN service between real kernels", .serialized)
struct VPNServiceTests {
    private func pair(
        _ group: MultiThreadedEventLoopGroup, offloads: (Bool, Bool) = (true, true)
    ) async throws -> (TestNode, TestNode) {
        let network = MemoryNetwork()
        let first = try TestNode(network, address: 0x0a01_0003, group: group, offloads: offloads.0)
        let second = try TestNode(network, address: 0x0a01_0004, group: group, offloads: offloads.1)
        for node in [first, second] {
            try await node.service.setLocalAddress(node.address)
            node.service.updateRoutes([first.address: first.peer, second.address: second.peer])
        }
        return (first, second)
    }

    /// Sends bytes over TCP from one namespace to the other and compares what arrives.
    private func transfer(from sender: TestNode, to receiver: TestNode, megabytes: Int = 8) async throws {
        let server = """
            import socket,hashlib,sys
            s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
            s.bind(("\(receiver.address)",9000)); s.listen(1); s.settimeout(30)
            c,_=s.accept(); c.settimeout(30); h=hashlib.sha256(); n=0
            while True:
                d=c.recv(65536)
                if not d: break
                h.update(d); n+=len(d)
            c.sendall((h.hexdigest()+" %d"%n).encode()); c.close()
            """
        let client = """
            import socket,hashlib,os,time
            data=os.urandom(1<<20)*\(megabytes); end=time.time()+10
            while True:
                try:
                    c=socket.create_connection(("\(receiver.address)",9000),5); break
                except OSError:
                    if time.time()>end: raise
                    time.sleep(0.05)
            c.settimeout(30); c.sendall(data); c.shutdown(socket.SHUT_WR)
            want=hashlib.sha256(data).hexdigest()+" %d"%len(data); got=b""
            while True:
                d=c.recv(1000)
                if not d: break
                got+=d
            assert got.decode()==want, got
            """
        let serving = try receiver.namespace.start("python3", "-c", server)
        defer { serving.terminate() }
        try sender.namespace.run("python3", "-c", client)
    }

    @Test("an address that moves is on its holder's device, leads there, and is off again when it moves on")
    func sharedAddress() async throws {
        try await withGroup { group in
            let (first, second) = try await pair(group)
            let shared = VirtualAddress(rawValue: 0x0a01_0002)
            func isOn(_ node: TestNode) throws -> Bool {
                try node.namespace.run("ip", "address", "show", "edgevpn0").contains("inet 10.1.0.2/32")
            }
            // A peer that claims the address for itself gets nothing.
            first.service.updateRoutes([second.address: second.peer, shared: second.peer])
            first.service.setSharedAddress(shared, .nowhere)
            #expect(throws: NetworkNamespace.Failure.self) {
                try first.namespace.run("ping", "-c", "1", "-W", "1", "10.1.0.2")
            }
            second.service.setSharedAddress(shared, .here, isStillHere: { false })
            try await Task.sleep(for: .milliseconds(500))
            #expect(try !isOn(second), "it was decided too long ago")
            second.service.setSharedAddress(shared, .nowhere)
            second.service.setSharedAddress(shared, .here)
            first.service.setSharedAddress(shared, .peer(second.peer))
            try await eventually("the address on the second node") { try isOn(second) }
            try first.namespace.run("ping", "-c", "2", "-i", "0.2", "-W", "3", "10.1.0.2")
            second.service.setSharedAddress(shared, .peer(first.peer))
            first.service.setSharedAddress(shared, .here)
            try await eventually("the address on the first node alone") { try isOn(first) && !isOn(second) }
            try second.namespace.run("ping", "-c", "2", "-i", "0.2", "-W", "3", "10.1.0.2")
            first.service.stop()
            second.service.stop()
        }
    }

    @Test("Pings and TCP travel between two namespaces as super-packets")
    func joined() async throws {
        try await withGroup { group in
            let (first, second) = try await pair(group)
            try first.namespace.run("ping", "-c", "3", "-i", "0.1", "-W", "5", "10.1.0.4")
            try second.namespace.run("ping", "-c", "3", "-i", "0.1", "-W", "5", "-s", "4000", "10.1.0.3")
            try await transfer(from: first, to: second)
            let sent = first.service.counters
            // Far fewer frames than segments of 1160 bytes: the kernel's super-packets went through whole.
            #expect(sent.sentPackets < 8 << 20 / 1160 / 2)
            #expect(second.service.counters.dropped.isEmpty)
            #expect(first.service.links.map(\.state) == [.open(.kairos)])
            #expect(first.service.links.map(\.remoteMTU) == [1200])
            // One stream for each direction, whatever travelled.
            #expect(first.host.openedStreams == 1)
            #expect(second.host.openedStreams == 1)
            first.service.stop()
            second.service.stop()
        }
    }

    @Test("A receiver without offloads gets packets that were cut in user space, and its kernel takes them")
    func segmented() async throws {
        try await withGroup { group in
            let (first, second) = try await pair(group, offloads: (true, false))
            try await transfer(from: first, to: second, megabytes: 4)
            try await transfer(from: second, to: first, megabytes: 2)
            #expect(second.service.counters.receivedPackets > 4 << 20 / 1160)
            #expect(second.service.counters.dropped[.malformedOffload] == nil)
            first.service.stop()
            second.service.stop()
        }
    }

    @Test("A restarted agent keeps device and address, and packets flow again")
    func restart() async throws {
        try await withGroup { group in
            let network = MemoryNetwork()
            let first = try TestNode(network, address: 0x0a01_0003, group: group)
            let second = try TestNode(network, address: 0x0a01_0004, group: group)
            let routes = [first.address: first.peer, second.address: second.peer]
            for node in [first, second] {
                try await node.service.setLocalAddress(node.address)
                node.service.updateRoutes(routes)
            }
            try first.namespace.run("ping", "-c", "1", "-W", "5", "10.1.0.4")
            let before = try second.namespace.run("ip", "address", "show", "edgevpn0")
            second.service.stop()
            second.host.setReachable(false)
            let shown = try second.namespace.run("ip", "address", "show", "edgevpn0")
            #expect(shown.contains("inet 10.1.0.4/24"))
            // The old device object goes with its thread; until then the kernel says that it is in use.
            let again = try TestNode(
                network, address: 0x0a01_0004, group: group, namespace: second.namespace, peer: second.peer)
            try? await again.service.setLocalAddress(again.address)
            again.service.updateRoutes(routes)
            try await eventually("the device") {
                if case .up = again.service.deviceStatus { return true }
                return false
            }
            try first.namespace.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "10.1.0.4")
            let after = try second.namespace.run("ip", "address", "show", "edgevpn0")
            #expect(before.prefix(while: { $0 != ":" }) == after.prefix(while: { $0 != ":" }))
            first.service.stop()
            again.service.stop()
        }
    }

    @Test("A device that is deleted under the service comes back with its address")
    func deviceDeleted() async throws {
        try await withGroup { group in
            let (first, second) = try await pair(group)
            try first.namespace.run("ip", "link", "delete", "edgevpn0")
            try await eventually("the device to be made again") {
                (try? first.namespace.run("ping", "-c", "1", "-W", "1", "10.1.0.4")) != nil
            }
            try first.namespace.run("ip", "address", "delete", "10.1.0.3/24", "dev", "edgevpn0")
            try await eventually("the address to be put back") {
                try first.namespace.run("ip", "address", "show", "edgevpn0").contains("10.1.0.3/24")
            }
            first.service.stop()
            second.service.stop()
        }
    }

    @Test("A lost connection is opened again as soon as packets want it")
    func reconnects() async throws {
        try await withGroup { group in
            let (first, second) = try await pair(group)
            try first.namespace.run("ping", "-c", "1", "-W", "5", "10.1.0.4")
            second.host.setReachable(false)
            #expect(throws: (any Error).self) {
                try first.namespace.run("ping", "-c", "1", "-W", "1", "10.1.0.4")
            }
            #expect(first.host.dials > 0)
            second.host.setReachable(true)
            first.host.announce(
                .peerIdentified(
                    second.peer,
                    PeerInformation(
                        listenAddresses: [], protocols: [.kairosVPN], observedAddress: nil, agentVersion: ""))
            )
            try await eventually("packets") {
                (try? first.namespace.run("ping", "-c", "1", "-W", "1", "10.1.0.4")) != nil
            }
            first.service.stop()
            second.service.stop()
        }
    }

    @Test("Packets with a foreign source, a foreign destination or a bad header are dropped and counted")
    func spoofed() async throws {
        try await withGroup { group in
            let network = MemoryNetwork()
            let node = try TestNode(network, address: 0x0a01_0003, group: group)
            let friend = MemoryHost(network, peer: Identity.generate().peerID, eventLoop: group.next())
            try await node.service.setLocalAddress(node.address)
            node.service.updateRoutes([VirtualAddress(rawValue: 0x0a01_0004): friend.localPeer])
            let channel = try await friend.openStream(to: node.peer, protocols: [.kairosVPN]) {
                $0.channel.eventLoop.makeSucceededVoidFuture()
            }.get()
            var buffer = ByteBuffer()
            VPNFrame.append(VPNHello(capabilities: [], mtu: 1200), to: &buffer)
            func send(_ packet: [UInt8], _ header: VirtioNetHeader = VirtioNetHeader()) {
                (header.bytes + packet).withUnsafeBytes { VPNFrame.append(packet: $0, to: &buffer) }
            }
            send(PacketBuilder.udp(from: 0x0a01_0009, to: 0x0a01_0003, payload: [1]))
            send(PacketBuilder.udp(from: 0x0a01_0004, to: 0x0a2a_0001, payload: [1]))
            send([0x60] + [UInt8](repeating: 0, count: 60))
            send(PacketBuilder.udp(from: 0x0a01_0004, to: 0x0a01_0003, payload: [1, 2]) + [0])
            send(
                PacketBuilder.udp(from: 0x0a01_0004, to: 0x0a01_0003, payload: [1]),
                PacketBuilder.header(segmentation: 1, size: 1))
            send(PacketBuilder.udp(from: 0x0a01_0004, to: 0x0a01_0003, payload: [1]))
            try await channel.writeAndFlush(buffer)
            try await eventually("all six packets") {
                let counts = node.service.counters
                return counts.receivedPackets + counts.dropped.values.reduce(0, +) >= 6
            }
            let counts = node.service.counters
            #expect(counts.receivedPackets == 1)
            #expect(
                counts.dropped == [
                    .foreignSource: 1, .foreignDestination: 1, .notIPv4: 1, .malformed: 1,
                    .malformedOffload: 1,
                ])
            // What is no frame ends the stream.
            try await channel.writeAndFlush(ByteBuffer(bytes: [0, 255, 255, 255]))
            try await channel.closeFuture.get()
            node.service.stop()
        }
    }

    @Test("A peer that is not admitted, or a stock peer without an address, is served nothing")
    func refused() async throws {
        try await withGroup { group in
            let network = MemoryNetwork()
            let node = try TestNode(network, address: 0x0a01_0003, group: group, isAdmitted: { _ in false })
            let stranger = MemoryHost(network, peer: Identity.generate().peerID, eventLoop: group.next())
            try await node.service.setLocalAddress(node.address)
            for protocolID in [ProtocolID.kairosVPN, .edgeVPN] {
                await #expect(throws: StreamRefusal.notAdmitted) {
                    try await stranger.openStream(to: node.peer, protocols: [protocolID]) {
                        $0.channel.eventLoop.makeSucceededVoidFuture()
                    }.get()
                }
            }
            node.service.stop()
        }
    }

    @Test(
        "A stock peer gets each packet whole in a frame of one stream, and its packets are taken however cut")
    func stock() async throws {
        try await withGroup { group in
            let network = MemoryNetwork()
            let node = try TestNode(network, address: 0x0a01_0003, group: group)
            let stock = MemoryHost(network, peer: Identity.generate().peerID, eventLoop: group.next())
            let frames = Mutex<[[UInt8]]>([])
            let streams = Mutex(0)
            stock.setHandler(for: .edgeVPN) { stream in
                streams.withLock { $0 += 1 }
                return stream.channel.pipeline.addHandler(
                    Frames { bytes in frames.withLock { $0.append(bytes) } })
            }
            try await node.service.setLocalAddress(node.address)
            node.service.updateRoutes([VirtualAddress(rawValue: 0x0a01_0004): stock.localPeer])
            _ = try? node.namespace.run("ping", "-c", "3", "-i", "0.2", "-W", "1", "10.1.0.4")
            try await eventually("three echo requests") { frames.withLock { $0.count } >= 3 }
            #expect(streams.withLock { $0 } == 1)
            for packet in frames.withLock({ $0 }) {
                let parsed = packet.withUnsafeBytes { IPv4Packet.parse($0) }
                #expect((try? parsed.get().destination.description) == "10.1.0.4")
                #expect(PacketBuilder.checksum(Array(packet[20...])) == 0)
            }
            let channel = try await stock.openStream(to: node.peer, protocols: [.edgeVPN]) {
                $0.channel.pipeline.addHandler(Ending())
            }.get()
            let packet = PacketBuilder.udp(from: 0x0a01_0004, to: 0x0a01_0003, payload: [1, 2, 3])
            for byte in packet + packet { channel.write(ByteBuffer(bytes: [byte]), promise: nil) }
            channel.flush()
            try await channel.close(mode: .output)
            try await channel.closeFuture.get()
            #expect(node.service.counters.receivedPackets == 2)
            node.service.stop()
        }
    }

    @Test("What the device waits for is said, with a remedy")
    func waiting() async throws {
        try await withGroup { group in
            let network = MemoryNetwork()
            let namespace = try NetworkNamespace()
            try namespace.run("ip", "link", "add", "edgevpn0", "type", "bridge")
            let node = try TestNode(network, address: 0x0a01_0003, group: group, namespace: namespace)
            #expect(node.service.waiting == nil)
            await #expect(throws: TunDeviceError.foreignDevice(name: "edgevpn0")) {
                try await node.service.setLocalAddress(node.address)
            }
            let waiting = try #require(node.service.waiting)
            #expect(waiting.step == .device)
            #expect(waiting.what == "a network device of another kind is called edgevpn0")
            #expect(waiting.remedy?.contains("ip link delete edgevpn0") == true)
            try namespace.run("ip", "link", "delete", "edgevpn0")
            try await eventually("the device") { node.service.waiting == nil }
            #expect(try namespace.run("ip", "address", "show", "edgevpn0").contains("10.1.0.3/24"))
            try await node.service.setLocalAddress(nil)
            #expect(!(try namespace.run("ip", "address", "show", "edgevpn0").contains("10.1.0.3")))
            node.service.stop()
        }
    }
}

/// Closes when the other end does.
private final class Ending: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
    }
}

/// Says what each frame of a stream holds.
private final class Frames: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    private let heard: @Sendable ([UInt8]) -> Void

    init(_ heard: @escaping @Sendable ([UInt8]) -> Void) {
        self.heard = heard
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard(Array(unwrapInboundIn(data).readableBytesView))
    }
}
