import LibP2P
import NIOCore
import Timing

/// One data frame of yamux through the cores of both ends: granted and counted at one, read, consumed and credited at
/// the other.
enum Frames {
    struct Lost: Error {}

    static func measurements(isQuick: Bool) throws -> [Measurement] {
        try [1420, 65_507].map { bytes in
            var (sender, receiver) = (YamuxSession(role: .client), YamuxSession(role: .server))
            let now = Instant.zero
            let stream = try sender.openStream(at: now)
            try carry(&sender, to: &receiver, at: now)
            try carry(&receiver, to: &sender, at: now)
            let payload = ByteBuffer(repeating: 7, count: bytes)
            var frame = ByteBuffer()
            return try Measurement.of("yamux, frame out and in", bytes: bytes, isQuick: isQuick) {
                sender.wantsToSend(bytes, on: stream)
                guard let grant = sender.nextGrant(), grant.maximumBytes == bytes else { throw Lost() }
                sender.sent(bytes, under: grant)
                frame.clear()
                YamuxHeader(type: .data, flags: [], streamID: stream, length: UInt32(bytes)).write(to: &frame)
                frame.writeImmutableBuffer(payload)
                receiver.receive(&frame, at: now)
                var received = 0
                while let output = receiver.next() {
                    switch output {
                    case .data(let id, let data):
                        received += data.readableBytes
                        receiver.consumed(data.readableBytes, on: id, at: now)
                    case .write(let header):
                        frame.clear()
                        header.write(to: &frame)
                        sender.receive(&frame, at: now)
                    default: break
                    }
                }
                guard received == bytes else { throw Lost() }
            }
        }
    }

    private static func carry(_ source: inout YamuxSession, to target: inout YamuxSession, at now: Instant)
        throws
    {
        var bytes = ByteBuffer()
        while let output = source.next() {
            if case .write(let header) = output { header.write(to: &bytes) }
        }
        target.receive(&bytes, at: now)
        guard target.failure == nil else { throw Lost() }
    }
}
