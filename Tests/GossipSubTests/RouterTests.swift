import LibP2P
import TestSupport
import Testing
import Timing

@testable import GossipSub

/// One router and peers that a test speaks for.
struct RouterBench {
    static let topic: Topic = "5d41402abc4b2a76b9719d911017c592"
    var router: Router
    var now = Instant.zero
    var delivered: [GossipMessage] = []
    var sent: [PeerID: [RPC]] = [:]
    var resets: [PeerID] = []
    /// Whether what is sent leaves at once.
    var drains = true

    init(
        localPeer: PeerID = Identity.generate().peerID, _ parameters: Parameters = Parameters(),
        subscribed: Bool = true
    ) {
        router = Router(
            localPeer: localPeer, parameters: parameters, generator: SeededGenerator(seed: 1), at: .zero)
        if subscribed { feed(.subscribe(Self.topic, validates: false)) }
    }

    mutating func feed(_ input: Router.Input) {
        for effect in router.receive(input, at: now) {
            switch effect {
            case .send(let rpc, let peer):
                sent[peer, default: []].append(rpc)
                if drains { feed(.sent(peer)) }
            case .deliver(let message, _, _): delivered.append(message)
            case .resetStream(let peer, _): resets.append(peer)
            }
        }
    }

    /// Connects a peer that is subscribed to the topic.
    mutating func connect(
        _ direction: ConnectionDirection = .inbound, isDirect: Bool = false, subscribed: Bool = true,
        identity: Identity = .generate()
    ) -> Identity {
        feed(.peerConnected(identity.peerID, direction, isDirect: isDirect))
        feed(.streamOpened(identity.peerID))
        if subscribed { say(identity) { $0.subscriptions = [.init(subscribes: true, topic: Self.topic)] } }
        return identity
    }

    mutating func say(_ peer: Identity, _ build: (inout RPC) -> Void) {
        var rpc = RPC()
        build(&rpc)
        feed(.frame(rpc.encoded, from: peer.peerID))
    }

    mutating func advance(_ time: Duration) {
        let end = now + time
        while let due = router.nextDeadline, due <= end {
            now = max(now, due)
            feed(.tick)
        }
        now = end
    }

    func mesh() -> [PeerID] { router.mesh(of: Self.topic) }

    func said(to peer: Identity) -> [RPC] { sent[peer.peerID] ?? [] }
}

@Suite("The router")
struct RouterTests {
    @Test("of the messages that a go-libp2p node was sent, the same are delivered")
    func receivedVectors() throws {
        let cases = try GossipVectors.load().cases("receive")
        #expect(cases.count == 17)
        let receiver = try PeerID(#require(cases.first?.receiverPeerId))
        var bench = RouterBench(localPeer: receiver)
        for vector in cases {
            let sender = try PeerID(#require(vector.senderPeerId))
            bench.feed(.peerConnected(sender, .inbound, isDirect: false))
            let before = bench.delivered.count
            bench.feed(.frame(try GossipVectors.bytes(vector.rpcBytes), from: sender))
            #expect(bench.delivered.count - before == vector.deliveredCount, "\(vector.name)")
        }
    }

    @Test("a fresh stream is told all subscriptions, and the peer is grafted when it shows the topic")
    func hello() throws {
        var bench = RouterBench()
        let peer = bench.connect(subscribed: false)
        let topic = Hex.encode(Array(RouterBench.topic.name.utf8))
        #expect(bench.said(to: peer).map { Hex.encode($0.encoded) } == ["0a2408011220\(topic)"])
        bench.say(peer) { $0.subscriptions = [.init(subscribes: true, topic: RouterBench.topic)] }
        #expect(Hex.encode(try #require(bench.said(to: peer).last).encoded) == "1a241a220a20\(topic)")
        #expect(bench.mesh() == [peer.peerID])
    }

    @Test("a new stream to the same peer gets the hello again and the graft with it")
    func reopened() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.feed(.streamClosed(peer.peerID))
        let before = bench.said(to: peer).count
        bench.feed(.publish(message(0, Identity.generate())))
        #expect(bench.said(to: peer).count == before, "nothing is sent without a stream")
        bench.feed(.streamOpened(peer.peerID))
        let hello = try #require(bench.said(to: peer).last)
        #expect(hello.subscriptions == [.init(subscribes: true, topic: RouterBench.topic)])
        #expect(hello.graft == [RouterBench.topic])
    }

    @Test("a peer that restarted is grafted anew once it says what it is in")
    func restarted() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.say(peer) { $0.prune = [.init(topic: RouterBench.topic, backoff: 60)] }
        #expect(bench.mesh().isEmpty)
        bench.feed(.peerRestarted(peer.peerID))
        #expect(bench.router.subscribers(of: RouterBench.topic).isEmpty)
        bench.say(peer) { $0.subscriptions = [.init(subscribes: true, topic: RouterBench.topic)] }
        #expect(bench.mesh() == [peer.peerID])
    }

