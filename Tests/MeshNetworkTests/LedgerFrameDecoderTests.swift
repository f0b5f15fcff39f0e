import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing
import Timing

@testable import MeshNetwork

@Suite("Ledger and admission streams")
struct LedgerFrameDecoderTests {
    private final class Heard: Sendable {
        private let state = NIOLockedValueBox<(frames: [[UInt8]], ends: Int)>(([], 0))
        var frames: [[UInt8]] { state.withLockedValue { $0.frames } }
        var ends: Int { state.withLockedValue { $0.ends } }
        func frame(_ bytes: [UInt8]) { state.withLockedValue { $0.frames.append(bytes) } }
        func end() { state.withLockedValue { $0.ends += 1 } }
    }

    private func channel(_ heard: Heard, maximum: Int = 1000) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(
            handler: LedgerFrameDecoder(maximum: maximum, frame: { heard.frame($0) }, closed: { heard.end() })
        )
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    @Test("frames come out whole, however the stream is cut", arguments: 1...5 as ClosedRange<UInt64>)
    func chunks(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let frames = (0..<20).map { _ in
            (0..<Int.random(in: 0...500, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
        }
        var bytes: [UInt8] = []
        for frame in frames { bytes.appendLengthPrefixed(frame) }
        let heard = Heard()
        let channel = try channel(heard)
        while !bytes.isEmpty {
            let count = Int.random(in: 1...min(bytes.count, 300), using: &generator)
            try channel.writeInbound(ByteBuffer(bytes: bytes.prefix(count)))
            bytes.removeFirst(count)
        }
        #expect(heard.frames == frames, "seed \(seed)")
        _ = try channel.finish()
        #expect(heard.ends == 1)
    }

    @Test("a length over the limit closes the stream before anything is kept")
    func tooLong() throws {
        for bytes in [[0xE9, 0x07], [0xFF, 0xFF, 0xFF, 0xFF, 0x01], [0x80, 0x80, 0x80, 0x80]] as [[UInt8]] {
            let heard = Heard()
            let channel = try channel(heard)
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            #expect(heard.ends == 1 && heard.frames.isEmpty)
            #expect(!channel.isActive)
        }
    }

    @Test("a stream that the peer ends is closed, with what was whole delivered")
    func ended() throws {
        let heard = Heard()
        let channel = try channel(heard)
        try channel.writeInbound(ByteBuffer(bytes: [1, 7, 5, 1]))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(heard.frames == [[7]] && heard.ends == 1)
        #expect(!channel.isActive)
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
