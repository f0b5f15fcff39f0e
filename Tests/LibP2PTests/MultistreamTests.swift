import LibP2P
import NIOCore
import NIOEmbedded
import TestSupport
import Testing
import Timing

private struct Case: Decodable {
    let kind: String
    let name: String
    let lazy: Bool?
    let dataHex: String?
    let wanted: [String]?
    let offered: [String]?
    let initiator: String?
    let initiatorError: String?
    let responder: String?
    let responderSelected: String?
    let selected: String?
    let input: String?
    let output: String?
    let `protocol`: String?
    let rest: String?
    let error: String?
}

private struct File: Decodable {
    let cases: [Case]
}

/// Runs one side and notes what it does.
private struct Side {
    var negotiation: any MultistreamNegotiation
    var output: [UInt8] = []
    var held: [UInt8] = []
    var selected: ProtocolID?
    var rest: [UInt8]?
    var error: MultistreamError?

    init(_ negotiation: any MultistreamNegotiation) {
        self.negotiation = negotiation
        feed(.start)
    }

    mutating func feed(_ input: MultistreamInput) {
        for effect in negotiation.receive(input) {
            switch effect {
            case .send(let bytes): output += Array(bytes.readableBytesView)
            case .sendWithFirstWrite(let bytes): output += Array(bytes.readableBytesView)
            case .selected(let found): selected = found
            case .established(let bytes): rest = Array(bytes.readableBytesView)
            case .failed(let failure): error = failure
            }
        }
    }

    /// Feeds `bytes` in pieces of `size`.
    mutating func feed(_ bytes: [UInt8], by size: Int) {
        var remaining = bytes[...]
        while !remaining.isEmpty {
            let piece = remaining.prefix(size)
            remaining = remaining.dropFirst(size)
            if rest == nil { feed(.received(ByteBuffer(bytes: piece))) } else { rest? += Array(piece) }
        }
    }
}

@Suite("multistream-select")
struct MultistreamTests {
    private let cases: [Case]

    init() throws {
        cases = try Vectors.load("multistream.json", as: File.self, snakeCase: true).cases
    }

    private func dialer(_ example: Case) -> any MultistreamNegotiation {
        let wanted = (example.wanted ?? []).map(ProtocolID.init(rawValue:))
        if example.lazy == true, let only = wanted.first { return MultistreamDialer(lazilyProposing: only) }
        return MultistreamDialer(proposing: wanted)
    }

    private func listener(_ example: Case) -> any MultistreamNegotiation {
        MultistreamListener(supported: Set((example.offered ?? []).map(ProtocolID.init(rawValue:))))
    }

