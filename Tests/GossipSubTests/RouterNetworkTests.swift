import LibP2P
import Testing
import Timing

@testable import GossipSub

@Suite("A network of routers")
struct RouterNetworkTests {
    @Test("what one publishes reaches every other exactly once, over several hops")
    func reachesAll() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var network = GossipNetwork(seed: seed)
        for _ in 0..<30 { _ = network.addNode() }
        // A ring with chords: no one is connected to all.
        for index in 0..<30 { for step in [1, 2, 5] { network.connect(index, (index + step) % 30) } }
        network.run(for: .seconds(5))
        for index in 0..<5 { network.publish([UInt8(index)], from: index * 6) }
        network.run(for: .seconds(10))
        for (index, node) in network.nodes.enumerated() {
            let expected = (0..<5).filter { $0 * 6 != index }.map { [UInt8($0)] }
            #expect(
                node.delivered.map(\.data).sorted { $0[0] < $1[0] } == expected, "seed \(seed), node \(index)"
            )
        }
    }

    /// A network as the overlay makes it: four rings, so eight neighbours.
    private func rings(_ count: Int, seed: UInt64, asks: Bool) -> GossipNetwork {
        var network = GossipNetwork(seed: seed)
        network.asks = asks
        network.delay = .milliseconds(1) ... .milliseconds(3)
        for _ in 0..<count { _ = network.addNode() }
        for _ in 0..<4 {
            let ring = (0..<count).shuffled(using: &network.generator)
            for place in 0..<count { network.connect(ring[place], ring[(place + 1) % count]) }
        }
        network.run(for: .seconds(90))
        return network
    }

    @Test("among our own nodes a message costs each about one copy, and is everywhere within half a second")
    func announcements() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var cost: [Bool: (copies: Double, bytes: Double)] = [:]
        for asks in [false, true] {
            var network = rings(48, seed: seed, asks: asks)
            let before = network.nodes.map { ($0.copies, $0.sentBytes) }
            let sentAt = network.now
            for index in 0..<8 { network.publish([UInt8](repeating: UInt8(index), count: 1000), from: index) }
            network.run(for: .seconds(20))
            for (index, node) in network.nodes.enumerated() {
                #expect(node.delivered.count == (index < 8 ? 7 : 8), "seed \(seed), node \(index)")
                let last = node.delivered.map(\.at).max() ?? sentAt
                #expect(last - sentAt < .milliseconds(500), "seed \(seed), node \(index)")
            }
            let copies = zip(network.nodes, before).map { $0.copies - $1.0 }.reduce(0, +)
            let bytes = zip(network.nodes, before).map { $0.sentBytes - $1.1 }.reduce(0, +)
            cost[asks] = (Double(copies) / 48 / 8, Double(bytes) / 48 / 8)
        }
        let (flooded, told) = (try #require(cost[false]), try #require(cost[true]))
        print("a message of 1,000 bytes costs a node, passed on: \(flooded), told of: \(told)")
        #expect(told.copies < 1.6, "seed \(seed): \(told.copies) copies a node")
        #expect(told.bytes * 2.5 < flooded.bytes, "seed \(seed): \(told.bytes) of \(flooded.bytes) bytes")
    }

    @Test("the next holder of a message is asked at once when the last is gone, or in a second")
    func nextHolder() throws {
        for leaves in [true, false] {
            var bench = RouterBench()
            let holders = (0..<3).map { _ in bench.connect() }
            for holder in holders { bench.feed(.peerAsks(holder.peerID, true)) }
            var author = MessageAuthor(identity: .generate())
            let message = author.message(
                topic: RouterBench.topic, data: [UInt8](repeating: 1, count: 600), at: UnixTime(seconds: 1))
            bench.sent = [:]
            for holder in holders {
                bench.say(holder) { $0.ihave = [.init(topic: RouterBench.topic, ids: [message.id])] }
            }
            func asked(_ peer: Identity) -> Int {
                bench.sent[peer.peerID, default: []].filter { $0.iwant == [message.id] }.count
            }
            #expect(holders.map(asked) == [1, 0, 0])
            if leaves {
                bench.feed(.peerDisconnected(holders[0].peerID))
            } else {
                bench.advance(.milliseconds(999))
                #expect(holders.map(asked) == [1, 0, 0])
                bench.advance(.milliseconds(1))
            }
            #expect(holders.map(asked) == [1, 1, 0])
            bench.advance(.seconds(1))
            #expect(holders.map(asked) == [1, 1, 1])
            bench.say(holders[2]) { $0.messages = [message] }
            #expect(bench.delivered.count == 1)
            // Nobody is told of what it told us, and the node is idle in the end.
            bench.advance(.seconds(20))
            #expect(bench.sent.values.joined().allSatisfy { $0.ihave.isEmpty && $0.messages.isEmpty })
            #expect(bench.router.nextDeadline == nil)
        }
    }

    @Test("holders that do not answer are asked in turn, as often as they would serve, and then no more")
    func silentHolders() throws {
        var bench = RouterBench()
        let holders = (0..<2).map { _ in bench.connect() }
        for holder in holders { bench.feed(.peerAsks(holder.peerID, true)) }
        let id = MessageID(bytes: [1, 2, 3])
        bench.sent = [:]
        for holder in holders {
            bench.say(holder) { $0.ihave = [.init(topic: RouterBench.topic, ids: [id])] }
        }
        var asked: [[Int]] = []
        for _ in 0..<10 {
            asked.append(holders.map { bench.sent[$0.peerID, default: []].filter { $0.iwant == [id] }.count })
            bench.advance(.seconds(1))
        }
        #expect(asked.prefix(7) == [[1, 0], [1, 1], [2, 1], [2, 2], [3, 2], [3, 3], [3, 3]])
        #expect(asked.last == [3, 3])
        #expect(bench.router.nextDeadline == nil)
    }

    @Test("gossip repairs what is lost among our own nodes too", arguments: 1...6 as ClosedRange<UInt64>)
    func lossAmongOwn(seed: UInt64) throws {
        var network = GossipNetwork(seed: seed)
        network.asks = true
        network.loss = 0.2
        network.duplication = 0.2
        network.delay = .milliseconds(1) ... .milliseconds(400)
        for _ in 0..<20 { _ = network.addNode() }
        for index in 0..<20 { for step in [1, 3, 4, 7] { network.connect(index, (index + step) % 20) } }
        network.run(for: .seconds(3))
        for round in 0..<20 {
            network.publish([UInt8](repeating: UInt8(round), count: 500), from: round)
            network.run(for: .milliseconds(300))
        }
        network.run(for: .seconds(15))
        let missing = network.nodes.map { 19 - $0.delivered.count }.reduce(0, +)
        #expect(missing == 0, "seed \(seed)")
    }

    @Test("gossip repairs what is lost, and duplicates are delivered once")
    func loss() throws {
        for _ in 0..<3 {
            let seed = UInt64.random(in: 0 ... .max)
            var network = GossipNetwork(seed: seed)
            network.loss = 0.2
            network.duplication = 0.2
            network.delay = .milliseconds(1) ... .milliseconds(400)
            for _ in 0..<20 { _ = network.addNode() }
            for index in 0..<20 { for step in [1, 3, 4, 7] { network.connect(index, (index + step) % 20) } }
            network.run(for: .seconds(3))
            var ids: Set<MessageID> = []
            for round in 0..<20 {
                ids.insert(network.publish([UInt8(round)], from: round))
                network.run(for: .milliseconds(300))
            }
            network.run(for: .seconds(10))
            var missing = 0
            for node in network.nodes {
                let seen = node.delivered.map(\.id)
                #expect(Set(seen).count == seen.count, "seed \(seed): a message was delivered twice")
                missing += 19 - seen.count
            }
            #expect(missing == 0, "seed \(seed)")
        }
    }

    @Test("meshes keep to their bounds and are symmetric while nodes come and go")
    func meshBounds() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var network = GossipNetwork(seed: seed)
        for _ in 0..<40 { _ = network.addNode() }
        network.connectAll()
        network.run(for: .seconds(90))
        func check(_ nodes: Range<Int>) {
            for index in nodes {
                let mesh = network.nodes[index].router.mesh(of: GossipNetwork.topic)
                #expect((5...12).contains(mesh.count), "seed \(seed), node \(index): \(mesh.count)")
                for peer in mesh {
                    let other = network.nodes.firstIndex { $0.identity.peerID == peer }
                    let back = other.map { network.nodes[$0].router.mesh(of: GossipNetwork.topic) } ?? []
                    #expect(back.contains(network.peer(index)), "seed \(seed): a one-sided mesh")
                }
            }
        }
        check(0..<40)
        for gone in 30..<40 { for other in 0..<40 where other != gone { network.disconnect(gone, other) } }
        network.run(for: .seconds(90))
        check(0..<30)
    }

    @Test("an idle node does not wake, and a message wakes it for a few heartbeats only")
    func idle() throws {
        var network = GossipNetwork(seed: 5)
        for _ in 0..<8 { _ = network.addNode() }
        network.connectAll()
        network.run(for: .seconds(30))
        #expect(network.nodes.allSatisfy { $0.router.nextDeadline == nil })
        let beats = network.nodes.map { $0.router.counters.heartbeats }
        let frames = network.nodes.map(\.sent)
        network.run(for: .seconds(3600))
        #expect(network.nodes.map { $0.router.counters.heartbeats } == beats)
        #expect(network.nodes.map(\.sent) == frames)
        network.publish([1], from: 0)
        network.run(for: .seconds(60))
        #expect(network.nodes.allSatisfy { $0.router.nextDeadline == nil })
        let after = network.nodes.map { $0.router.counters.heartbeats }
        #expect(zip(beats, after).allSatisfy { (9...11).contains($1 - $0) })
    }

    @Test(
        "a rotation of topics is cheap: one subscription, one graft and one prune a peer, and nothing is missed"
    )
    func rotation() throws {
        var network = GossipNetwork(seed: 6)
        for _ in 0..<6 { _ = network.addNode() }
        network.connectAll()
        network.run(for: .seconds(10))
        let before = network.nodes.map(\.sent).reduce(0, +)
        for index in 0..<6 { network.feed(.subscribe("next", validates: false), to: index) }
        network.run(for: .seconds(5))
        for index in 0..<6 { network.feed(.unsubscribe(GossipNetwork.topic), to: index) }
        network.run(for: .seconds(5))
        let frames = network.nodes.map(\.sent).reduce(0, +) - before
        #expect(frames <= 6 * 5 * 4, "\(frames) frames")
        #expect(network.nodes.allSatisfy { $0.router.mesh(of: "next").count == 5 })
        #expect(network.nodes.allSatisfy { $0.router.subscriptions == ["next"] })
        let message = network.nodes[0].author.message(topic: "next", data: [9], at: UnixTime(seconds: 1))
        network.feed(.publish(message), to: 0)
        network.run(for: .seconds(1))
        #expect(network.nodes.dropFirst().allSatisfy { $0.delivered.map(\.data) == [[9]] })
    }

    @Test("a publisher outside of the topic reaches its subscribers")
    func outsidePublisher() throws {
        var network = GossipNetwork(seed: 7)
        for _ in 0..<4 { _ = network.addNode() }
        let outsider = network.addNode(subscribed: false)
        network.connect(outsider, 0)
        for index in 0..<3 { network.connect(index, index + 1) }
        network.run(for: .seconds(2))
        network.publish([4], from: outsider)
        network.run(for: .seconds(3))
        #expect(network.nodes.prefix(4).allSatisfy { $0.delivered.map(\.data) == [[4]] })
    }

    @Test("a message that the application rejects or ignores goes no further")
    func verdicts() throws {
        for verdict in [Router.Verdict.accept, .ignore, .reject] {
            var network = GossipNetwork(seed: 8)
            for _ in 0..<3 { _ = network.addNode() }
            network.connect(0, 1)
            network.connect(1, 2)
            network.feed(.subscribe(GossipNetwork.topic, validates: true), to: 1)
            network.nodes[1].verdict = verdict
            network.run(for: .seconds(2))
            network.publish([1], from: 0)
            network.run(for: .seconds(5))
            #expect(network.nodes[1].delivered.count == 1)
            #expect(network.nodes[2].delivered.count == (verdict == .accept ? 1 : 0))
            #expect(network.nodes[1].router.counters.invalid == (verdict == .reject ? 1 : 0))
        }
    }

    @Test("one seed gives one run")
    func deterministic() throws {
        func run() -> [Int] {
            var network = GossipNetwork(seed: 42)
            network.loss = 0.1
            for _ in 0..<10 { _ = network.addNode() }
            for index in 0..<10 { for step in [1, 2, 3] { network.connect(index, (index + step) % 10) } }
            network.run(for: .seconds(2))
            for round in 0..<10 { network.publish([UInt8(round)], from: round) }
            network.run(for: .seconds(10))
            return network.nodes.map(\.sent)
        }
        #expect(run() == run())
    }
}
