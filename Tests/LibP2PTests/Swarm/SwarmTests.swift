import LibP2P
import Multiformats
import NIOCore
import NIOPosix
import Testing
import Timing

@Suite("swarm over loopback", .serialized, .timeLimit(.minutes(1)), .eachSecurity)
struct SwarmTests {
    private let echo: ProtocolID = "/test/echo/1"

    private func serveEcho(_ node: SwarmWorld.Node) {
        node.swarm.setHandler(for: echo) { stream in stream.add { EchoHandler() } }
    }

    /// Sends `bytes` on a new stream, half-closes and returns what came back.
    private func exchange(
        _ bytes: ByteBuffer, from node: SwarmWorld.Node, to other: SwarmWorld.Node
    ) async throws -> ByteBuffer {
        let promise = node.swarm.eventLoop.makePromise(of: ByteBuffer.self)
        let opening = node.swarm.openStream(to: other.peer, protocols: [echo]) { stream in
            stream.add { CollectHandler(promise) }
        }
        opening.whenFailure { promise.fail($0) }
        let channel = try await opening.get()
        try await channel.writeAndFlush(bytes)
        try await channel.close(mode: .output)
        return try await promise.futureResult.get()
    }

    @Test("two nodes connect, identify each other and exchange bytes on a stream")
    func connects() async throws {
        try await SwarmWorld.with(2) { nodes in
            serveEcho(nodes[1])
            try await nodes[0].dial(nodes[1])
            try await nodes[0].events.waitForIdentify(of: nodes[1].peer)
            try await nodes[1].events.waitForIdentify(of: nodes[0].peer)
            let answer = try await exchange(ByteBuffer(string: "hello"), from: nodes[0], to: nodes[1])
            #expect(String(buffer: answer) == "hello")
            let ours = try await nodes[0].swarm.connections(to: nodes[1].peer).get()
            let theirs = try await nodes[1].swarm.connections(to: nodes[0].peer).get()
            #expect(ours.count == 1)
            #expect(ours.first?.channelBinding == theirs.first?.channelBinding)
            #expect(ours.first?.channelBinding.count == 32)
            for event in nodes[0].events.all {
                guard case .peerIdentified(_, let known) = event else { continue }
                #expect(known.agentVersion == "kairos-node-agent/test")
                #expect(known.protocols.contains("/ipfs/ping/1.0.0"))
                #expect(!known.protocols.contains("/libp2p/autonat/1.0.0"))
                #expect(known.listenAddresses == (try await nodes[1].addresses()))
            }
        }
    }

    @Test("a dialer that has TLS and a listener of either kind meet, whichever way round")
    func mixedSecurity() async throws {
        for (left, right) in [
            ([.tls, .noise], [.noise]), ([.noise], [.tls, .noise]), ([.tls, .noise], [.tls]),
            ([.tls, .noise], [.tls, .noise]),
        ] as [([SwarmSecurity.Kind], [SwarmSecurity.Kind])] {
            let dialer = try await SwarmSecurity.$current.withValue(left) { try await SwarmWorld.node() }
            let listener = try await SwarmSecurity.$current.withValue(right) { try await SwarmWorld.node() }
            try await dialer.dial(listener)
            try await dialer.events.waitForIdentify(of: listener.peer)
            try await listener.events.waitForIdentify(of: dialer.peer)
            let ours = try await dialer.swarm.connections(to: listener.peer).get()
            let theirs = try await listener.swarm.connections(to: dialer.peer).get()
            #expect(ours.first?.channelBinding.count == 32)
            #expect(ours.map(\.channelBinding) == theirs.map(\.channelBinding))
            try await dialer.swarm.shutDown().get()
            try await listener.swarm.shutDown().get()
        }
    }

    @Test("a protocol added later is pushed, and removed again")
    func pushes() async throws {
        try await SwarmWorld.with(2, configure: { $0.timings.pushInterval = .milliseconds(50) }) { nodes in
            try await nodes[0].dial(nodes[1])
            try await nodes[0].events.waitForIdentify(of: nodes[1].peer)
            try await nodes[1].events.waitForIdentify(of: nodes[0].peer)
            serveEcho(nodes[1])
            let (peer, name) = (nodes[1].peer, echo)
            try await nodes[0].events.wait("push of the new protocol") { events in
                guard case .peerIdentified(peer, let known)? = events.last else { return false }
                return known.protocols.contains(name)
            }
            nodes[1].swarm.removeHandler(for: echo)
            try await nodes[0].events.wait("push of the removal") { events in
                guard case .peerIdentified(peer, let known)? = events.last else { return false }
                return !known.protocols.contains(name)
            }
        }
    }

