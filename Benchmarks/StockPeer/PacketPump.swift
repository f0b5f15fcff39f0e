import Dispatch
import Glibc
import LibP2P
import NIOCore
import VPN

/// A TUN device without offloads, and packets between it and the streams of `/edgevpn/0.1`: each read of the device
/// is a stream of its own, each read of a stream a write to the device.
final class PacketPump: Sendable {
    enum Failure: Error {
        case device(Int32)
    }

    private static let protocolID: ProtocolID = "/edgevpn/0.1"
    /// `TUNSETIFF`, and `IFF_TUN | IFF_NO_PI`.
    private static let setInterface: UInt = 0x4004_54CA
    private static let flags: Int16 = 0x1001
    /// Packets that are sent at once, one for each processor; the next waits.
    private static let parallel = 2

    private let descriptor: Int32
    private let member: StockMember
    private let free = DispatchSemaphore(value: PacketPump.parallel)

    init(device: String, member: StockMember) throws {
        self.member = member
        let descriptor = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure.device(errno) }
        // struct ifreq: a name of 16 bytes, and a union of 24 that begins with the flags.
        var request = [UInt8](repeating: 0, count: 40)
        for (index, byte) in device.utf8.prefix(15).enumerated() { request[index] = byte }
        withUnsafeBytes(of: Self.flags) {
            for (index, byte) in $0.enumerated() { request[16 + index] = byte }
        }
        guard ioctl(descriptor, Self.setInterface, &request) == 0 else {
            close(descriptor)
            throw Failure.device(errno)
        }
        self.descriptor = descriptor
    }

    /// Serves the others' streams, then sends what the device gives, for ever.
    func run() {
        let descriptor = descriptor
        member.swarm.setHandler(for: Self.protocolID) { stream in
            stream.channel.eventLoop.makeCompletedFuture {
                try stream.channel.pipeline.syncOperations.addHandler(DeviceWriter(descriptor))
            }
        }
        var packet = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &packet, packet.count)
            guard count >= 20 else {
                if count < 0, errno != EINTR { return }
                continue
            }
            let bits = packet[16..<20].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard packet[0] >> 4 == 4, let peer = member.owner(of: VirtualAddress(rawValue: bits)) else {
                continue
            }
            free.wait()
            send(ByteBuffer(bytes: packet[..<count]), to: peer)
        }
    }

    private func send(_ packet: ByteBuffer, to peer: PeerID) {
        let free = free
        member.swarm.openStream(to: peer, protocols: [Self.protocolID]) { stream in
            stream.channel.writeAndFlush(packet, promise: nil)
            return stream.channel.eventLoop.makeSucceededVoidFuture()
        }.whenComplete { result in
            free.signal()
            if case .success(let channel) = result { channel.close(promise: nil) }
        }
    }

    private final class DeviceWriter: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let descriptor: Int32

        init(_ descriptor: Int32) { self.descriptor = descriptor }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            unwrapInboundIn(data).withUnsafeReadableBytes { bytes in
                // A packet that the kernel does not want is lost, as there.
                _ = write(descriptor, bytes.baseAddress, bytes.count)
            }
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
        }
    }
}
