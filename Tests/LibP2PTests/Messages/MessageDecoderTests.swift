import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing
import Timing

@testable import LibP2P

@Suite("Messages cut out of streams")
struct MessageDecoderTests {
    private final class Heard: Sendable {
        private let state = NIOLockedValueBox<(frames: [[UInt8]], ends: Int)>(([], 0))
        var frames: [[UInt8]] { state.withLockedValue { $0.frames } }
        var ends: Int { state.withLockedValue { $0.ends } }
        func frame(_ bytes: [UInt8]) { state.withLockedValue { $0.frames.append(bytes) } }
        func end() { state.withLockedValue { $0.ends += 1 } }
    }

    private func channel(
        _ heard: Heard, maximum: Int = 1000, memory: ConnectionMemory? = nil
    ) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(
            handler: MessageDecoder(
                .lengthPrefixed(maximum: maximum), memory: memory,
                message: { bytes in
                    heard.frame(bytes)
                    return true
                }, closed: { heard.end() }))
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

    @Test("a message above 64 kB of an unproven peer closes the stream at its length, of a member it is kept")
    func standing() throws {
        let memory = ConnectionMemory(budget: MemoryBudget())
        var bytes: [UInt8] = []
        bytes.appendLengthPrefixed([UInt8](repeating: 1, count: 100_000))
        let (refused, heard) = (Heard(), Heard())
        let first = try channel(refused, maximum: 1 << 20, memory: memory)
        try first.writeInbound(ByteBuffer(bytes: bytes.prefix(10)))
        #expect(refused.ends == 1 && memory.held == 0)
        memory.setStanding(.admitted)
        let before = memory.held
        let second = try channel(heard, maximum: 1 << 20, memory: memory)
        try second.writeInbound(ByteBuffer(bytes: bytes.prefix(90_000)))
        #expect(memory.held >= before + 89_000 && heard.ends == 0)
        try second.writeInbound(ByteBuffer(bytes: bytes.dropFirst(90_000)))
        #expect(heard.frames.map(\.count) == [100_000] && memory.held == before)
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

    @Test("messages of one length come out whole, and the first that is none ends the stream")
    func fixedLength() throws {
        let heard = Heard()
        let channel = EmbeddedChannel(
            handler: MessageDecoder(
                .fixed(3),
                message: { bytes in
                    guard bytes[0] != 0 else { return false }
                    heard.frame(bytes)
                    return true
                }, closed: { heard.end() }))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try channel.writeInbound(ByteBuffer(bytes: [1, 2]))
        #expect(heard.frames.isEmpty)
        try channel.writeInbound(ByteBuffer(bytes: [3, 4, 5, 6, 0, 8, 9, 10, 11, 12]))
        #expect(heard.frames == [[1, 2, 3], [4, 5, 6]] && heard.ends == 1)
        #expect(!channel.isActive)
    }
}
