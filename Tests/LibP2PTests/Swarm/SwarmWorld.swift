import LibP2P
import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Timing

/// Swarms on loopback, ended with the test.
struct SwarmWorld: Sendable {
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    /// One node of the world and what it heard.
    struct Node: Sendable {
        let swarm: Swarm
        let identity: Identity
        let events: EventRecorder
        var peer: PeerID { swarm.localPeer }

        func addresses() async throws -> [Multiaddr] {
            try await swarm.listenAddresses().get()
        }

        func dial(_ other: Node) async throws {
            try await swarm.dial(other.peer, addresses: try await other.addresses()).get()
        }
    }

    static func node(
        _ identity: Identity = .generate(), on group: any EventLoopGroup = Self.group,
        listen: [String] = ["/ip4/127.0.0.1/tcp/0"],
        configure: (inout SwarmConfiguration) -> Void = { _ in }
    ) async throws -> Node {
        var configuration = SwarmConfiguration()
        configuration.agentVersion = "kairos-node-agent/test"
        // Nobody judges peers here.
        configuration.limits.newcomers = .admitted
        configure(&configuration)
        let security = try SwarmSecurity.protocols(of: identity)
        let swarm = try await Swarm.make(
            identity: identity, security: security, group: group,
            configuration: configuration
        ).get()
        let events = EventRecorder(swarm.eventLoop)
        swarm.addObserver { events.record($0) }
        if !listen.isEmpty { _ = try await swarm.listen(on: listen.map { try Multiaddr($0) }).get() }
        return Node(swarm: swarm, identity: identity, events: events)
    }

    /// Runs `body` with `count` nodes and shuts them down, whatever happens.
    static func with(
        _ count: Int, configure: (inout SwarmConfiguration) -> Void = { _ in },
        _ body: ([Node]) async throws -> Void
    ) async throws {
        var nodes: [Node] = []
        for _ in 0..<count { nodes.append(try await node(configure: configure)) }
        do {
            try await body(nodes)
        } catch {
            for node in nodes { try await node.swarm.shutDown().get() }
            throw error
        }
        for node in nodes { try await node.swarm.shutDown().get() }
    }
}

/// What the swarms of a test secure their connections with, best first.
enum SwarmSecurity {
    enum Kind { case tls, noise }

    @TaskLocal static var current: [Kind] = [.tls, .noise]

    static func protocols(of identity: Identity) throws -> [any SecurityProtocol] {
        try current.map { kind in
            switch kind {
            case .tls: try TLSSecurity(identity: identity)
            case .noise: NoiseSecurity(identity: identity)
            }
        }
    }
}

/// Runs a test once with each security protocol alone.
struct EachSecurity: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        for kind in [SwarmSecurity.Kind.tls, .noise] {
            try await SwarmSecurity.$current.withValue([kind]) { try await function() }
        }
    }
}

extension Trait where Self == EachSecurity {
    static var eachSecurity: Self { EachSecurity() }
}

/// Keeps a swarm's events and lets a test wait for one, with a bound.
final class EventRecorder: Sendable {
    private struct State {
        var events: [SwarmEvent] = []
        var waiters: [(matches: @Sendable ([SwarmEvent]) -> Bool, promise: EventLoopPromise<Void>)] = []
    }

    struct TimedOut: Error, CustomStringConvertible {
        let description: String
    }

    private let eventLoop: any EventLoop
    private let state = NIOLockedValueBox(State())

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    var all: [SwarmEvent] { state.withLockedValue { $0.events } }

    func record(_ event: SwarmEvent) {
        let due = state.withLockedValue { state in
            state.events.append(event)
            let events = state.events
            let due = state.waiters.filter { $0.matches(events) }
            state.waiters.removeAll { $0.matches(events) }
            return due
        }
        for waiter in due { waiter.promise.succeed() }
    }

    /// Waits until the events so far satisfy `matches`.
    func wait(
        _ what: String, within limit: TimeAmount = .seconds(10),
        until matches: @escaping @Sendable ([SwarmEvent]) -> Bool
    ) async throws {
        let promise = eventLoop.makePromise(of: Void.self)
        let isDue = state.withLockedValue { state in
            if matches(state.events) { return true }
            state.waiters.append((matches, promise))
            return false
        }
        if isDue { promise.succeed() }
        let timeout = eventLoop.scheduleTask(in: limit) {
            promise.fail(TimedOut(description: "waited for \(what); events: \(self.all)"))
        }
        defer { timeout.cancel() }
        try await promise.futureResult.get()
    }

    func waitForIdentify(of peer: PeerID) async throws {
        try await wait("identify of \(peer)") { events in
            events.contains { if case .peerIdentified(peer, _) = $0 { true } else { false } }
        }
    }

    func waitForConnect(to peer: PeerID, times: Int = 1, within limit: TimeAmount = .seconds(10)) async throws
    {
        try await wait("connection \(times) to \(peer)", within: limit) { events in
            events.count { if case .peerConnected(peer, _) = $0 { true } else { false } } >= times
        }
    }

    func waitForDisconnect(from peer: PeerID, within limit: TimeAmount = .seconds(10)) async throws {
        try await wait("end of \(peer)", within: limit) { events in
            events.contains { if case .peerDisconnected(peer) = $0 { true } else { false } }
        }
    }
}

/// Sends back what arrives, and FIN after FIN.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            context.close(mode: .output, promise: nil)
        }
    }
}

/// Gathers what arrives until FIN; fails when the stream ends otherwise.
final class CollectHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var bytes = ByteBuffer()
    private let promise: EventLoopPromise<ByteBuffer>

    init(_ promise: EventLoopPromise<ByteBuffer>) {
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes.writeImmutableBuffer(unwrapInboundIn(data))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { promise.succeed(bytes) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ChannelError.eof)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }
}

extension NegotiatedStream {
    /// Adds one handler to the stream's pipeline, on its loop.
    func add(_ make: () -> some ChannelHandler) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(make())
        }
    }
}
