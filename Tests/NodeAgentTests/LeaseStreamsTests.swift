import Coordination
import LibP2P
import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Timing

@testable import NodeAgent

/// Notes that the peer ended a stream.
private final class EndNoter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let isEnded: NIOLockedValueBox<Bool>

    init(_ isEnded: NIOLockedValueBox<Bool>) { self.isEnded = isEnded }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { isEnded.withLockedValue { $0 = true } }
    }

    func channelInactive(context: ChannelHandlerContext) { isEnded.withLockedValue { $0 = true } }
}

/// Lease messages over real swarms on loopback.
@Suite("messages of leases over streams", .timeLimit(.minutes(1)))
struct LeaseStreamsTests {
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    /// Time that stands still, so that no budget fills up again.
    struct StillTime: TimeSource {
        func now() -> Instant { .zero + .seconds(1) }
        func wallClock() -> UnixTime { UnixTime(seconds: 1_800_000_000) }
    }

    /// One server: its swarm, its streams, and what it received.
    final class Server: Sendable {
        let swarm: Swarm
        let received = NIOLockedValueBox<[(PeerID, LeaseMessage)]>([])
        let admitted = NIOLockedValueBox<Set<PeerID>>([])
        private let streams: NIOLoopBoundBox<LeaseStreams?>

        init() async throws {
            let identity = Identity.generate()
            var configuration = SwarmConfiguration()
            // Nobody judges peers here.
            configuration.limits.newcomers = .admitted
            swarm = try await Swarm.make(
                identity: identity, security: [NoiseSecurity(identity: identity)],
                group: LeaseStreamsTests.group, configuration: configuration
            ).get()
            _ = try await swarm.listen(on: [Multiaddr("/ip4/127.0.0.1/tcp/0")]).get()
            streams = .makeBoxSendingValue(nil, eventLoop: swarm.eventLoop)
            try await swarm.eventLoop.submit { [self] in
                let made = LeaseStreams(
                    host: swarm, time: StillTime(),
                    isAdmitted: { peer in self.admitted.withLockedValue { $0.contains(peer) } },
                    received: { peer, message in self.received.withLockedValue { $0.append((peer, message)) }
                    })
                made.start()
                streams.value = made
            }.get()
        }

        var count: Int { received.withLockedValue(\.count) }

        func admit(_ other: Server) { admitted.withLockedValue { _ = $0.insert(other.swarm.localPeer) } }

        func send(_ messages: [LeaseMessage], to other: Server) async throws {
            try await swarm.eventLoop.submit { [self] in
                for message in messages { streams.value?.send(message, to: other.swarm.localPeer) }
            }.get()
        }

        func retain(_ peers: Set<PeerID>) async throws {
            try await swarm.eventLoop.submit { [self] in streams.value?.retain(peers) }.get()
        }

        func end() async throws {
            try await swarm.eventLoop.submit { [self] in
                streams.value?.stop()
                streams.value = nil
            }.get()
            try await swarm.shutDown().get()
        }
    }

    static func with(_ body: (Server, Server) async throws -> Void) async throws {
        let servers = try await (Server(), Server())
        try await servers.0.swarm.dial(
            servers.1.swarm.localPeer, addresses: servers.1.swarm.listenAddresses().get()
        ).get()
        // Whoever was dialled knows of the connection a moment later, and could not open a stream before.
        for _ in 0..<1000 {
            let known = try await servers.1.swarm.connections(to: servers.0.swarm.localPeer).get()
            if !known.isEmpty { break }
            try await Task.sleep(for: .milliseconds(10))
        }
        do { try await body(servers.0, servers.1) } catch {
            try await servers.0.end()
            try await servers.1.end()
            throw error
        }
        try await servers.0.end()
        try await servers.1.end()
    }

    static func message(_ term: UInt64) -> LeaseMessage {
        LeaseMessage(kind: .request, resource: .api, number: 3, term: term, nonce: term, milliseconds: 4000)
    }

    static func until(_ what: String, _ condition: () -> Bool) async throws {
        for _ in 0..<1000 where !condition() { try await Task.sleep(for: .milliseconds(10)) }
        #expect(condition(), "\(what)")
    }

    @Test("what one server says the other hears, in order and both ways")
    func bothWays() async throws {
        try await Self.with { one, other in
            one.admit(other)
            other.admit(one)
            let messages = (1...5).map(Self.message)
            try await one.send(messages, to: other)
            try await other.send([Self.message(9)], to: one)
            try await Self.until("all messages") { other.count == 5 && one.count == 1 }
            #expect(other.received.withLockedValue { $0.map(\.1) } == messages)
            #expect(other.received.withLockedValue { $0.allSatisfy { $0.0 == one.swarm.localPeer } })
            // After the streams were closed, the next message opens one anew.
            try await one.retain([])
            try await one.send([Self.message(6)], to: other)
            try await Self.until("a message over a new stream") { other.count == 6 }
        }
    }

    @Test("who is not admitted is not heard, and not spoken to")
    func strangers() async throws {
        try await Self.with { one, other in
            one.admit(other)
            try await one.send([Self.message(1)], to: other)
            try await other.send([Self.message(2)], to: one)
            // The stream was refused; one that is opened after the admission is not.
            try await Task.sleep(for: .milliseconds(100))
            #expect(other.count == 0)
            other.admit(one)
            for _ in 0..<500 where other.count == 0 {
                try await one.send([Self.message(3)], to: other)
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(other.count > 0)
            #expect(other.received.withLockedValue { $0.allSatisfy { $0.1.term == 3 } })
            #expect(one.count == 0)
        }
    }

    @Test("a peer that floods is heard as far as its budget goes")
    func flood() async throws {
        try await Self.with { one, other in
            one.admit(other)
            other.admit(one)
            try await one.send([Self.message(1)], to: other)
            try await Self.until("the first") { other.count == 1 }
            for term in 2...200 { try await one.send([Self.message(UInt64(term))], to: other) }
            try await Self.until("the budget is used up") { other.count == 60 }
            try await Task.sleep(for: .milliseconds(100))
            #expect(other.count == 60)
        }
    }

    @Test("bytes that are no message end the stream, and nothing of them is heard")
    func garbage() async throws {
        try await Self.with { one, other in
            other.admit(one)
            let isClosed = NIOLockedValueBox(false)
            let channel = try await one.swarm.openStream(
                to: other.swarm.localPeer, protocols: [LeaseStreams.protocolID]
            ) { stream in
                let channel = stream.channel
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(EndNoter(isClosed))
                }
            }.get()
            var bytes = Self.message(1).bytes
            bytes[35] ^= 1
            channel.writeAndFlush(ByteBuffer(bytes: bytes + Self.message(2).bytes), promise: nil)
            try await Self.until("the stream's end") { isClosed.withLockedValue { $0 } }
            #expect(other.count == 0)
        }
    }
}
