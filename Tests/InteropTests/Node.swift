import LibP2P
import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

/// One of our own swarms in a namespace, and what it has seen.
final class Node {
    let swarm: Swarm
    let identity: Identity
    let addresses: [Multiaddr]
    private let group: MultiThreadedEventLoopGroup
    private let seen = NIOLockedValueBox<[SwarmEvent]>([])

    /// What a node secures its connections with.
    enum Security: String, CaseIterable, Sendable {
        case tls, noise, both
    }

    init(in namespace: NetworkNamespace, security: Security = .both) async throws {
        let identity = Identity.generate()
        self.identity = identity
        var protocols: [any SecurityProtocol] = []
        if security != .noise { protocols.append(try TLSSecurity(identity: identity)) }
        if security != .tls { protocols.append(NoiseSecurity(identity: identity)) }
        group = try namespace.makeEventLoopGroup()
        var configuration = SwarmConfiguration()
        // Nobody judges peers here.
        configuration.limits.newcomers = .admitted
        swarm = try await Swarm.make(
            identity: identity, security: protocols, group: group, configuration: configuration
        ).get()
        swarm.addObserver { [seen] event in seen.withLockedValue { $0.append(event) } }
        addresses = try await swarm.listen(on: [Multiaddr("/ip4/\(namespace.address)/tcp/0")]).get()
    }

    func shutDown() async {
        try? await swarm.shutDown().get()
        try? await group.shutdownGracefully()
    }

    /// The first event, past or to come, of which `select` makes something.
    func wait<Value>(
        for what: String, within limit: Duration = .seconds(15), _ select: (SwarmEvent) throws -> Value?
    ) async throws -> Value {
        let end = ContinuousClock.now + limit
        while ContinuousClock.now < end {
            for event in seen.withLockedValue({ $0 }) {
                if let value = try select(event) { return value }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw InteropError("\(what) did not happen within \(limit)")
    }

    /// What identify said of `peer`, once it has.
    func identified(_ peer: PeerID) async throws -> PeerInformation {
        try await wait(for: "identify of \(peer)") { event in
            if case .peerIdentified(peer, let information) = event { information } else { nil }
        }
    }

    /// Serves `protocolID` by echoing until the other end closes.
    func serveEcho(_ protocolID: ProtocolID) {
        swarm.setHandler(for: protocolID) { stream in
            stream.channel.eventLoop.makeCompletedFuture {
                try stream.channel.pipeline.syncOperations.addHandler(Echo())
            }
        }
    }

    /// Sends `bytes` on a new stream, returns as many that came back, and closes the stream.
    func echo(_ bytes: [UInt8], to peer: PeerID, _ protocolID: ProtocolID) async throws -> [UInt8] {
        let reply = group.any().makePromise(of: [UInt8].self)
        let opening = swarm.openStream(to: peer, protocols: [protocolID]) { stream in
            stream.channel.eventLoop.makeCompletedFuture {
                try stream.channel.pipeline.syncOperations.addHandler(Collector(reply, count: bytes.count))
            }
        }
        opening.whenFailure { reply.fail($0) }
        let channel = try await opening.get()
        let timeout = channel.eventLoop.scheduleTask(in: .seconds(30)) {
            reply.fail(InteropError("no whole echo within 30 s"))
        }
        for start in stride(from: 0, to: bytes.count, by: 32768) {
            let piece = ByteBuffer(bytes: bytes[start..<min(start + 32768, bytes.count)])
            try await channel.writeAndFlush(piece)
        }
        let answer = try await reply.futureResult.get()
        timeout.cancel()
        try await channel.close()
        return answer
    }

    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            context.writeAndFlush(data, promise: nil)
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed? = event as? ChannelEvent {
                context.close(mode: .output, promise: nil)
            }
        }
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let promise: EventLoopPromise<[UInt8]>
        private var bytes: [UInt8] = []

        private let count: Int

        init(_ promise: EventLoopPromise<[UInt8]>, count: Int) {
            self.promise = promise
            self.count = count
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            bytes += Array(unwrapInboundIn(data).readableBytesView)
            if bytes.count >= count { promise.succeed(bytes) }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            promise.fail(error)
        }

        func channelInactive(context: ChannelHandlerContext) {
            promise.fail(InteropError("the stream ended after \(bytes.count) of \(count) bytes"))
        }
    }
}
