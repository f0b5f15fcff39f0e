import LibP2P
import Testing
import Timing

@testable import GossipSub

@Suite("Hostile gossip peers")
struct HostilePeerTests {
    private func message(_ number: Int, _ author: Identity, size: Int = 8) -> GossipMessage {
        var writer = MessageAuthor(identity: author)
        return writer.message(
            topic: RouterBench.topic,
            data: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: size),
            at: UnixTime(nanoseconds: Int64(number) + 1))
    }

    /// The same message with another signature.
    private func forge(_ message: GossipMessage) -> GossipMessage {
        var fields = GossipMessage.Fields()
        fields.from = message.from
        fields.data = message.data
        fields.sequenceNumber = message.sequenceNumber
        fields.topic = Array(RouterBench.topic.name.utf8)[...]
        fields.signature = [UInt8](repeating: 7, count: 64)[...]
        return GossipMessage(fields)
    }

    @Test("a forgery does not keep the real message out")
    func forgeryFirst() throws {
        var bench = RouterBench()
        let (attacker, honest) = (bench.connect(), bench.connect())
        let real = message(1, Identity.generate())
        bench.say(attacker) { $0.messages = [forge(real)] }
        #expect(bench.delivered.isEmpty)
        #expect(bench.router.counters.invalid == 1)
        bench.say(honest) { $0.messages = [real] }
        #expect(bench.delivered == [real])
    }

    @Test("who forges on is not listened to for a minute, which costs the others nothing")
    func forger() throws {
        var bench = RouterBench()
        let (attacker, honest) = (bench.connect(), bench.connect())
        let author = Identity.generate()
        for index in 0..<200 { bench.say(attacker) { $0.messages = [forge(message(index, author))] } }
        #expect(bench.router.counters.invalid < 40, "the rest is not even verified")
        let real = message(1000, author)
        bench.say(attacker) { $0.messages = [real] }
        #expect(bench.delivered.isEmpty)
        bench.say(honest) { $0.messages = [real] }
        #expect(bench.delivered == [real])
        bench.advance(.seconds(61))
        let later = message(1001, author)
        bench.say(attacker) { $0.messages = [later] }
        #expect(bench.delivered == [real, later])
    }

    @Test("a replay is dropped for two minutes, and messages in our own name for ever")
    func replay() throws {
        let own = Identity.generate()
        var bench = RouterBench(localPeer: own.peerID)
        let peer = bench.connect()
        let real = message(1, Identity.generate())
        for _ in 0..<5 {
            bench.say(peer) { $0.messages = [real] }
            bench.advance(.seconds(23))
        }
        #expect(bench.delivered.count == 1)
        #expect(bench.router.counters.duplicates == 4)
        bench.say(peer) { $0.messages = [message(2, own)] }
        #expect(bench.delivered.count == 1)
    }

    @Test("more new messages than a peer's budget are dropped, and it recovers")
    func messageFlood() throws {
        var parameters = Parameters()
        parameters.messageBurst = 50
        parameters.messagesPerSecond = 10
        var bench = RouterBench(parameters)
        let peer = bench.connect()
        let author = Identity.generate()
        for index in 0..<200 { bench.say(peer) { $0.messages = [message(index, author)] } }
        #expect(bench.delivered.count == 50)
        #expect(bench.router.counters.throttled == 150)
        bench.advance(.seconds(1))
        for index in 200..<300 { bench.say(peer) { $0.messages = [message(index, author)] } }
        #expect(bench.delivered.count == 60)
    }

    @Test("more bytes than a peer's budget are dropped")
    func byteFlood() throws {
        var parameters = Parameters()
        parameters.maximumMessageSize = 100_000
        var bench = RouterBench(parameters)
        let peer = bench.connect()
        let author = Identity.generate()
        for index in 0..<10 { bench.say(peer) { $0.messages = [message(index, author, size: 50_000)] } }
        #expect(bench.delivered.count == 3)
    }

    @Test("more frames than a peer's budget reset its stream")
    func frameFlood() throws {
        var parameters = Parameters()
        parameters.frameBurst = 100
        var bench = RouterBench(parameters)
        let peer = bench.connect()
        for _ in 0..<99 { bench.feed(.frame([0x1a, 0], from: peer.peerID)) }
        #expect(bench.resets.isEmpty)
        bench.feed(.frame([0x1a, 0], from: peer.peerID))
        #expect(bench.resets == [peer.peerID])
    }

    @Test("an undecodable frame resets the stream and nothing else")
    func undecodable() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.feed(.frame([0x0a], from: peer.peerID))
        #expect(bench.resets == [peer.peerID])
        #expect(bench.mesh() == [peer.peerID])
    }

    @Test("a flood of requests is served three times a message and then no more")
    func iwantFlood() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        let published = (0..<20).map { message($0, Identity.generate(), size: 1000) }
        for message in published { bench.feed(.publish(message)) }
        let before = bench.said(to: peer).count
        for _ in 0..<500 {
            bench.say(peer) { $0.iwant = published.map(\.id) + [MessageID(bytes: [1, 2, 3])] }
        }
        let served = bench.said(to: peer).dropFirst(before).flatMap(\.messages)
        #expect(served.count == 60)
    }

    @Test("requests from a peer that does not read are not answered without end")
    func iwantWithoutReading() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        let published = (0..<20).map { message($0, Identity.generate(), size: 1000) }
        for message in published { bench.feed(.publish(message)) }
        bench.drains = false
        let before = bench.said(to: peer).count
        for _ in 0..<500 { for message in published { bench.say(peer) { $0.iwant = [message.id] } } }
        #expect(bench.said(to: peer).count - before <= 32)
    }

    @Test("a peer that advertises without end is asked for a bounded number of messages a heartbeat")
    func ihaveSpam() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        var asked = 0
        for round in 0..<40 {
            let ids = (0..<3000).map { index in
                MessageID(bytes: [UInt8(round), UInt8(index >> 8), UInt8(truncatingIfNeeded: index)])
            }
            let before = bench.said(to: peer).count
            bench.say(peer) { $0.ihave = [.init(topic: RouterBench.topic, ids: ids)] }
            asked += bench.said(to: peer).dropFirst(before).reduce(0) { $0 + $1.iwant.count }
        }
        #expect(asked == 5000)
        #expect(bench.router.wanted.count <= bench.router.parameters.maximumWanted)
        bench.advance(.seconds(1))
        bench.say(peer) { $0.ihave = [.init(topic: RouterBench.topic, ids: [MessageID(bytes: [200])])] }
        #expect(bench.said(to: peer).last?.iwant == [MessageID(bytes: [200])])
    }

    @Test("what nobody serves, however often it is asked for, does not keep others from being asked")
    func vainQuestions() throws {
        var parameters = Parameters()
        parameters.maximumWanted = 10
        var bench = RouterBench(parameters)
        let (liar, honest) = (bench.connect(), bench.connect())
        let vain = (0..<10).map { MessageID(bytes: [1, UInt8($0)]) }
        bench.say(liar) { $0.ihave = [.init(topic: RouterBench.topic, ids: vain)] }
        #expect(bench.said(to: liar).last?.iwant == vain)
        let other = MessageID(bytes: [2])
        bench.say(honest) { $0.ihave = [.init(topic: RouterBench.topic, ids: [other])] }
        #expect(bench.said(to: honest).last?.iwant == [], "there is no room")
        bench.advance(.milliseconds(1500))
        #expect(bench.said(to: liar).last?.iwant == vain, "they are asked for again")
        bench.say(honest) { $0.ihave = [.init(topic: RouterBench.topic, ids: [other])] }
        #expect(bench.said(to: honest).last?.iwant == [other])
    }

    @Test("a storm of grafts is answered a bounded number of times")
    func graftStorm() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        bench.say(peer) { $0.prune = [.init(topic: RouterBench.topic, backoff: 60)] }
        let before = bench.said(to: peer).count
        for _ in 0..<1000 { bench.say(peer) { $0.graft = Array(repeating: RouterBench.topic, count: 100) } }
        #expect(bench.said(to: peer).count - before <= bench.router.parameters.controlBurst)
        #expect(bench.mesh().isEmpty)
    }

    @Test("a peer cannot subscribe to more topics than are kept")
    func topicFlood() throws {
        var bench = RouterBench()
        let peer = bench.connect()
        for round in 0..<100 {
            bench.say(peer) { rpc in
                rpc.subscriptions = (0..<100).map { .init(subscribes: true, topic: Topic("\(round)-\($0)")) }
            }
            bench.advance(.seconds(10))
        }
        #expect(bench.router.topics(of: peer.peerID).count == bench.router.parameters.maximumTopicsPerPeer)
    }

    @Test("the caches stay within their bounds")
    func cacheBounds() throws {
        var parameters = Parameters()
        parameters.maximumSeen = 100
        parameters.maximumCachedMessages = 50
        parameters.maximumCachedBytes = 20_000
        var bench = RouterBench(parameters)
        let peer = bench.connect()
        let author = Identity.generate()
        for index in 0..<300 { bench.say(peer) { $0.messages = [message(index, author, size: 1000)] } }
        #expect(bench.delivered.count == 300)
        #expect(bench.router.seen.count == 100)
        #expect(bench.router.cache.byteCount <= 20_000)
        #expect(bench.router.cache.count <= 50)
    }

    @Test("verdicts that never come do not pile up")
    func pendingVerdicts() throws {
        var parameters = Parameters()
        parameters.maximumPendingVerdicts = 10
        var bench = RouterBench(parameters)
        bench.feed(.subscribe(RouterBench.topic, validates: true))
        let peer = bench.connect()
        let author = Identity.generate()
        for index in 0..<100 { bench.say(peer) { $0.messages = [message(index, author)] } }
        #expect(bench.delivered.count == 100)
        #expect(bench.router.pendingVerdicts == 10)
        bench.advance(.seconds(31))
        #expect(bench.router.pendingVerdicts == 0 && bench.router.pendingBytes == 0)
    }

    @Test("no frame makes the router trap")
    func fuzz() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let vectors = try GossipVectors.load()
        let frames = try (vectors.cases("rpc") + vectors.cases("receive")).map {
            try GossipVectors.bytes($0.rpcBytes)
        }
        .filter { !$0.isEmpty }
        var bench = RouterBench()
        let peer = bench.connect()
        for round in 0..<5000 {
            var frame = frames[round % frames.count]
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                frame[Int.random(in: 0..<frame.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            bench.feed(.frame(frame, from: peer.peerID))
            bench.advance(.milliseconds(10))
        }
        #expect(bench.router.counters.framesReceived == 5001, "seed \(seed)")
    }
}
