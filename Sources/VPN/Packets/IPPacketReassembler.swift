internal import NIOCore

/// A length that no IP packet has, or a first byte that is neither IPv4 nor IPv6.
struct ImpossiblePacketLength: Error, Hashable, Sendable {}

/// Cuts the bytes of a stream of `/edgevpn/0.1` into packets by the lengths in their IP headers,
/// however the sender split or joined them (contract K.1). Holds at most one unfinished packet.
struct IPPacketReassembler {
    private var buffer = ByteBuffer()

    /// Takes bytes of the stream. All packets must have been taken out before.
    mutating func feed(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
    }

    /// Whether bytes of an unfinished packet are held.
    var isInsidePacket: Bool { buffer.readableBytes > 0 }

    /// The next whole packet, IPv4 or IPv6; nil when more bytes are needed.
    mutating func next() throws(ImpossiblePacketLength) -> ByteBuffer? {
        let start = buffer.readerIndex
        guard let first = buffer.getInteger(at: start, as: UInt8.self) else { return nil }
        let length: Int
        switch first >> 4 {
        case 4:
            guard let total = buffer.getInteger(at: start + 2, as: UInt16.self) else { return nil }
            length = Int(total)
            guard first & 15 >= 5, length >= Int(first & 15) * 4 else { throw ImpossiblePacketLength() }
        case 6:
            guard let payload = buffer.getInteger(at: start + 4, as: UInt16.self) else { return nil }
            length = 40 + Int(payload)
        default:
            throw ImpossiblePacketLength()
        }
        return buffer.readSlice(length: length)
    }
}
