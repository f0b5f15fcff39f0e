import LibP2P
import NIOCore
import NIOEmbedded
import Timing

/// One write and flush through the handlers of a secure channel, and the reading of it at the other
/// end.
enum Seal {
    /// Gives what is read back, so that nothing is kept.
    private final class Sink: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var count = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            count += unwrapInboundIn(data).readableBytes
        }
    }

    struct Lost: Error {}

    static func measurements(isQuick: Bool) throws -> [Measurement] {
        let (alice, bob) = (Identity.generate(), Identity.generate())
        return try measurements(
            "TLS", TLSSecurity(identity: alice), TLSSecurity(identity: bob), isQuick: isQuick)
            + measurements(
                "Noise", NoiseSecurity(identity: alice), NoiseSecurity(identity: bob), isQuick: isQuick)
    }

    private static func measurements(
        _ name: String, _ left: any SecurityProtocol, _ right: any SecurityProtocol, isQuick: Bool
    ) throws -> [Measurement] {
        let (dialer, listener, sink) = (EmbeddedChannel(), EmbeddedChannel(), Sink())
        for (channel, security, direction) in [
            (dialer, left, ConnectionDirection.outbound), (listener, right, .inbound),
        ] {
            try security.install(
                on: channel, direction: direction, expectedPeer: nil, muxers: ["/yamux/1.0.0"],
                timeout: .seconds(15)
            ) { _, channel in
                channel.eventLoop.makeCompletedFuture {
                    if direction == .inbound { try channel.pipeline.syncOperations.addHandler(sink) }
                }
            }
            channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        }
        for _ in 0..<4 {
            try carry(dialer, listener)
            try carry(listener, dialer)
        }
        return try [100, 1420, 16384, 65536].map { count in
            let payload = ByteBuffer(repeating: 7, count: count)
            return try Measurement.of("\(name) handlers, seal and open", bytes: count, isQuick: isQuick) {
                sink.count = 0
                dialer.writeAndFlush(payload, promise: nil)
                try carry(dialer, listener)
                guard sink.count == count else { throw Lost() }
            }
        }
    }

    private static func carry(_ source: EmbeddedChannel, _ target: EmbeddedChannel) throws {
        while let bytes = try source.readOutbound(as: ByteBuffer.self) { try target.writeInbound(bytes) }
    }
}
