internal import NIOCore

/// What both ends of a stream of `/kairos/vpn/1.0.0` say first.
struct VPNHello: Hashable, Sendable {
    /// What the sender of the hello takes.
    var capabilities: OffloadCapabilities
    /// The MTU of its device, so that a network with different ones can be noticed.
    var mtu: UInt16
}

/// The framing of `/kairos/vpn/1.0.0`.
///
/// A stream carries packets one way, from the end that opened it; each end opens its own, so neither
/// waits for the other and a lost stream concerns one direction. Both ends first write a hello on
/// it. A frame is
///
/// ```
/// type (1 byte) │ length of the payload (3 bytes, big-endian) │ payload
/// 0 packet: virtio_net_hdr (10 bytes, little-endian) │ IPv4 packet of up to 65 535 bytes
/// 1 hello:  capabilities (1 byte) │ MTU (2 bytes, big-endian) │ ignored by this version
/// ```
///
/// The opener need not wait for the answer's hello: until it is there it sends packets that
/// everybody can take. Frames of other types are skipped. A packet frame is sent only by the opener.
enum VPNFrame {
    static let packet: UInt8 = 0
    static let hello: UInt8 = 1
    static let prefixLength = 4
    /// The longest payload: header and the largest IPv4 packet.
    static let maximumPayload = VirtioNetHeader.size + 65535

    /// Appends a packet's frame: `bytes` is the virtio-net header and the packet.
    static func append(packet bytes: UnsafeRawBufferPointer, to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(packet) << 24 | UInt32(truncatingIfNeeded: bytes.count))
        buffer.writeBytes(bytes)
    }

    /// Appends the frame of a packet that needs no offload.
    static func append(plain packet: UnsafeRawBufferPointer, to buffer: inout ByteBuffer) {
        buffer.writeInteger(
            UInt32(Self.packet) << 24 | UInt32(truncatingIfNeeded: packet.count + VirtioNetHeader.size))
        buffer.writeRepeatingByte(0, count: VirtioNetHeader.size)
        buffer.writeBytes(packet)
    }

    static func append(_ hello: VPNHello, to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(Self.hello) << 24 | 3)
        buffer.writeInteger(hello.capabilities.rawValue)
        buffer.writeInteger(hello.mtu)
    }
}

/// Why a stream is ended.
enum VPNFrameError: Error, Hashable, Sendable {
    /// A frame is longer than any packet, or too short for its type.
    case impossibleLength(type: UInt8, length: Int)
    /// The first frame is no hello, or there is a second one.
    case unexpectedHello
    /// The end that may not send packets sent one.
    case unexpectedPacket
}

/// Cuts the bytes of a stream into frames. Holds at most one unfinished frame.
struct VPNFrameDecoder {
    enum Frame: Hashable {
        case hello(VPNHello)
        /// The virtio-net header and the packet, a slice of what was fed.
        case packet(ByteBuffer)
    }

    private var buffer = ByteBuffer()
    private var hasHello = false

    /// Takes bytes of the stream. All frames must have been taken out before.
    mutating func feed(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            // The rest of one frame only: older bytes are dropped before they pile up.
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole frame; nil when more bytes are needed.
    mutating func next() throws(VPNFrameError) -> Frame? {
        while let prefix = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) {
            let type = UInt8(prefix >> 24)
            let length = Int(prefix & 0xff_ffff)
            try check(type, length)
            guard buffer.readableBytes >= VPNFrame.prefixLength + length else { return nil }
            buffer.moveReaderIndex(forwardBy: VPNFrame.prefixLength)
            guard var payload = buffer.readSlice(length: length) else { return nil }
            switch type {
            case VPNFrame.hello:
                guard let capabilities = payload.readInteger(as: UInt8.self),
                    let mtu = payload.readInteger(as: UInt16.self)
                else { throw .impossibleLength(type: type, length: length) }
                hasHello = true
                return .hello(VPNHello(capabilities: OffloadCapabilities(rawValue: capabilities), mtu: mtu))
            case VPNFrame.packet:
                return .packet(payload)
            default:
                continue
            }
        }
        return nil
    }

    private func check(_ type: UInt8, _ length: Int) throws(VPNFrameError) {
        guard length <= VPNFrame.maximumPayload else { throw .impossibleLength(type: type, length: length) }
        guard hasHello != (type == VPNFrame.hello) else { throw .unexpectedHello }
        if type == VPNFrame.hello, !(3...64).contains(length) {
            throw .impossibleLength(type: type, length: length)
        }
        if type == VPNFrame.packet, length < VirtioNetHeader.size + 20 {
            throw .impossibleLength(type: type, length: length)
        }
    }
}
