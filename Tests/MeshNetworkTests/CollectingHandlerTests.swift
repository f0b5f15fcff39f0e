import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing

@testable import MeshNetwork

@Suite("Admission messages")
struct CollectingHandlerTests {
    private final class Heard: Sendable {
        private let state = NIOLockedValueBox<(frames: [[UInt8]], ends: Int)>(([], 0))
        var frames: [[UInt8]] { state.withLockedValue { $0.frames } }
        var ends: Int { state.withLockedValue { $0.ends } }
        func frame(_ bytes: [UInt8]) { state.withLockedValue { $0.frames.append(bytes) } }
        func end() { state.withLockedValue { $0.ends += 1 } }
    }

    private func collector(_ heard: Heard) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(
            handler: CollectingHandler(
                maximum: 4, timeout: .seconds(10), isComplete: { $0.count == 4 },
                done: { bytes in bytes.map { heard.frame($0) } ?? heard.end() }))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    @Test("an admission message is collected from pieces and said once")
    func collecting() throws {
        let heard = Heard()
        let channel = try collector(heard)
        for byte in 1...4 as ClosedRange<UInt8> { try channel.writeInbound(ByteBuffer(bytes: [byte])) }
        try channel.writeInbound(ByteBuffer(bytes: [5]))
        #expect(heard.frames == [[1, 2, 3, 4]] && heard.ends == 0)
        channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(!channel.isActive && heard.ends == 0)
    }

    @Test("one that is too long, too short or too slow is none")
    func notCollecting() throws {
        var heard = Heard()
        var channel = try collector(heard)
        try channel.writeInbound(ByteBuffer(bytes: [1, 2, 3, 4, 5]))
        #expect(heard.frames.isEmpty && heard.ends == 1)
        heard = Heard()
        channel = try collector(heard)
        try channel.writeInbound(ByteBuffer(bytes: [1, 2, 3]))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(heard.frames.isEmpty && heard.ends == 1)
        heard = Heard()
        channel = try collector(heard)
        channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(heard.ends == 1 && !channel.isActive)
    }
}
