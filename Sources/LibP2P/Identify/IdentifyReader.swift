package import Multiformats
package import NIOCore

/// Reads the parts of an identify exchange off a stream, however they are cut, and merges them.
package struct IdentifyReader {
    /// The longest part that is read, in bytes (contract/wire.md D.5).
    package static let maximumPartLength = 8192
    /// The most parts that are read.
    package static let maximumParts = 10

    private var buffer = ByteBuffer()
    private var message = IdentifyMessage()
    private var parts = 0

    package init() {}

    /// Takes in what arrived. Throws `IdentifyError` when it is no identify exchange.
    package mutating func receive(_ bytes: ByteBuffer) throws(IdentifyError) {
        buffer.writeImmutableBuffer(bytes)
        while let part = try nextPart() {
            parts += 1
            guard parts <= Self.maximumParts else { throw .tooManyParts }
            do throws(WireError) {
                try message.merge(part)
            } catch {
                throw .malformed(error)
            }
        }
        buffer.discardReadBytes()
    }

    /// The merged message, once the stream has ended. Throws when it ended inside of a part, or
    /// before the first.
    package func finish() throws(IdentifyError) -> IdentifyMessage {
        guard buffer.readableBytes == 0, parts > 0 else { throw .truncated }
        return message
    }

    private mutating func nextPart() throws(IdentifyError) -> [UInt8]? {
        let length: UInt64
        let prefix: Int
        do throws(WireError) {
            (length, prefix) = try Uvarint.decode(buffer.readableBytesView.prefix(10), maximumLength: 9)
        } catch .truncated {
            return nil
        } catch {
            throw .malformed(error)
        }
        guard let length = Int(exactly: length), length <= Self.maximumPartLength else {
            throw .malformed(.tooLong(length: length, maximum: Self.maximumPartLength))
        }
        guard buffer.readableBytes >= prefix + length else { return nil }
        buffer.moveReaderIndex(forwardBy: prefix)
        return buffer.readBytes(length: length)
    }
}

/// Why an identify exchange failed. None is fatal for the connection.
package enum IdentifyError: Error, Hashable, Sendable {
    case malformed(WireError)
    case tooManyParts
    /// The stream ended too early.
    case truncated
    /// The key in the message is not the one of the connection's peer.
    case wrongPeer
    case timedOut
}