    @Test("another peer than the one dialled is refused")
    func wrongPeer() async throws {
        try await SwarmWorld.with(2) { nodes in
            let stranger = Identity.generate().peerID
            let addresses = try await nodes[1].addresses()
            await #expect(throws: SwarmError.self) {
                try await nodes[0].swarm.dial(stranger, addresses: addresses).get()
            }
            #expect(try await nodes[0].swarm.connections(to: stranger).get().isEmpty)
        }
    }

    @Test("both families listen on wildcards, each resolved to interface addresses, and both can be dialled")
    func families() async throws {
        let server = try await SwarmWorld.node(listen: ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"])
        let client = try await SwarmWorld.node(listen: [])
        let addresses = try await server.addresses()
        #expect(addresses.contains { $0.description.hasPrefix("/ip4/127.0.0.1/tcp/") })
        #expect(!addresses.contains { $0.ipAddress?.isUnspecified ?? false })
        for prefix in ["/ip4/127.0.0.1/", "/ip6/::1/"] {
            guard let address = addresses.first(where: { $0.description.hasPrefix(prefix) }) else {
                #expect(prefix == "/ip6/::1/", "IPv4 loopback is everywhere")
                continue
            }
            try await client.swarm.dial(server.peer, addresses: [address]).get()
            #expect(try await client.swarm.ping(server.peer).get() < .seconds(5))
            client.swarm.disconnect(server.peer, reason: .shutdown)
            try await client.events.waitForDisconnect(from: server.peer)
        }
        try await client.swarm.shutDown().get()
        try await server.swarm.shutDown().get()
    }

    @Test("a node that is kept connected comes back within seconds when it restarts")
    func restart() async throws {
        let client = try await SwarmWorld.node { configuration in
            configuration.timings.longLived = .zero
        }
        let identity = Identity.generate()
        var server = try await SwarmWorld.node(identity)
        let addresses = try await server.addresses()
        client.swarm.setKeepConnected(true, for: server.peer, addresses: addresses)
        try await client.events.waitForConnect(to: server.peer)
        try await server.swarm.shutDown().get()
        try await client.events.waitForDisconnect(from: server.peer)
        server = try await SwarmWorld.node(identity, listen: addresses.map(\.description))
        try await client.events.waitForConnect(to: server.peer, times: 2, within: .seconds(5))
        try await client.swarm.shutDown().get()
        try await server.swarm.shutDown().get()
    }

    @Test("when both dial at once, one connection is left, the same for both")
    func simultaneousDial() async throws {
        try await SwarmWorld.with(2, configure: { $0.timings.surplusGrace = .milliseconds(200) }) { nodes in
            for _ in 0..<5 {
                let (left, right) = (nodes[0], nodes[1])
                async let first: Void = left.dial(right)
                async let second: Void = right.dial(left)
                _ = try await (first, second)
                try await left.events.waitForIdentify(of: right.peer)
                let promise = left.swarm.eventLoop.makePromise(of: Void.self)
                left.swarm.eventLoop.scheduleTask(in: .milliseconds(600)) { promise.succeed() }
                try await promise.futureResult.get()
                let ours = try await left.swarm.connections(to: right.peer).get()
                let theirs = try await right.swarm.connections(to: left.peer).get()
                #expect(ours.count == 1)
                #expect(ours.map(\.channelBinding) == theirs.map(\.channelBinding))
                left.swarm.disconnect(right.peer, reason: .shutdown)
                try await right.events.waitForDisconnect(from: left.peer)
            }
        }
    }

    @Test("100 MiB arrive whole, while a second stream stays responsive")
    func bulk() async throws {
        try await SwarmWorld.with(2) { nodes in
            let sink: ProtocolID = "/test/sink/1"
            let blocks = UInt64(100 << 20) / UInt64(patternBlockSize)
            let received = nodes[1].swarm.eventLoop.makePromise(of: UInt64.self)
            nodes[1].swarm.setHandler(for: sink) { stream in
                stream.add { PatternSink(promise: received) }
            }
            try await nodes[0].dial(nodes[1])
            try await nodes[0].events.waitForIdentify(of: nodes[1].peer)
            _ = try await nodes[0].swarm.openStream(to: nodes[1].peer, protocols: [sink]) { stream in
                stream.add { PatternSource(blocks: blocks) }
            }.get()
            var slowest = Duration.zero
            for _ in 0..<10 { slowest = max(slowest, try await nodes[0].swarm.ping(nodes[1].peer).get()) }
            #expect(slowest < .seconds(2), "a ping took \(slowest) beside the bulk")
            #expect(try await received.futureResult.get() == blocks)
        }
    }

    @Test("a peer that never finishes a handshake is cut off, and others get in meanwhile")
    func stuckHandshake() async throws {
        let server = try await SwarmWorld.node { configuration in
            configuration.timings.inboundUpgradeTimeout = .milliseconds(300)
            configuration.limits.pendingInboundPerAddress = 3
        }
        let port = Int(try await server.addresses().first?.tcpPort ?? 0)
        var stuck: [any Channel] = []
        for _ in 0..<3 {
            stuck.append(
                try await ClientBootstrap(group: SwarmWorld.group).connect(host: "127.0.0.1", port: port)
                    .get())
        }
        for channel in stuck { try await channel.closeFuture.get() }
        let client = try await SwarmWorld.node(listen: [])
        try await client.dial(server)
        try await client.swarm.shutDown().get()
        try await server.swarm.shutDown().get()
    }

    @Test("a peer that sends more than the window is told so and cut off")
    func oversizeFrame() async throws {
        let server = try await SwarmWorld.node()
        let port = Int(try await server.addresses().first?.tcpPort ?? 0)
        let identity = Identity.generate()
        let security = try #require(try SwarmSecurity.protocols(of: identity).first)
        let answer = SwarmWorld.group.next().makePromise(of: ByteBuffer.self)
        let channel = try await ClientBootstrap(group: SwarmWorld.group).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                let dialer = MultistreamDialer(proposing: [security.protocolID])
                let handler = MultistreamHandler(dialer, timeout: .seconds(5)) { _, channel in
                    channel.eventLoop.makeCompletedFuture {
                        try security.install(
                            on: channel, direction: .outbound, expectedPeer: nil, muxers: ["/yamux/1.0.0"],
                            timeout: .seconds(5)
                        ) { _, channel in
                            var frame = ByteBuffer()
                            YamuxHeader(type: .data, flags: .syn, streamID: 1, length: 262_145).write(
                                to: &frame)
                            let greeting = frame
                            return channel.eventLoop.makeCompletedFuture {
                                try channel.pipeline.syncOperations.addHandler(LastWordsHandler(answer))
                                channel.writeAndFlush(greeting, promise: nil)
                            }
                        }
                    }
                }
                try channel.pipeline.syncOperations.addHandler(handler)
            }
        }.connect(host: "127.0.0.1", port: port).get()
        try await channel.closeFuture.get()
        var heard = try await answer.futureResult.get()
        var last: YamuxHeader?
        while let header = try YamuxHeader(reading: &heard) {
            last = header
            // A server that has begun to ask who we are has sent more than headers.
            if header.type == .data {
                _ = heard.readSlice(length: min(Int(header.length), heard.readableBytes))
            }
        }
        #expect(last == YamuxHeader(type: .goAway, flags: [], streamID: 0, length: 1))
        try await server.events.waitForDisconnect(from: identity.peerID)
        try await server.swarm.shutDown().get()
    }

    @Test("streams of a flooding peer are reset above the limit and the connection lives")
    func streamFlood() async throws {
        try await SwarmWorld.with(2, configure: { $0.limits.inboundStreamsPerProtocol = 10 }) { nodes in
            serveEcho(nodes[1])
            try await nodes[0].dial(nodes[1])
            try await nodes[0].events.waitForIdentify(of: nodes[1].peer)
            var open: [any Channel] = []
            for _ in 0..<30 {
                let promise = nodes[0].swarm.eventLoop.makePromise(of: ByteBuffer.self)
                let channel = try await nodes[0].swarm.openStream(to: nodes[1].peer, protocols: [echo]) {
                    stream in
                    stream.add { CollectHandler(promise) }
                }.get()
                promise.futureResult.whenComplete { _ in }
                channel.writeAndFlush(ByteBuffer(string: "x"), promise: nil)
                open.append(channel)
            }
            // The answer to the ping comes after the resets.
            _ = try await nodes[0].swarm.ping(nodes[1].peer).get()
            let resets = open.count { !$0.isActive }
            #expect(resets == 20)
        }
    }

    @Test("addresses in a blocked subnet are neither dialled, nor accepted, nor advertised")
    func blocked() async throws {
        try await SwarmWorld.with(2) { nodes in
            let loopback = try #require(Subnet(address: .v4(IPv4Address(0x7f00_0000)), prefixLength: 8))
            try await nodes[0].dial(nodes[1])
            try await nodes[1].events.waitForConnect(to: nodes[0].peer)
            let addresses = try await nodes[1].addresses()
            nodes[1].swarm.setBlockedSubnets([loopback])
            try await nodes[0].events.waitForDisconnect(from: nodes[1].peer)
            #expect(try await nodes[1].addresses().isEmpty)
            await #expect(throws: (any Error).self) {
                try await nodes[0].swarm.dial(nodes[1].peer, addresses: addresses).get()
            }
            let own = try await nodes[0].addresses()
            await #expect(throws: SwarmError.noDialableAddress) {
                try await nodes[1].swarm.dial(nodes[0].peer, addresses: own).get()
            }
        }
    }

    @Test("an unknown protocol is refused with what was asked for")
    func unknownProtocol() async throws {
        try await SwarmWorld.with(2) { nodes in
            try await nodes[0].dial(nodes[1])
            await #expect(throws: SwarmError.noCommonProtocol(["/a", "/b"])) {
                try await nodes[0].swarm.openStream(to: nodes[1].peer, protocols: ["/a", "/b"]) { stream in
                    stream.channel.eventLoop.makeSucceededVoidFuture()
                }.get()
            }
            await #expect(throws: SwarmError.notConnected) {
                try await nodes[0].swarm.openStream(to: Identity.generate().peerID, protocols: ["/a"]) {
                    stream in
                    stream.channel.eventLoop.makeSucceededVoidFuture()
                }.get()
            }
        }
    }
}

