import LibP2P
import NIOCore
import NIOEmbedded
import Synchronization
import TestSupport
import Testing
import Timing

/// A yamux handler on an embedded channel, the other end being the test.
private final class Wire {
    let channel = EmbeddedChannel()
    let handler: YamuxHandler

    /// `setUp` is the pipeline of streams that the test opens.
    init(
        configuration: YamuxConfiguration = YamuxConfiguration(), clock: any TimeSource = SystemTime(),
        memory: ConnectionMemory? = nil,
        setUp: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) throws {
        handler = YamuxHandler(
            role: .server, configuration: configuration, clock: clock, memory: memory, inboundStream: setUp)
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        _ = try frames()
    }

    func send(
        _ type: YamuxHeader.FrameType, _ flags: YamuxHeader.Flags = [], _ id: UInt32 = 1,
        _ length: UInt32 = 0,
        payload: ByteBuffer = ByteBuffer()
    ) throws {
        var bytes = ByteBuffer()
        let length = type == .data ? UInt32(payload.readableBytes) : length
        YamuxHeader(type: type, flags: flags, streamID: id, length: length).write(to: &bytes)
        bytes.writeImmutableBuffer(payload)
        try channel.writeInbound(bytes)
    }

    /// What was sent since the last call: headers with their payloads.
    func frames() throws -> [(header: YamuxHeader, payload: String)] {
        channel.embeddedEventLoop.run()
        var bytes = ByteBuffer()
        while let next = try channel.readOutbound(as: ByteBuffer.self) { bytes.writeImmutableBuffer(next) }
        var frames: [(YamuxHeader, String)] = []
        while let header = try YamuxHeader(reading: &bytes) {
            let payload = header.type == .data ? bytes.readString(length: Int(header.length)) ?? "cut" : ""
            frames.append((header, payload))
        }
        return frames
    }

    /// The frames without ping and the ACKs of streams.
    func texts() throws -> [String] {
        try frames().filter { $0.header.type != .ping && $0.header.flags != .ack }.map { frame in
            switch (frame.header.type, frame.header.flags) {
            case (.data, _): frame.payload
            case (_, .fin): "FIN"
            case (_, .rst): "RST \(frame.header.length)"
            case (_, .syn): "SYN"
            case (.windowUpdate, _): "credit \(frame.header.length)"
            default: "\(frame.header)"
            }
        }
    }
}

/// Notes what a stream's pipeline hears, for tests on one thread.
private final class Listener: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    var heard: [String] = []
    var channel: (any Channel)?

    func handlerAdded(context: ChannelHandlerContext) { channel = context.channel }
    func channelActive(context: ChannelHandlerContext) { heard.append("active") }
    func channelInactive(context: ChannelHandlerContext) { heard.append("inactive") }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        heard.append(bytes.readableBytes > 100 ? "\(bytes.readableBytes) bytes" : String(buffer: bytes))
    }
    func channelReadComplete(context: ChannelHandlerContext) { heard.append("complete") }
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        heard.append(context.channel.isWritable ? "writable" : "unwritable")
    }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { heard.append("\(event)") }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { heard.append("\(error)") }

    func take() -> [String] {
        defer { heard = [] }
        return heard
    }
}

/// A clock that is set, and counts how often it was looked at.
private final class CountingClock: TimeSource {
    private let state = Mutex((instant: Instant.zero + .seconds(1), reads: 0))

    var reads: Int { state.withLock { $0.reads } }

    func advance(_ time: Duration) { state.withLock { $0.instant += time } }

    func now() -> Instant {
        state.withLock {
            $0.reads += 1
            return $0.instant
        }
    }
    func wallClock() -> UnixTime { UnixTime(seconds: 0) }
}

