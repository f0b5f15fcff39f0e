internal import LibP2P
internal import NIOCore

/// Gives packets of one peer to the device, after checking that they are the peer's and for us.
/// Belongs to the loop of one stream.
struct PacketReceiver {
    private let peer: PeerID
    private let device: any PacketDevice
    private let counters: PacketCounters
    private var routing: RoutingPublisher.Reader
    private var packets = 0
    private var bytes = 0

    init(peer: PeerID, device: any PacketDevice, counters: PacketCounters, routing: RoutingPublisher) {
        self.peer = peer
        self.device = device
        self.counters = counters
        self.routing = RoutingPublisher.Reader(routing)
    }

    /// Takes a virtio-net header and its packet.
    mutating func receive(framed bytes: UnsafeRawBufferPointer) {
        guard let header = VirtioNetHeader(bytes) else { return counters.dropped(.malformed) }
        do {
            let packet = try admit(UnsafeRawBufferPointer(rebasing: bytes[VirtioNetHeader.size...]))
            guard header.fits(packet, count: bytes.count - VirtioNetHeader.size) else {
                throw DropReason.malformedOffload
            }
            guard device.write(bytes) else { throw DropReason.deviceRefused }
            packets += 1
            self.bytes += bytes.count - VirtioNetHeader.size
        } catch let reason as DropReason {
            counters.dropped(reason)
        } catch {
            counters.dropped(.malformed)
        }
    }

    /// Takes a plain packet; `scratch` is room for the header that the device wants before it.
    mutating func receive(plain packet: ByteBuffer, scratch: inout ByteBuffer) {
        scratch.clear()
        scratch.writeRepeatingByte(0, count: VirtioNetHeader.size)
        scratch.writeImmutableBuffer(packet)
        scratch.withUnsafeReadableBytes { receive(framed: $0) }
    }

    /// Adds what has been taken to the counters.
    mutating func report() {
        guard packets > 0 else { return }
        counters.received(packets: packets, bytes: bytes)
        packets = 0
        bytes = 0
    }

    private mutating func admit(_ bytes: UnsafeRawBufferPointer) throws(DropReason) -> IPv4Packet {
        let packet = try IPv4Packet.parse(bytes).get()
        if let objection = routing.latest().objection(to: packet, from: peer) { throw objection }
        return packet
    }
}

/// The receiver's end of a stream of `/kairos/vpn/1.0.0`.
final class ReceivingStreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var receiver: PacketReceiver
    private let hello: VPNHello
    private var decoder = VPNFrameDecoder()
    private var saidHello = false

    init(receiver: PacketReceiver, hello: VPNHello) {
        self.receiver = receiver
        self.hello = hello
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { sayHello(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        sayHello(context)
        context.fireChannelActive()
    }

    private func sayHello(_ context: ChannelHandlerContext) {
        guard !saidHello else { return }
        saidHello = true
        var buffer = context.channel.allocator.buffer(capacity: 8)
        VPNFrame.append(hello, to: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        decoder.feed(unwrapInboundIn(data))
        do {
            while let frame = try decoder.next() {
                guard case .packet(let packet) = frame else { continue }
                packet.withUnsafeReadableBytes { receiver.receive(framed: $0) }
            }
        } catch {
            // The framing is lost: nothing that follows means anything.
            context.close(promise: nil)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        receiver.report()
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        receiver.report()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// The receiver's end of a stream of `/edgevpn/0.1`.
final class StockReceivingStreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var receiver: PacketReceiver
    private let counters: PacketCounters
    private var reassembler = IPPacketReassembler()
    private var scratch = ByteBuffer()

    init(receiver: PacketReceiver, counters: PacketCounters) {
        self.receiver = receiver
        self.counters = counters
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        reassembler.feed(unwrapInboundIn(data))
        do {
            while let packet = try reassembler.next() { receiver.receive(plain: packet, scratch: &scratch) }
        } catch {
            counters.dropped(.malformed)
            context.close(promise: nil)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        receiver.report()
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            if reassembler.isInsidePacket { counters.dropped(.malformed) }
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        receiver.report()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
