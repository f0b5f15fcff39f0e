internal import Multiformats
internal import NIOCore

/// Frames on a stream: a length as a varint, then so many bytes (contract/wire.md I.3).
enum GossipFrames {
    static func write(_ body: [UInt8], to buffer: inout ByteBuffer) {
        buffer.writeBytes(Uvarint.encode(UInt64(body.count)))
        buffer.writeBytes(body)
    }

    enum Next: Equatable {
        case frame([UInt8])
        case needsMore
    }

    /// Takes the next frame that is not empty off the front of `buffer`.
    ///
    /// - Throws: `WireError` when the length is no varint, or is above `maximumLength`.
    static func read(from buffer: inout ByteBuffer, maximumLength: Int) throws(WireError) -> Next {
        while buffer.readableBytes > 0 {
            let decoded: (value: UInt64, length: Int)
            do throws(WireError) {
                decoded = try Uvarint.decode(buffer.readableBytesView, maximumLength: 10)
            } catch {
                if case .truncated = error { return .needsMore }
                throw error
            }
            guard decoded.value <= UInt64(clamping: maximumLength) else {
                throw .tooLong(length: decoded.value, maximum: maximumLength)
            }
            let (length, prefix) = (Int(clamping: decoded.value), decoded.length)
            guard buffer.readableBytes - prefix >= length else { return .needsMore }
            buffer.moveReaderIndex(forwardBy: prefix)
            guard let body = buffer.readBytes(length: length) else { return .needsMore }
            if !body.isEmpty { return .frame(body) }
        }
        return .needsMore
    }
}