    @Test("two sides write what go-libp2p's write and agree on the same protocol", arguments: [1, 3, 5000])
    func negotiations(pieces: Int) throws {
        let negotiations = cases.filter { $0.kind == "negotiation" }
        #expect(negotiations.count == 12)
        for example in negotiations {
            let data = try #require(example.dataHex.flatMap(Hex.decode))
            var dialler = Side(dialer(example))
            var listening = Side(listener(example))
            var toListener = 0
            var toDialer = 0
            if example.lazy == true { dialler.output += data }
            while toListener < dialler.output.count || toDialer < listening.output.count {
                let forward = Array(dialler.output.dropFirst(toListener))
                toListener = dialler.output.count
                listening.feed(forward, by: pieces)
                let back = Array(listening.output.dropFirst(toDialer))
                toDialer = listening.output.count
                let wasEstablished = dialler.rest != nil
                dialler.feed(back, by: pieces)
                if !wasEstablished, dialler.rest != nil, example.lazy == false { dialler.output += data }
            }
            #expect(Hex.encode(dialler.output) == example.initiator, "\(example.name)")
            #expect(Hex.encode(listening.output) == example.responder, "\(example.name)")
            #expect((listening.selected?.rawValue ?? "") == example.responderSelected, "\(example.name)")
            if example.initiatorError == nil {
                #expect(dialler.selected?.rawValue == example.selected, "\(example.name)")
                #expect(dialler.rest == [], "\(example.name)")
                #expect(listening.rest == data, "\(example.name)")
            } else {
                #expect(
                    dialler.error == .refused((example.wanted ?? []).map(ProtocolID.init(rawValue:))),
                    "\(example.name)")
                listening.feed(.endOfInput)
                #expect(listening.error != nil, "\(example.name)")
            }
        }
    }

    @Test("each side answers good and bad input as go-libp2p does", arguments: [1, 7, 5000])
    func inputs(pieces: Int) throws {
        for example in cases where example.kind != "negotiation" {
            let isListener = example.kind == "responder_input"
            var side = Side(isListener ? listener(example) : dialer(example))
            side.feed(try #require(example.input.flatMap(Hex.decode)), by: pieces)
            if side.rest == nil { side.feed(.endOfInput) }
            #expect(Hex.encode(side.output) == example.output, "\(example.name)")
            if example.error == nil {
                #expect(
                    side.selected?.rawValue == (isListener ? example.protocol : example.selected),
                    "\(example.name)")
                #expect(side.rest.map { Hex.encode($0) } == (example.rest ?? ""), "\(example.name)")
            } else {
                #expect(side.error != nil && side.rest == nil, "\(example.name)")
            }
        }
    }

    @Test("a spelling that Swift takes for equal is not the protocol")
    func exactNames() {
        // U+212A, the Kelvin sign, is canonically equal to the letter K.
        var side = Side(MultistreamListener(supported: ["/K"]))
        var input = ByteBuffer()
        MultistreamToken.write(MultistreamToken.header, to: &input)
        MultistreamToken.write("/\u{212A}".utf8, to: &input)
        MultistreamToken.write("/K".utf8, to: &input)
        side.feed(.received(input))
        #expect(String(decoding: side.output, as: UTF8.self).contains("na\n"))
        #expect(side.selected == "/K")
    }

    @Test("a peer that proposes without end is cut off")
    func proposalLimit() {
        var side = Side(MultistreamListener(supported: ["/a"]))
        var input = ByteBuffer()
        MultistreamToken.write(MultistreamToken.header, to: &input)
        for _ in 0...MultistreamListener.maximumProposals { MultistreamToken.write("/b".utf8, to: &input) }
        side.feed(.received(input))
        #expect(side.error == .tooManyProposals)
        #expect(side.output.count == 20 + 4 * MultistreamListener.maximumProposals)
    }

    @Test("random and damaged input never breaks either side")
    func fuzz() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let good = try cases.compactMap { $0.input ?? $0.initiator }.map { try #require(Hex.decode($0)) }
        for _ in 0..<2000 {
            var bytes = good.randomElement(using: &random) ?? []
            if bytes.isEmpty || Bool.random(using: &random) {
                bytes += (0..<Int.random(in: 0..<50, using: &random)).map { _ in
                    .random(in: 0...255, using: &random)
                }
            } else {
                bytes[.random(in: bytes.indices, using: &random)] ^=
                    1 << UInt8.random(in: 0..<8, using: &random)
            }
            for negotiation: any MultistreamNegotiation in [
                MultistreamListener(supported: ["/noise"]),
                MultistreamDialer(proposing: ["/noise", "/tls/1.0.0"]),
            ] {
                var side = Side(negotiation)
                side.feed(bytes, by: Int.random(in: 1...40, using: &random))
                side.feed(.deadlinePassed)
                #expect((side.rest != nil) != (side.error != nil), "seed \(seed)")
            }
        }
    }
}

