internal import CLinuxNet
internal import Glibc
internal import Multiformats
internal import NIOCore

/// The socket of one link.
struct MulticastSocket {
    /// 224.0.0.251 and ff02::fb (contract/wire.md G.2).
    private static let groupV4: [UInt8] = [224, 0, 0, 251]
    private static let groupV6: [UInt8] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb]

    var link: MulticastLink
    let channel: any Channel

    /// Opens the link's socket: a descriptor, or a negative errno.
    static func open(_ link: MulticastLink) -> Int32 {
        let (family, group) = link.id.family == .v4 ? (AF_INET, groupV4) : (AF_INET6, groupV6)
        return clinuxnet_multicast_socket(family, group, LinkState.port, link.id.interface, link.name)
    }

    func multicast(_ packet: [UInt8]) {
        let group = link.id.family == .v4 ? Self.groupV4 : Self.groupV6
        guard let address = IPAddress(bytes: group) else { return }
        send(packet, to: PacketSource(address: address, port: LinkState.port))
    }

    func unicast(_ packet: [UInt8], to destination: PacketSource) {
        send(packet, to: destination)
    }

    /// A packet that cannot be sent is lost, as on any network; the next one may do better.
    private func send(_ packet: [UInt8], to destination: PacketSource) {
        guard let address = socketAddress(of: destination) else { return }
        var buffer = channel.allocator.buffer(capacity: packet.count)
        buffer.writeBytes(packet)
        channel.writeAndFlush(AddressedEnvelope(remoteAddress: address, data: buffer), promise: nil)
    }

    /// Link-local addresses need no zone: the socket is bound to its interface.
    private func socketAddress(of destination: PacketSource) -> SocketAddress? {
        let bytes = ByteBuffer(bytes: destination.address.bytes)
        return try? SocketAddress(packedIPAddress: bytes, port: Int(destination.port))
    }
}

/// Hands the packets of one socket over.
final class MulticastPacketHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let onPacket: ([UInt8], PacketSource) -> Void

    init(onPacket: @escaping ([UInt8], PacketSource) -> Void) {
        self.onPacket = onPacket
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard let source = Self.source(of: envelope.remoteAddress) else { return }
        onPacket(Array(envelope.data.readableBytesView), source)
    }

    /// An interface that goes down gives errors on its way out; the socket stays until it is gone.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}

    private static func source(of address: SocketAddress) -> PacketSource? {
        guard let text = address.ipAddress, let host = IPAddress(text),
            let port = address.port.flatMap(UInt16.init(exactly:))
        else { return nil }
        return PacketSource(address: host, port: port)
    }
}

/// Says that the kernel had something to tell of the interfaces; what it was is looked up.
final class InterfaceNewsHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let onNews: () -> Void

    init(onNews: @escaping () -> Void) {
        self.onNews = onNews
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        onNews()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