/// What the bulk test sends as its block `number`: the number, then bytes that differ by place.
private func patternBlock(_ number: UInt64) -> ByteBuffer {
    var block = ByteBuffer(integer: number)
    block.writeImmutableBuffer(patternBody)
    return block
}

private let patternBody = ByteBuffer(bytes: (0..<32760).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) })
private let patternBlockSize = 32768

/// Sends blocks as fast as the stream takes them, then FIN.
private final class PatternSource: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let blocks: UInt64
    private var next: UInt64 = 0

    init(blocks: UInt64) {
        self.blocks = blocks
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { fill(context) }
    }

    func channelActive(context: ChannelHandlerContext) { fill(context) }

    func channelWritabilityChanged(context: ChannelHandlerContext) { fill(context) }

    private func fill(_ context: ChannelHandlerContext) {
        guard next < blocks else { return }
        while next < blocks, context.channel.isWritable {
            context.write(wrapOutboundOut(patternBlock(next)), promise: nil)
            next += 1
        }
        context.flush()
        if next == blocks { context.close(mode: .output, promise: nil) }
    }
}

/// Compares what arrives with what was sent and reports how many blocks came, all in order.
private final class PatternSink: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var partial = ByteBuffer()
    private var count: UInt64 = 0
    private let promise: EventLoopPromise<UInt64>

    init(promise: EventLoopPromise<UInt64>) {
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        partial.writeImmutableBuffer(unwrapInboundIn(data))
        while let block = partial.readSlice(length: patternBlockSize) {
            guard block == patternBlock(count) else {
                return promise.fail(ChannelError.inappropriateOperationForState)
            }
            count += 1
        }
        partial.discardReadBytes()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else { return }
        promise.succeed(count)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ChannelError.eof)
    }
}

/// Gathers all that arrives until the connection ends.
private final class LastWordsHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var heard = ByteBuffer()
    private let promise: EventLoopPromise<ByteBuffer>

    init(_ promise: EventLoopPromise<ByteBuffer>) {
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard.writeImmutableBuffer(unwrapInboundIn(data))
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.succeed(heard)
    }
}