@Suite("multistream-select on a channel")
struct MultistreamHandlerTests {
    /// What the application's pipeline sees.
    private final class Application: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var received: [UInt8] = []
        var sawEnd = false

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Array(unwrapInboundIn(data).readableBytesView)
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed? = event as? ChannelEvent { sawEnd = true }
        }
    }

    private func wire(_ texts: String...) -> ByteBuffer {
        var buffer = ByteBuffer()
        for text in texts { MultistreamToken.write(text.utf8, to: &buffer) }
        return buffer
    }

    private let header = "/multistream/1.0.0"

    private func sent(_ channel: EmbeddedChannel) throws -> [ByteBuffer] {
        var writes: [ByteBuffer] = []
        while let write = try channel.readOutbound(as: ByteBuffer.self) { writes.append(write) }
        return writes
    }

    private func open(
        _ negotiation: any MultistreamNegotiation, application: Application = Application(),
        initialize: (MultistreamHandler.Initializer)? = nil
    ) throws -> (EmbeddedChannel, EventLoopFuture<ProtocolID>) {
        let channel = EmbeddedChannel()
        let promise = channel.eventLoop.makePromise(of: ProtocolID.self)
        let handler = MultistreamHandler(
            negotiation, timeout: .seconds(10), negotiated: promise,
            initialize: initialize ?? { _, channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(application)
                }
            })
        try channel.pipeline.syncOperations.addHandler(handler)
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        return (channel, promise.futureResult)
    }

    private func isGone(_ channel: EmbeddedChannel) -> Bool {
        (try? channel.pipeline.syncOperations.handler(type: MultistreamHandler.self)) == nil
    }

    @Test("a listener answers, hands on the bytes behind the proposal, and leaves")
    func listener() throws {
        let application = Application()
        let (channel, negotiated) = try open(MultistreamListener(supported: ["/a"]), application: application)
        var input = wire(header, "/b", "/a")
        input.writeString("data")
        try channel.writeInbound(input)
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(try sent(channel) == [wire(header), wire("na", "/a")])
        #expect(application.received == Array("data".utf8))
        #expect(application.sawEnd)
        #expect(try negotiated.wait() == "/a")
        #expect(isGone(channel))
        _ = try? channel.finish()
    }

    /// Closes the channel as soon as it reads, as a request's handler does with one that is no good.
    private final class ClosesAtOnce: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var reads = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            reads += 1
            context.channel.close(promise: nil)
        }
    }

    @Test("an application may close the channel at the first bytes that were held for it")
    func closedWhileDelivering() throws {
        let application = ClosesAtOnce()
        let (channel, negotiated) = try open(MultistreamListener(supported: ["/a"])) { _, channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(application)
            }
        }
        var input = wire(header, "/a")
        input.writeString("data")
        try channel.writeInbound(input)
        #expect(application.reads == 1)
        #expect(!channel.isActive)
        #expect(try negotiated.wait() == "/a")
    }

    @Test("nothing is delivered before the application is set up, and then all of it in order")
    func slowSetup() throws {
        let application = Application()
        var ready: EventLoopPromise<Void>?
        let (channel, negotiated) = try open(
            MultistreamListener(supported: ["/a"]), application: application,
            initialize: { _, channel in
                let promise = channel.eventLoop.makePromise(of: Void.self)
                ready = promise
                return promise.futureResult.assumeIsolated().flatMapThrowing {
                    try channel.pipeline.syncOperations.addHandler(application)
                }.nonisolated()
            })
        var input = wire(header, "/a")
        input.writeString("one ")
        try channel.writeInbound(input)
        try channel.writeInbound(ByteBuffer(string: "two"))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(application.received == [])
        #expect(!isGone(channel))
        try #require(ready).succeed()
        #expect(application.received == Array("one two".utf8))
        #expect(application.sawEnd)
        #expect(try negotiated.wait() == "/a")
        #expect(isGone(channel))
        _ = try? channel.finish()
    }

    @Test("a lazy dialer sends header, proposal and first bytes in one write")
    func lazy() throws {
        let application = Application()
        let (channel, negotiated) = try open(
            MultistreamDialer(lazilyProposing: "/a"), application: application)
        #expect(try negotiated.wait() == "/a")
        channel.writeAndFlush(ByteBuffer(string: "packet"), promise: nil)
        channel.embeddedEventLoop.run()
        var expected = wire(header, "/a")
        expected.writeString("packet")
        #expect(try sent(channel) == [expected])
        var answer = wire(header, "/a")
        answer.writeString("reply")
        try channel.writeInbound(answer)
        #expect(application.received == Array("reply".utf8))
        #expect(isGone(channel))
        _ = try? channel.finish()
    }

    @Test("a lazy dialer whose application only reads sends its proposal by itself")
    func lazyReader() throws {
        let (channel, _) = try open(MultistreamDialer(lazilyProposing: "/a"))
        #expect(try sent(channel) == [])
        channel.embeddedEventLoop.run()
        #expect(try sent(channel) == [wire(header, "/a")])
        _ = try? channel.finish()
    }

    @Test("a lazy dialer that is refused closes the channel")
    func lazyRefused() throws {
        let (channel, _) = try open(MultistreamDialer(lazilyProposing: "/a"))
        channel.writeAndFlush(ByteBuffer(string: "packet"), promise: nil)
        #expect(throws: MultistreamError.refused(["/a"])) {
            try channel.writeInbound(self.wire(header, "na"))
        }
        #expect(!channel.isActive)
    }

    @Test("a peer that does not finish in time is cut off")
    func timeout() throws {
        let (channel, negotiated) = try open(MultistreamDialer(proposing: ["/a"]))
        try channel.writeInbound(wire(header))
        channel.embeddedEventLoop.advanceTime(by: .seconds(9))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        #expect(throws: MultistreamError.timedOut) { try negotiated.wait() }
    }

    @Test("no timer outlives a negotiation that succeeded")
    func timerEnds() throws {
        let (channel, _) = try open(MultistreamDialer(proposing: ["/a"]))
        try channel.writeInbound(wire(header, "/a"))
        channel.embeddedEventLoop.advanceTime(by: .seconds(60))
        #expect(channel.isActive)
        _ = try? channel.finish()
    }

    @Test("a channel that closes during the negotiation fails it")
    func closed() throws {
        let (channel, negotiated) = try open(MultistreamListener(supported: ["/a"]))
        _ = try? channel.finish()
        #expect(throws: MultistreamError.endOfStream) { try negotiated.wait() }
    }

    @Test("a peer that floods the setup is cut off")
    func flood() throws {
        let (channel, negotiated) = try open(
            MultistreamListener(supported: ["/a"]),
            initialize: { _, channel in channel.eventLoop.makePromise(of: Void.self).futureResult })
        try channel.writeInbound(wire(header, "/a"))
        let megabyte = ByteBuffer(repeating: 0, count: 1 << 20)
        try channel.writeInbound(megabyte)
        #expect(throws: MultistreamError.tooMuchInput) { try channel.writeInbound(ByteBuffer(string: "x")) }
        #expect(throws: MultistreamError.tooMuchInput) { try negotiated.wait() }
        #expect(!channel.isActive)
    }
}