@Suite("stream channels over yamux")
struct StreamChannelTests {
    private func open(
        _ configuration: YamuxConfiguration = YamuxConfiguration(), memory: ConnectionMemory? = nil,
        configure: @escaping @Sendable (any Channel) throws -> Void = { _ in }
    ) throws -> (Wire, Listener, any Channel) {
        let listener = Listener()
        let wire = try Wire(configuration: configuration, memory: memory) { channel in
            channel.eventLoop.makeCompletedFuture {
                try configure(channel)
                try channel.pipeline.syncOperations.addHandler(listener)
            }
        }
        try wire.send(.windowUpdate, .syn)
        _ = try wire.frames()
        #expect(listener.take() == ["active"])
        return (wire, listener, try #require(listener.channel))
    }

    @Test("a connection at rest wakes for pings, and for nothing else")
    func wakings() throws {
        let clock = CountingClock()
        let wire = try Wire(clock: clock) { $0.eventLoop.makeSucceededVoidFuture() }
        try wire.send(.ping, .ack, 0, 0)
        var (pings, idle) = (0, 0)
        for _ in 0..<300 {
            let before = clock.reads
            clock.advance(.seconds(1))
            wire.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
            let sent = try wire.frames().filter { $0.header.type == .ping && $0.header.flags == .syn }
            if sent.isEmpty { idle += clock.reads - before }
            for ping in sent {
                pings += 1
                try wire.send(.ping, .ack, 0, ping.header.length)
            }
        }
        #expect((18...20).contains(pings))
        #expect(idle == 0, "it woke \(idle) times for nothing")
    }

    @Test("bytes, the end of input and the end of the stream arrive in order")
    func reads() throws {
        let (wire, listener, channel) = try open()
        try wire.send(.data, payload: ByteBuffer(string: "one"))
        #expect(listener.take() == ["one", "complete"])
        try wire.send(.data, .fin, payload: ByteBuffer(string: "two"))
        #expect(listener.take() == ["two", "complete", "inputClosed"])
        #expect(channel.isActive)
        channel.writeAndFlush(ByteBuffer(string: "answer"), promise: nil)
        channel.close(mode: .output, promise: nil)
        #expect(try wire.texts() == ["answer", "FIN"])
        #expect(listener.take() == ["inactive"])
        try channel.closeFuture.wait()
    }

    @Test("what arrives before the pipeline is set up is delivered after")
    func early() throws {
        let listener = Listener()
        let ready = EmbeddedEventLoop().makePromise(of: Void.self)
        let wire = try Wire { channel in
            ready.futureResult.hop(to: channel.eventLoop).flatMapThrowing {
                try channel.pipeline.syncOperations.addHandler(listener)
            }
        }
        try wire.send(.data, .syn, payload: ByteBuffer(string: "early"))
        try wire.send(.windowUpdate, .fin)
        ready.succeed()
        wire.channel.embeddedEventLoop.run()
        #expect(listener.take() == ["active", "early", "complete", "inputClosed"])
    }

    @Test("without reads nothing is delivered and no credit is given")
    func backpressure() throws {
        let (wire, listener, channel) = try open { try $0.syncOptions?.setOption(.autoRead, value: false) }
        for _ in 0..<4 { try wire.send(.data, payload: ByteBuffer(repeating: 0, count: 40_000)) }
        #expect(listener.take() == [])
        #expect(try wire.texts() == [])
        for _ in 0..<3 { channel.read() }
        wire.channel.embeddedEventLoop.run()
        #expect(listener.take().filter { $0 != "complete" } == Array(repeating: "40000 bytes", count: 3))
        #expect(try wire.texts() == [])
        channel.read()
        #expect(try wire.texts() == ["credit 160000"])
    }

    @Test("bytes that nobody reads are on the account of the connection, and beyond it end their stream")
    func unreadBytes() throws {
        let budget = MemoryBudget()
        let memory = ConnectionMemory(budget: budget)
        let (wire, listener, channel) = try open(memory: memory) {
            try $0.syncOptions?.setOption(.autoRead, value: false)
        }
        try wire.send(.data, payload: ByteBuffer(repeating: 0, count: 200_000))
        #expect(memory.held >= 200_000)
        channel.read()
        wire.channel.embeddedEventLoop.run()
        #expect(memory.held < 100_000)
        // Others hold what there is.
        let others = (0..<20).map { _ in ConnectionMemory(budget: budget) }
        for other in others { while other.reserve(16_000) {} }
        _ = listener.take()
        try wire.send(.data, payload: ByteBuffer(repeating: 0, count: 60_000))
        #expect(try wire.texts().contains("RST \(StreamReset.resourceLimit.code)"))
        #expect(listener.take() == ["\(StreamReset.resourceLimit)", "inactive"])
        #expect(wire.channel.isActive, "the connection goes on")
    }

    @Test(
        "bytes that a peer does not take are on the account of the connection, and beyond it end their stream"
    )
    func unsentBytes() throws {
        let budget = MemoryBudget()
        let memory = ConnectionMemory(budget: budget)
        let (wire, listener, channel) = try open(memory: memory)
        // More than the peer's window waits.
        channel.writeAndFlush(ByteBuffer(repeating: 1, count: 600_000), promise: nil)
        _ = try wire.frames()
        #expect(memory.held >= 600_000 - 262_144)
        channel.writeAndFlush(ByteBuffer(repeating: 1, count: 800_000), promise: nil)
        #expect(try wire.texts().contains("RST \(StreamReset.resourceLimit.code)"))
        #expect(listener.take().suffix(2) == ["\(StreamReset.resourceLimit)", "inactive"])
        #expect(memory.held < 100_000)
        #expect(budget.usage.refusals[.unproven] == nil, "it was the connection's own limit")
    }

    @Test("an unproven peer has eight streams, and more when it has proven itself")
    func streamLimit() throws {
        let memory = ConnectionMemory(budget: MemoryBudget())
        let wire = try Wire(memory: memory) { $0.eventLoop.makeSucceededVoidFuture() }
        for id: UInt32 in 0..<10 { try wire.send(.windowUpdate, .syn, 1 + 2 * id) }
        #expect(wire.handler.streamCount == 8)
        #expect(try wire.texts().count { $0 == "RST \(StreamReset.resourceLimit.code)" } == 2)
        memory.setStanding(.member)
        wire.handler.standingChanged()
        for id: UInt32 in 10..<20 { try wire.send(.windowUpdate, .syn, 1 + 2 * id) }
        #expect(wire.handler.streamCount == 18)
        // Each is on the account, until there is no room for more.
        var shares = MemoryBudget.Shares()
        shares.admitted = 100_000
        let small = ConnectionMemory(budget: MemoryBudget(shares: shares), standing: .admitted)
        let other = try Wire(memory: small) { $0.eventLoop.makeSucceededVoidFuture() }
        for id: UInt32 in 0..<100 { try other.send(.windowUpdate, .syn, 1 + 2 * id) }
        #expect(other.handler.streamCount == 100_000 / 2048)
        for id: UInt32 in 0..<100 { try other.send(.windowUpdate, .rst, 1 + 2 * id) }
        #expect(other.handler.streamCount == 0 && small.held <= 5 << 14)
    }

    @Test("every write is a frame of its own, and a turn of the loop has one flush")
    func writes() throws {
        let (wire, _, channel) = try open()
        channel.write(ByteBuffer(string: "a"), promise: nil)
        #expect(try wire.texts() == [])
        channel.write(ByteBuffer(string: "b"), promise: nil)
        channel.flush()
        channel.writeAndFlush(ByteBuffer(string: "c"), promise: nil)
        wire.channel.embeddedEventLoop.run()
        #expect(try wire.channel.readOutbound(as: ByteBuffer.self)?.readableBytes == 3 * 13)
        #expect(try wire.channel.readOutbound(as: ByteBuffer.self) == nil)
    }

    @Test("writability follows the peer's window and the water marks")
    func writability() throws {
        let (wire, listener, channel) = try open()
        channel.writeAndFlush(ByteBuffer(repeating: 1, count: 262_144), promise: nil)
        #expect(listener.take() == ["unwritable"])
        _ = try wire.frames()
        #expect(listener.take() == ["writable"])
        channel.writeAndFlush(ByteBuffer(repeating: 1, count: 200_000), promise: nil)
        #expect(try wire.frames().isEmpty)
        #expect(!channel.isWritable)
        try wire.send(.windowUpdate, [], 1, 150_000)
        #expect(try wire.frames().map(\.payload.utf8.count).reduce(0, +) == 150_000)
        #expect(channel.isWritable)
    }

    @Test("close sends what was flushed, then FIN; what was not flushed fails")
    func close() throws {
        let (wire, listener, channel) = try open()
        channel.writeAndFlush(ByteBuffer(string: "last"), promise: nil)
        let lost = channel.write(ByteBuffer(string: "lost"))
        let closed = channel.close()
        #expect(try wire.texts() == ["last", "FIN"])
        #expect(listener.take() == ["inactive"])
        try closed.wait()
        #expect(throws: ChannelError.ioOnClosedChannel) { try lost.wait() }
        // The peer answers late: nobody is disturbed.
        try wire.send(.data, payload: ByteBuffer(string: "late"))
        try wire.send(.windowUpdate, .fin)
        #expect(try wire.texts() == [])
    }

    @Test("a peer's reset fails the stream with its code and every write that waits")
    func resetByPeer() throws {
        let (wire, listener, channel) = try open()
        channel.writeAndFlush(ByteBuffer(repeating: 1, count: 262_144), promise: nil)
        _ = try wire.frames()
        let waiting = channel.writeAndFlush(ByteBuffer(string: "waits"))
        _ = listener.take()
        try wire.send(.windowUpdate, .rst, 1, 0x1003)
        #expect(listener.take() == ["\(StreamReset.rateLimited)", "inactive"])
        #expect(throws: StreamReset.rateLimited) { try waiting.wait() }
    }

    @Test("a reset of ours carries its code")
    func resetByUs() throws {
        let (wire, listener, channel) = try open()
        channel.triggerUserOutboundEvent(StreamReset.gated, promise: nil)
        #expect(try wire.texts() == ["RST \(0x1008)"])
        #expect(listener.take() == ["inactive"])
        #expect(throws: (any Error).self) { try channel.writeAndFlush(ByteBuffer(string: "x")).wait() }
    }

    @Test("a pipeline that cannot be set up resets the stream with the error's code")
    func initializerFails() throws {
        let wire = try Wire { $0.eventLoop.makeFailedFuture(StreamReset.resourceLimit) }
        try wire.send(.windowUpdate, .syn)
        #expect(try wire.texts() == ["RST \(0x1002)"])
    }

    @Test("without half-closure the peer's FIN closes the stream")
    func noHalfClosure() throws {
        let (wire, listener, _) = try open {
            try $0.syncOptions?.setOption(.allowRemoteHalfClosure, value: false)
        }
        try wire.send(.data, .fin, payload: ByteBuffer(string: "end"))
        #expect(try wire.texts() == ["FIN"])
        #expect(listener.take() == ["end", "complete", "inactive"])
    }

    @Test("when the connection ends, so do its streams, with an error")
    func connectionEnds() throws {
        let (wire, listener, channel) = try open()
        let waiting = channel.write(ByteBuffer(string: "x"))
        wire.channel.pipeline.fireChannelInactive()
        #expect(listener.take() == ["\(YamuxError.connectionLost)", "inactive"])
        #expect(throws: YamuxError.connectionLost) { try waiting.wait() }
        let opening = wire.channel.eventLoop.makePromise(of: (any Channel).self)
        wire.handler.openStream({ $0.eventLoop.makeSucceededVoidFuture() }, promise: opening)
        #expect(throws: YamuxOpenError.sessionEnded) { try opening.futureResult.wait() }
    }

    @Test("streams of ours open with SYN and carry data before the peer has acknowledged")
    func opens() throws {
        let wire = try Wire { $0.eventLoop.makeSucceededVoidFuture() }
        let opening = wire.channel.eventLoop.makePromise(of: (any Channel).self)
        wire.handler.openStream({ $0.eventLoop.makeSucceededVoidFuture() }, promise: opening)
        let stream = try opening.futureResult.wait()
        stream.writeAndFlush(ByteBuffer(string: "first"), promise: nil)
        #expect(try wire.texts() == ["SYN", "first"])
    }

    @Test("a channel that is not writable is sent no data, and then all of it")
    func parentWritability() throws {
        let (wire, listener, channel) = try open()
        wire.channel.isWritable = false
        wire.channel.pipeline.fireChannelWritabilityChanged()
        #expect(listener.take() == ["unwritable"])
        channel.writeAndFlush(ByteBuffer(string: "patience"), promise: nil)
        #expect(try wire.texts() == [])
        wire.channel.isWritable = true
        wire.channel.pipeline.fireChannelWritabilityChanged()
        #expect(listener.take() == ["writable"])
        #expect(try wire.texts() == ["patience"])
    }

    @Test("a handler may close the stream while it is being read")
    func closeWithinRead() throws {
        final class Closer: ChannelInboundHandler, @unchecked Sendable {
            typealias InboundIn = ByteBuffer
            func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.close(promise: nil) }
        }
        let wire = try Wire { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Closer()) }
        }
        var both = ByteBuffer()
        YamuxHeader(type: .data, flags: .syn, streamID: 1, length: 1).write(to: &both)
        both.writeInteger(UInt8(1))
        YamuxHeader(type: .data, flags: .fin, streamID: 1, length: 1).write(to: &both)
        both.writeInteger(UInt8(2))
        try wire.channel.writeInbound(both)
        #expect(try wire.texts() == ["FIN"])
        #expect(wire.handler.streamCount == 0)
    }
}