    @Test("a peer that pruned us is left alone for as long as it said, then grafted again")
    func backoff() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.say(peer) { $0.prune = [.init(topic: RouterBench.topic, backoff: 30)] }
        let before = bench.said(to: peer).count
        bench.advance(.seconds(31))
        #expect(bench.said(to: peer).count == before)
        #expect(bench.router.nextDeadline != nil, "it waits for the backoff to end")
        bench.advance(.seconds(4))
        #expect(bench.said(to: peer).last?.graft == [RouterBench.topic])
        #expect(bench.mesh() == [peer.peerID])
        #expect(bench.router.nextDeadline == nil)
    }

    @Test("a graft during backoff is answered with a prune of 60 s, and a longer wait")
    func graftDuringBackoff() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.say(peer) { $0.prune = [.init(topic: RouterBench.topic, backoff: nil)] }
        bench.advance(.seconds(50))
        bench.say(peer) { $0.graft = [RouterBench.topic] }
        #expect(bench.said(to: peer).last?.prune == [.init(topic: RouterBench.topic, backoff: 60)])
        bench.advance(.seconds(50))
        #expect(bench.mesh().isEmpty)
        bench.say(peer) { $0.graft = [RouterBench.topic] }
        #expect(bench.mesh().isEmpty)
        bench.advance(.seconds(61))
        bench.say(peer) { $0.graft = [RouterBench.topic] }
        #expect(bench.mesh() == [peer.peerID])
    }

    @Test("nobody can make us wait longer than ten minutes")
    func longBackoff() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.say(peer) { $0.prune = [.init(topic: RouterBench.topic, backoff: .max)] }
        bench.advance(.seconds(603))
        #expect(bench.mesh() == [peer.peerID])
    }

    @Test("a full mesh takes no more inbound peers, and a direct peer is never in it")
    func fullMesh() throws {
        var bench = RouterBench()
        var peers: [Identity] = []
        for _ in 0..<20 {
            let peer = bench.connect()
            peers.append(peer)
            bench.say(peer) { $0.graft = [RouterBench.topic] }
        }
        #expect(bench.mesh().count == 12)
        #expect(bench.said(to: peers[19]).last?.prune == [.init(topic: RouterBench.topic, backoff: 60)])
        let dialled = bench.connect(.outbound)
        bench.say(dialled) { $0.graft = [RouterBench.topic] }
        #expect(bench.mesh().contains(dialled.peerID))
        bench.advance(.seconds(2))
        #expect(bench.mesh().count == 6)
        #expect(bench.mesh().contains(dialled.peerID), "peers we chose ourselves are kept")
        let direct = bench.connect(isDirect: true)
        bench.say(direct) { $0.graft = [RouterBench.topic] }
        #expect(!bench.mesh().contains(direct.peerID))
        #expect(bench.said(to: direct).last?.prune == [.init(topic: RouterBench.topic, backoff: 60)])
    }

    @Test("leaving a topic prunes its mesh with 10 s of backoff and tells everyone")
    func leaving() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.feed(.unsubscribe(RouterBench.topic))
        let last = bench.said(to: peer).suffix(2)
        #expect(last.first?.prune == [.init(topic: RouterBench.topic, backoff: 10)])
        #expect(last.last?.subscriptions == [.init(subscribes: false, topic: RouterBench.topic)])
        bench.feed(.subscribe(RouterBench.topic, validates: false))
        #expect(bench.mesh().isEmpty)
        bench.advance(.seconds(13))
        #expect(bench.mesh() == [peer.peerID])
    }

    @Test("a graft for a topic we are not in gets no answer")
    func unknownTopic() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        let before = bench.said(to: peer).count
        bench.say(peer) { $0.graft = ["other"] }
        #expect(bench.said(to: peer).count == before)
    }

    @Test("messages go to the mesh except to who brought and who wrote them, own ones to all subscribers")
    func forwarding() throws {
        var bench = RouterBench()
        let relay = bench.connect()
        let author = bench.connect()
        let other = bench.connect()
        let outsider = bench.connect(subscribed: false)
        let counts = [relay, author, other, outsider].map { bench.said(to: $0).count }
        let message = message(1, author)
        bench.say(relay) { $0.messages = [message] }
        let after = [relay, author, other, outsider].map { bench.said(to: $0).count }
        #expect(zip(counts, after).map { $1 - $0 } == [0, 0, 1, 0])
        #expect(bench.said(to: other).last?.messages == [message])
        #expect(bench.said(to: other).last?.messages.first?.encoded == message.encoded)
        bench.feed(.publish(self.message(2, Identity.generate())))
        let end = [relay, author, other, outsider].map { bench.said(to: $0).count }
        #expect(zip(after, end).map { $1 - $0 } == [1, 1, 1, 0])
    }

    @Test("a missed message is asked for once, from one peer, and served at most three times")
    func gossip() throws {
        var bench = RouterBench()
        let (first, second) = (bench.connect(), bench.connect())
        let missed = message(3, Identity.generate())
        bench.say(first) { $0.ihave = [.init(topic: RouterBench.topic, ids: [missed.id])] }
        bench.say(second) { $0.ihave = [.init(topic: RouterBench.topic, ids: [missed.id])] }
        #expect(bench.said(to: first).last?.iwant == [missed.id])
        #expect(bench.said(to: second).last?.iwant == [])
        bench.advance(.seconds(2))
        bench.say(second) { $0.ihave = [.init(topic: RouterBench.topic, ids: [missed.id])] }
        #expect(bench.said(to: second).last?.iwant == [missed.id], "the first one did not keep its word")
        bench.say(second) { $0.messages = [missed] }
        #expect(bench.delivered == [missed])
        let before = bench.said(to: second).count
        for _ in 0..<10 { bench.say(second) { $0.iwant = [missed.id] } }
        #expect(bench.said(to: second).dropFirst(before).map(\.messages) == [[missed], [missed], [missed]])
        bench.advance(.seconds(11))
        let later = bench.said(to: first).count
        bench.say(first) { $0.iwant = [missed.id] }
        #expect(bench.said(to: first).count == later, "the cache holds ten heartbeats")
    }

    @Test("peers outside the mesh hear of a message for three heartbeats")
    func ihave() throws {
        var bench = RouterBench()
        for _ in 0..<6 { _ = bench.connect() }
        let outside = bench.connect()
        #expect(!bench.mesh().contains(outside.peerID))
        let message = message(4, Identity.generate())
        bench.feed(.publish(message))
        bench.advance(.seconds(10))
        let told = bench.said(to: outside).filter { !$0.ihave.isEmpty }
        #expect(told.count == 3)
        #expect(told.allSatisfy { $0.ihave == [.init(topic: RouterBench.topic, ids: [message.id])] })
    }

    @Test("a slow peer's queue is bounded, and what must be said is said when it drains")
    func fullQueue() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.drains = false
        let before = bench.said(to: peer).count
        for index in 0..<100 { bench.feed(.publish(message(index, Identity.generate()))) }
        #expect(bench.said(to: peer).count - before == 32)
        #expect(bench.router.counters.dropped == 68)
        bench.feed(.unsubscribe(RouterBench.topic))
        #expect(bench.said(to: peer).count - before == 32)
        bench.feed(.sent(peer.peerID))
        let last = try #require(bench.said(to: peer).last)
        #expect(last.subscriptions == [.init(subscribes: false, topic: RouterBench.topic)])
        #expect(last.prune == [.init(topic: RouterBench.topic, backoff: 10)])
    }

    @Test("a slow peer's queue is bounded in bytes too, but one large message passes")
    func queueBytes() throws {
        var parameters = Parameters()
        parameters.maximumQueuedBytes = 10_000
        var bench = RouterBench(parameters)
        let peer = bench.connect()
        bench.drains = false
        let before = bench.said(to: peer).count
        for index in 0..<5 { bench.feed(.publish(message(index, Identity.generate(), size: 50_000))) }
        #expect(bench.said(to: peer).count - before == 1)
    }

    private func message(_ number: Int, _ author: Identity, size: Int = 8) -> GossipMessage {
        var writer = MessageAuthor(identity: author)
        return writer.message(
            topic: RouterBench.topic,
            data: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: size),
            at: UnixTime(nanoseconds: Int64(number) + 1))
    }
}
