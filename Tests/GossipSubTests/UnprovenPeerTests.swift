import LibP2P
import NIOCore
import NIOEmbedded
import Testing
import Timing

@testable import GossipSub

/// What a peer that has proven nothing can do to the router and to the memory of its streams.
@Suite("Unproven gossip peers")
struct UnprovenPeerTests {
    private var parameters: Parameters {
        var parameters = Parameters()
        parameters.newcomers = .unproven
        return parameters
    }

    private func message(_ number: Int, _ author: Identity, size: Int = 8) -> GossipMessage {
        var writer = MessageAuthor(identity: author)
        return writer.message(
            topic: RouterBench.topic, data: [UInt8](repeating: 1, count: size),
            at: UnixTime(nanoseconds: Int64(number) + 1))
    }

    @Test("sybils take no place in a mesh that a proven peer could have")
    func mesh() throws {
        var bench = RouterBench(parameters)
        let sybils = (0..<100).map { _ in bench.connect() }
        #expect(bench.mesh().isEmpty, "nobody is grafted who has proven nothing")
        for sybil in sybils { bench.say(sybil) { $0.graft = [RouterBench.topic] } }
        #expect(bench.mesh().count == 6)
        let members = (0..<8).map { _ in bench.connect() }
        for member in members { bench.feed(.peerStanding(member.peerID, .admitted)) }
        let proven = bench.mesh().filter { peer in members.contains { $0.peerID == peer } }
        #expect(proven.count >= 5)
        // One that has asked before it was proven counts from then on.
        bench.feed(.peerStanding(sybils[0].peerID, .member))
        #expect(bench.mesh().count <= 12)
    }

    @Test("an unproven peer gets what is published, unless it is too much to queue for it")
    func published() throws {
        var bench = RouterBench(parameters)
        let visitor = bench.connect()
        bench.feed(.publish(message(1, Identity.generate())))
        #expect(bench.said(to: visitor).contains { !$0.messages.isEmpty })
        func messages() -> Int { bench.said(to: visitor).count { !$0.messages.isEmpty } }
        #expect(messages() == 1)
        bench.feed(.publish(message(2, Identity.generate(), size: 600_000)))
        #expect(messages() == 1)
        bench.feed(.peerStanding(visitor.peerID, .member))
        bench.feed(.publish(message(3, Identity.generate(), size: 600_000)))
        #expect(messages() == 2)
    }

    @Test(
        "the budgets of an unproven peer are small, and those of its standing are full when it proves itself")
    func budgets() throws {
        var bench = RouterBench(parameters)
        let peer = bench.connect()
        let author = Identity.generate()
        for index in 0..<200 { bench.say(peer) { $0.messages = [message(index, author)] } }
        #expect(bench.delivered.count == 64)
        bench.feed(.peerStanding(peer.peerID, .member))
        for index in 200..<400 { bench.say(peer) { $0.messages = [message(index, author)] } }
        #expect(bench.delivered.count == 264)
    }

    private func handler(
        _ memory: ConnectionMemory, on channel: EmbeddedChannel,
        heard: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws {
        try channel.pipeline.syncOperations.addHandler(
            InboundGossipHandler(
                eventLoop: channel.eventLoop, memory: memory, maximumLength: 20 << 20,
                onFrame: { heard($0.count) }, onEnd: {}))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func frame(_ length: Int, sent: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        GossipFrames.write([UInt8](repeating: 1, count: length), to: &buffer)
        return buffer.getSlice(at: 0, length: min(sent, buffer.readableBytes)) ?? buffer
    }

    @Test("a frame above 64 kB of an unproven peer ends its stream at its length, of a member it is kept")
    func longFrames() throws {
        let budget = MemoryBudget()
        let memory = ConnectionMemory(budget: budget)
        let first = EmbeddedChannel()
        try handler(memory, on: first)
        try first.writeInbound(frame(20_000_000, sent: 64))
        first.embeddedEventLoop.run()
        #expect(!first.isActive && memory.held == 0)
        memory.setStanding(.member)
        let second = EmbeddedChannel()
        try handler(memory, on: second)
        try second.writeInbound(frame(20_000_000, sent: 1_000_000))
        #expect(second.isActive && memory.held >= 1_000_000)
        _ = try second.finish(acceptAlreadyClosed: true)
        #expect(memory.held == ConnectionMemory.wideBuffers)
    }

    @Test("unfinished frames of sybils hold 16 MB at most, and a member's frame still comes together")
    func sybilFrames() throws {
        let budget = MemoryBudget()
        var channels: [EmbeddedChannel] = []
        var memories: [ConnectionMemory] = []
        for _ in 0..<128 {
            let memory = ConnectionMemory(budget: budget)
            memories.append(memory)
            for _ in 0..<4 {
                let channel = EmbeddedChannel()
                try handler(memory, on: channel)
                try channel.writeInbound(frame(65_000, sent: 60_000))
                channels.append(channel)
            }
        }
        #expect(budget.usage.used[.unproven, default: 0] <= 16 << 20)
        #expect(budget.usage.refusals[.unproven, default: 0] > 0)
        #expect(channels.contains { $0.isActive } && channels.contains { !$0.isActive })
        let member = EmbeddedChannel()
        let memory = ConnectionMemory(budget: budget, standing: .member)
        let heard = Heard()
        try handler(memory, on: member) { heard.lengths.append($0) }
        var bytes = frame(10_000_000, sent: .max)
        while let part = bytes.readSlice(length: min(bytes.readableBytes, 64_000)), part.readableBytes > 0 {
            try member.writeInbound(part)
        }
        #expect(heard.lengths == [10_000_000] && memory.held == ConnectionMemory.wideBuffers)
    }

    /// Only the test's thread touches it.
    private final class Heard: @unchecked Sendable { var lengths: [Int] = [] }
}
