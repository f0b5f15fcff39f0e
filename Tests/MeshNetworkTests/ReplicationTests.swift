import Ledger
import LibP2P
import MeshNetwork
import Testing
import Timing

@Suite("Replication")
struct ReplicationTests {
    @Test("a local change is everywhere within the time that a message takes")
    func delta() {
        var world = ReplicationWorld(seed: 1)
        for _ in 0..<3 { world.add() }
        world.linkAll()
        world.advance(.seconds(1))
        let id = EntryID("kairos", "role")
        world.put(0, id, "\"master\"")
        world.advance(.milliseconds(25))
        for node in world.nodes {
            #expect(node.core.ledger.value(id) == "\"master\"")
            #expect(node.changes.map(\.id) == [id])
        }
        // Only what changed travelled, in one message for each receiver.
        #expect(world.nodes[0].published == 1 && world.nodes[1].published == 0)
    }

    @Test("a node that joins gets everything from whoever it meets first", arguments: [10, 300, 2000])
    func joining(entries: Int) {
        var world = ReplicationWorld(seed: 2)
        world.add()
        for start in stride(from: 0, to: entries, by: 100) {
            let writes = (start..<min(start + 100, entries)).map {
                Replication.Write.put(
                    EntryID("kairos", LedgerText("key-\($0)")), value: LedgerText("\"\($0)\""))
            }
            world.feed(.write(writes, durable: false), to: 0)
        }
        world.add()
        let before = world.nodes[0].sentBytes
        world.link(0, 1)
        world.advance(.seconds(2))
        #expect(world.disagreement == nil)
        #expect(world.nodes[1].core.ledger.usage.total.entries == entries)
        // Each entry travels about once: some 450 bytes of it.
        #expect(world.nodes[0].sentBytes - before < 700 * entries + 20_000)
    }

    @Test("of two ledgers that differ in one entry of a thousand, little more than that one travels")
    func smallDifference() {
        var world = ReplicationWorld(seed: 3)
        world.add()
        world.feed(
            .write(
                (0..<1000).map { .put(EntryID("kairos", LedgerText("key-\($0)")), value: "\"x\"") },
                durable: false),
            to: 0)
        let stored = world.nodes[0].core.ledger.delta(of: world.nodes[0].changes.map(\.id), at: world.epoch)
        world.add(stored: stored)
        world.put(1, EntryID("kairos", "key-500"), "\"new\"")
        let before = (world.nodes[0].sentBytes, world.nodes[1].sentBytes)
        world.link(0, 1)
        world.advance(.seconds(2))
        #expect(world.disagreement == nil)
        #expect(world.nodes[0].core.ledger.value(bucket: "kairos", key: "key-500") == "\"new\"")
        let travelled = world.nodes[0].sentBytes - before.0 + world.nodes[1].sentBytes - before.1
        #expect(travelled < 4000, "\(travelled) bytes")
    }

    @Test(
        "two halves that wrote on their own agree soon after they meet again",
        arguments: 1...12 as ClosedRange<UInt64>)
    func partition(seed: UInt64) {
        var world = ReplicationWorld(seed: seed)
        for _ in 0..<6 { world.add() }
        world.linkAll()
        world.advance(.seconds(1))
        world.partition([0, 1, 2], [3, 4, 5])
        for step in 0..<60 {
            let node = step % 6
            let key = LedgerText("key-\(Int.random(in: 0..<8, using: &world.generator))")
            switch step % 4 {
            case 0: world.put(node, EntryID("kairos", key), LedgerText("\"\(step)\""))
            case 1:
                world.put(
                    node, EntryID(.kairosElection, world.owner(node)), LedgerText("{\"ballot\":\(step)}"))
            case 2:
                world.put(
                    node, EntryID(.services, LedgerText("\(key)-\(node)")),
                    LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
            default: world.feed(.write([.delete(EntryID("kairos", key))], durable: false), to: node)
            }
            world.advance(.milliseconds(300))
        }
        #expect(!world.agree)
        world.link(2, 3)
        world.advance(.seconds(3))
        #expect(world.disagreement == nil, "seed \(seed)")
    }

    @Test(
        "nodes agree although the room loses two messages of three", arguments: 1...4 as ClosedRange<UInt64>)
    func lossyRoom(seed: UInt64) {
        var world = ReplicationWorld(seed: seed)
        for _ in 0..<5 { world.add() }
        world.linkAll()
        world.loss = 0.66
        for step in 0..<40 {
            world.put(step % 5, EntryID("kairos", LedgerText("\(step % 7)")), LedgerText("\"\(step)\""))
            world.advance(.milliseconds(500))
        }
        world.advance(.seconds(90))
        #expect(world.disagreement == nil, "seed \(seed)")
    }

    @Test("ten idle nodes send far less than a kilobyte a second each")
    func idleTraffic() {
        var world = ReplicationWorld(seed: 5)
        for _ in 0..<10 { world.add() }
        world.linkAll()
        for node in 0..<10 {
            world.put(
                node, EntryID(.machines, LedgerText("10.1.0.\(node + 1)")),
                LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
        }
        world.advance(.seconds(600))
        let before = world.nodes.map(\.sentBytes)
        world.advance(.seconds(3600))
        for (node, start) in zip(world.nodes, before) {
            let rate = Double(node.sentBytes - start) / 3600
            #expect(rate < 60, "\(rate) bytes a second")
        }
        #expect(world.disagreement == nil)
        // All the while every node's address stayed its own.
        let now = world.moment(0).wall
        let liveness = world.nodes[0].core.ledger.liveness(at: now)
        for node in 0..<10 { #expect(liveness.isLive(world.owner(node))) }
    }

    @Test("the heartbeat begins with the first address, in the same block")
    func heartbeat() {
        var world = ReplicationWorld(seed: 6)
        for _ in 0..<2 { world.add() }
        world.linkAll()
        world.advance(.seconds(900))
        #expect(world.nodes[0].core.ledger.entries(in: .healthcheck).isEmpty)
        let machine = EntryID(.machines, "10.1.0.1")
        world.put(0, machine, LedgerText("{\"PeerID\":\"\(world.owner(0))\"}"))
        #expect(world.nodes[0].published == 1)
        world.advance(.milliseconds(25))
        #expect(world.nodes[1].core.ledger.availableNodes(at: world.moment(1).wall) == [world.owner(0)])
        // The other sees that the node is here, and needs no other.
        for _ in 0..<720 {
            world.advance(.seconds(5))
            let wall = world.moment(1).wall
            #expect(world.nodes[1].core.ledger.liveness(at: wall + .seconds(60)).isLive(world.owner(0)))
        }
        let beats = world.nodes[1].changes.filter { $0.id.bucket == .healthcheck }.count
        #expect(beats == 1, "\(beats) in an hour")
    }

    @Test("a restarted node renews its heartbeat at once when it is old, and not when it is fresh")
    func heartbeatAfterRestart() {
        for (pause, expected) in [(Duration.seconds(400), 1), (.seconds(30), 0)] {
            var world = ReplicationWorld(seed: 7)
            world.add()
            world.put(0, EntryID(.machines, "10.1.0.1"), LedgerText("{\"PeerID\":\"\(world.owner(0))\"}"))
            let stored = world.nodes[0].core.ledger.delta(
                of: world.nodes[0].changes.map(\.id), at: world.epoch)
            let identity = world.nodes[0].identity
            world.nodes = []
            world.skew = []
            world.now += pause
            world.add(stored: stored, identity: identity)
            world.advance(.seconds(1))
            #expect(world.nodes[0].published == expected)
        }
    }

    @Test("a clock that is set makes the heartbeat new at once")
    func clockSet() {
        for jump in [Duration.seconds(500_000), .seconds(-500_000)] {
            var world = ReplicationWorld(seed: 17)
            world.add()
            world.put(0, EntryID(.machines, "10.1.0.1"), LedgerText("{\"PeerID\":\"\(world.owner(0))\"}"))
            world.advance(.seconds(100))
            world.skew[0] = jump
            world.advance(.seconds(61))
            let heartbeat = world.nodes[0].core.ledger.entry(EntryID(.healthcheck, world.owner(0)))
            let age = world.moment(0).wall - UnixTime(seconds: heartbeat?.updatedAt ?? 0)
            #expect(age >= .zero && age <= .seconds(61), "\(age)")
        }
    }

    @Test("a node whose clock is far ahead tombstones nobody")
    func wrongClockReapsNothing() {
        var world = ReplicationWorld(seed: 18)
        for _ in 0..<3 { world.add() }
        world.linkAll()
        for node in 0..<3 {
            world.put(
                node, EntryID(.machines, LedgerText("10.1.0.\(node + 1)")),
                LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
        }
        world.advance(.seconds(5))
        world.skew[1] = .seconds(86_400)
        world.advance(.seconds(2400))
        for node in world.nodes { #expect(node.core.ledger.entries(in: .machines).count == 3) }
    }

    @Test("a member that is gone for good is tombstoned by the leader, everywhere")
    func reaping() {
        var world = ReplicationWorld(seed: 19)
        for _ in 0..<3 { world.add() }
        world.linkAll()
        for node in 0..<3 {
            world.put(
                node, EntryID(.machines, LedgerText("10.1.0.\(node + 1)")),
                LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
        }
        world.advance(.seconds(5))
        world.partition([0, 1], [2])
        world.advance(.seconds(1900))
        for node in world.nodes.prefix(2) {
            #expect(node.core.ledger.entries(in: .machines).keys.sorted() == ["10.1.0.1", "10.1.0.2"])
            #expect(node.core.ledger.entries(in: .healthcheck).count == 2)
        }
    }

    @Test("a lost first frame costs a second, not half a minute")
    func lostFirstFrame() {
        for seed in 1...6 as ClosedRange<UInt64> {
            var world = ReplicationWorld(seed: seed)
            world.add()
            world.add()
            world.put(0, EntryID("kairos", "a"), "1")
            // Only one of the two knows the other yet: what the first says is not heard.
            let first = world.peer(0) < world.peer(1) ? 0 : 1
            world.feed(.peerAdmitted(world.peer(1 - first)), to: first)
            world.advance(.milliseconds(100))
            world.link(0, 1)
            world.advance(.seconds(2))
            #expect(world.disagreement == nil, "seed \(seed)")
        }
    }

    @Test("members compare as soon as they have met")
    func promptComparison() {
        for seed in 1...6 as ClosedRange<UInt64> {
            var world = ReplicationWorld(seed: seed)
            world.add()
            world.add()
            world.put(0, EntryID("kairos", "a"), "1")
            world.link(0, 1)
            world.advance(.milliseconds(100))
            #expect(world.disagreement == nil, "seed \(seed)")
        }
    }

    @Test("a deletion reaches a peer that knows only what was deleted, whichever of the two begins")
    func tombstoneTravels() {
        for seed in 1...8 as ClosedRange<UInt64> {
            var world = ReplicationWorld(seed: seed)
            let id = EntryID("kairos", "gone")
            world.add()
            world.put(0, id, "1")
            world.add(stored: world.nodes[0].core.ledger.delta(of: [id], at: world.epoch))
            world.advance(.seconds(1))
            world.feed(.write([.delete(id)], durable: false), to: 1)
            world.link(0, 1)
            world.advance(.seconds(2))
            #expect(world.nodes.allSatisfy { $0.core.ledger.value(id) == nil }, "seed \(seed)")
        }
    }

    @Test("a node knows when it has caught up with another's ledger, once")
    func catchingUp() {
        var world = ReplicationWorld(seed: 20)
        for _ in 0..<3 { world.add() }
        world.advance(.seconds(100))
        #expect(world.nodes.allSatisfy { $0.caughtUp == 0 })
        world.linkAll()
        world.advance(.seconds(3))
        #expect(world.nodes.allSatisfy { $0.caughtUp == 1 && $0.core.hasCaughtUp })
    }

    @Test("two claims of one address are told to the one whose entry stands")
    func addressConflict() {
        var world = ReplicationWorld(seed: 21)
        world.add()
        world.add()
        let machine = EntryID(.machines, "10.1.0.1")
        for node in 0...1 {
            world.put(node, machine, LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
        }
        world.link(0, 1)
        world.advance(.seconds(5))
        #expect(world.nodes.contains { $0.rejected.contains(machine) })
        // What is merely forged is not told.
        let before = world.nodes[0].rejected.count
        let forged = Entry(
            value: LedgerText("{\"PeerID\":\"\(world.owner(1))\"}"), owner: world.owner(1), version: .max)
        world.feed(
            .roomBlock(Block(storage: [.machines: ["10.1.0.1": forged]]), author: world.peer(1)), to: 0)
        #expect(world.nodes[0].rejected.count == before)
    }

    // MARK: stock nodes

    @Test(
        "without stock nodes no whole block is ever broadcast; with one, it learns everything within seconds")
    func stockNode() {
        var world = ReplicationWorld(seed: 8)
        for _ in 0..<3 { world.add() }
        world.linkAll()
        for key in 0..<5 { world.put(0, EntryID("kairos", LedgerText("\(key)")), "\"x\"") }
        world.advance(.seconds(1800))
        #expect(world.nodes.allSatisfy { $0.core.counters.blocksPublished == 0 })
        let stock = world.add()
        world.nodes[stock].isStock = true
        for node in 0..<3 {
            world.link(node, stock)
            world.feed(.stockPeers(1), to: node)
        }
        world.advance(.seconds(2))
        #expect(world.nodes[stock].core.ledger.usage.total.entries == 5)
        // One of three says it; the others keep quiet because it was said.
        let before = world.nodes.map(\.core.counters.blocksPublished).reduce(0, +)
        world.advance(.seconds(600))
        let published = world.nodes.map(\.core.counters.blocksPublished).reduce(0, +) - before
        #expect((40...130).contains(published), "\(published) blocks in ten minutes")
        for node in 0..<3 { world.feed(.stockPeers(0), to: node) }
        let after = world.nodes.map(\.core.counters.blocksPublished)
        world.advance(.seconds(600))
        #expect(world.nodes.map(\.core.counters.blocksPublished) == after)
    }

    @Test("while a stock node is there the heartbeat is renewed every two minutes")
    func stockHeartbeat() {
        var world = ReplicationWorld(seed: 9)
        world.add()
        world.put(0, EntryID(.machines, "10.1.0.1"), LedgerText("{\"PeerID\":\"\(world.owner(0))\"}"))
        world.feed(.stockPeers(1), to: 0)
        world.advance(.seconds(3600))
        let renewals = world.nodes[0].changes.filter { $0.id.bucket == .healthcheck }.count
        #expect((30...36).contains(renewals), "\(renewals) in an hour")
    }

    /// Own nodes with an address each, and what they know a day later.
    private func worldAfterADay(seed: UInt64, nodes: Int) -> ReplicationWorld {
        var world = ReplicationWorld(seed: seed)
        for _ in 0..<nodes { world.add() }
        world.linkAll()
        for node in 0..<nodes {
            world.put(
                node, EntryID(.machines, LedgerText("10.1.0.\(node + 1)")),
                LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
        }
        world.advance(.seconds(86_400))
        return world
    }

    private func heartbeats(_ world: ReplicationWorld, of node: Int) -> Int {
        world.nodes[node].changes.filter { $0.id == EntryID(.healthcheck, world.owner(node)) }.count
    }

    @Test("among our own nodes nothing is published in a day, and addresses stay with those who are here")
    func quietDay() {
        var world = worldAfterADay(seed: 21, nodes: 4)
        #expect(world.nodes.map(\.published) == [1, 1, 1, 1])
        let id = EntryID(.machines, "10.1.0.4")
        func claim() -> [LedgerError] {
            let before = world.nodes[0].refusals.count
            world.put(0, id, LedgerText("{\"PeerID\":\"\(world.owner(0))\"}"))
            return Array(world.nodes[0].refusals.dropFirst(before))
        }
        #expect(!claim().isEmpty, "an address of a node that is here was taken")
        world.partition([0, 1, 2], [3])
        world.advance(.seconds(470))
        #expect(!claim().isEmpty, "an address of a node that was here eight minutes ago was taken")
        world.advance(.seconds(15))
        #expect(claim().isEmpty)
        world.advance(.seconds(2))
        for node in world.nodes.prefix(3) {
            #expect(node.core.ledger.entry(id)?.owner == world.owner(0))
            #expect(node.core.ledger.liveness(at: world.moment(0).wall).isLive(world.owner(1)))
        }
    }

    @Test("a stock node that comes after a day finds every heartbeat new, and every two minutes another")
    func lateStockNode() {
        var world = worldAfterADay(seed: 22, nodes: 4)
        for node in 0..<4 { world.feed(.stockPeers(1), to: node) }
        world.advance(.seconds(2))
        #expect((0..<4).map { heartbeats(world, of: $0) } == [2, 2, 2, 2])
        let wall = world.moment(0).wall
        for node in 0..<4 {
            let beat = world.nodes[0].core.ledger.entry(EntryID(.healthcheck, world.owner(node)))
            #expect(wall - UnixTime(seconds: beat?.updatedAt ?? 0) < .seconds(4))
        }
        world.advance(.seconds(1200))
        for node in 0..<4 { #expect((11...14).contains(heartbeats(world, of: node))) }
        for node in 0..<4 { world.feed(.stockPeers(0), to: node) }
        world.advance(.seconds(600))
        let counts = (0..<4).map { heartbeats(world, of: $0) }
        world.advance(.seconds(86_400))
        #expect((0..<4).map { heartbeats(world, of: $0) } == counts)
    }

    @Test(
        "a stock node that only others meet is known by its heartbeat, and gets those of all while it lives")
    func distantStockNode() throws {
        var world = worldAfterADay(seed: 23, nodes: 4)
        let stock = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 9, count: 32)))
        func beat() {
            var ledger = Ledger()
            let id = EntryID(.healthcheck, LedgerText(stock.peerID.description))
            let wall = world.moment(0).wall
            let value = LedgerText("\"\(GoTime.rfc3339(wall))\"")
            #expect(throws: Never.self) { try ledger.put(id, value: value, by: stock, at: wall) }
            for node in 0..<4 {
                world.feed(
                    .roomBlock(ledger.delta(of: [id], at: wall), author: stock.peerID), to: node)
            }
        }
        for _ in 0..<30 {
            beat()
            world.advance(.seconds(120))
            for node in 0..<4 {
                let entry = world.nodes[1].core.ledger.entry(EntryID(.healthcheck, world.owner(node)))
                let age = world.moment(1).wall - UnixTime(seconds: entry?.updatedAt ?? 0)
                #expect(age < .seconds(480), "node \(node) looks dead to it")
            }
        }
        for node in 0..<4 { #expect((10...14).contains(heartbeats(world, of: node))) }
        world.advance(.seconds(600))
        let counts = (0..<4).map { heartbeats(world, of: $0) }
        world.advance(.seconds(86_400))
        #expect((0..<4).map { heartbeats(world, of: $0) } == counts)
    }

    @Test("a node whose clock is far ahead does not tombstone what a stock node keeps alive")
    func wrongClockSparesStockNodes() throws {
        for seed in 24...27 as ClosedRange<UInt64> {
            var world = worldAfterADay(seed: seed, nodes: 3)
            let stock = try Identity(seed: SecretBytes(copying: [UInt8](repeating: UInt8(seed), count: 32)))
            let owner = LedgerText(stock.peerID.description)
            var ledger = Ledger()
            for node in 0..<3 { world.skew[node] = .seconds(86_400) }
            for _ in 0..<15 {
                let wall = world.epoch + (world.now - .zero)
                let (beat, machine) = (EntryID(.healthcheck, owner), EntryID(.machines, "10.1.0.9"))
                let values: [(EntryID, LedgerText)] = [
                    (beat, LedgerText("\"\(GoTime.rfc3339(wall))\"")),
                    (machine, LedgerText("{\"PeerID\":\"\(owner)\"}")),
                ]
                for (id, value) in values { _ = try ledger.put(id, value: value, by: stock, at: wall) }
                let block = ledger.delta(of: [beat, machine], at: wall)
                for node in 0..<3 { world.feed(.roomBlock(block, author: stock.peerID), to: node) }
                world.advance(.seconds(120))
            }
            for node in world.nodes { #expect(node.core.ledger.entries(in: .machines).count == 4) }
        }
    }

    // MARK: abuse

    @Test("forged, stale and replayed blocks change nothing")
    func forgeries() {
        var world = ReplicationWorld(seed: 10)
        for _ in 0..<3 { world.add() }
        world.linkAll()
        let machine = EntryID(.machines, "10.1.0.1")
        world.put(0, machine, LedgerText("{\"PeerID\":\"\(world.owner(0))\"}"))
        let old = world.nodes[0].core.ledger.delta(of: [machine], at: world.epoch)
        world.advance(.seconds(1))
        world.put(0, machine, LedgerText("{\"PeerID\":\"\(world.owner(0))\",\"Hostname\":\"h\"}"))
        world.advance(.seconds(1))
        let before = world.nodes[1].core.ledger.storage
        let count = world.nodes[1].changes.count
        var forged = Entry(value: LedgerText("{\"PeerID\":\"\(world.owner(2))\"}"), version: .max)
        forged.sign(at: machine, with: world.nodes[2].identity)
        var claimed = forged
        claimed.owner = world.owner(0)
        let unsigned = Entry(value: "{}", version: .max)
        for entry in [forged, claimed, unsigned] {
            let block = Block(storage: [.machines: ["10.1.0.1": entry]])
            world.feed(.roomBlock(block, author: world.peer(2)), to: 1)
            world.feed(.frame(world.peer(2), LedgerFrame.entries(block).encoded), to: 1)
        }
        for _ in 0..<50 { world.feed(.roomBlock(old, author: world.peer(0)), to: 1) }
        #expect(world.nodes[1].core.ledger.storage == before)
        #expect(world.nodes[1].changes.count == count)
    }

    @Test("a peer that is not admitted is not listened to")
    func strangers() {
        var world = ReplicationWorld(seed: 11)
        world.add()
        world.add()
        let block = Block(storage: ["kairos": ["a": Entry(value: "1")]])
        world.feed(.frame(world.peer(1), LedgerFrame.entries(block).encoded), to: 0)
        #expect(world.nodes[0].core.ledger.storage.isEmpty)
        #expect(world.nodes[0].core.counters.framesReceived == 0)
    }

    @Test("a peer that sends frames without end is answered within its share")
    func flood() {
        var world = ReplicationWorld(seed: 12)
        world.add()
        world.add()
        world.feed(
            .write(
                (0..<200).map { .put(EntryID("kairos", LedgerText("\($0)")), value: "\"x\"") }, durable: false
            ), to: 0)
        world.link(0, 1)
        world.advance(.seconds(2))
        var digest = world.nodes[0].core.ledger
        let places = digest.digest().items.map(\.place)
        let before = world.nodes[0].core.counters
        for _ in 0..<5000 { world.feed(.frame(world.peer(1), LedgerFrame.want(places).encoded), to: 0) }
        let after = world.nodes[0].core.counters
        #expect(after.framesReceived - before.framesReceived <= 512)
        #expect(after.frameBytesSent - before.frameBytesSent <= 9 << 20)
        #expect(after.rateLimited > 4000)
        // Its share comes back with time.
        world.advance(.seconds(30))
        world.feed(.frame(world.peer(1), LedgerFrame.want(Array(places.prefix(1))).encoded), to: 0)
        #expect(world.nodes[0].core.counters.framesReceived == after.framesReceived + 1)
    }

    @Test("an author whose blocks cost more checks than its share is not opened for a while")
    func verificationBudget() {
        var world = ReplicationWorld(seed: 13)
        world.add()
        let author = Identity.generate()
        let id = EntryID(.kairosElection, "x")
        var checked = 0
        while world.nodes[0].core.allowsRoomMessage(from: author.peerID, bytes: 100, at: world.now),
            checked < 20_000
        {
            var block = Block()
            for number in 0..<500 {
                let junk = Entry(
                    value: LedgerText("\(checked)-\(number)"), owner: LedgerText(author.peerID.description),
                    signature: [UInt8](repeating: 1, count: 64))
                block.storage[id.bucket, default: [:]][LedgerText("\(number)")] = junk
            }
            world.feed(.roomBlock(block, author: author.peerID), to: 0)
            checked += 500
        }
        #expect(checked < 10_000)
        let other = world.nodes[0].core.allowsRoomMessage(
            from: Identity.generate().peerID, bytes: 1, at: world.now)
        let later = world.nodes[0].core.allowsRoomMessage(
            from: author.peerID, bytes: 1, at: world.now + .seconds(60))
        #expect(other && later)
    }

    @Test("two ledgers that cannot agree do not keep one another busy")
    func stubbornDifference() {
        var world = ReplicationWorld(seed: 14)
        var strict = Replication.Configuration()
        strict.ledger.limits.maximumValueBytes = 10
        world.add()
        world.add(configuration: strict)
        world.put(0, EntryID("kairos", "long"), "\"a value that the other refuses\"")
        world.link(0, 1)
        world.advance(.seconds(5))
        #expect(!world.agree)
        let before = world.nodes.map(\.sentBytes).reduce(0, +)
        world.advance(.seconds(3600))
        let travelled = world.nodes.map(\.sentBytes).reduce(0, +) - before
        #expect(travelled < 60_000, "\(travelled) bytes in an hour")
    }

    @Test("two nodes that took one address apart each learn of the other's entry, and fall silent again")
    func sameAddress() {
        var world = ReplicationWorld(seed: 141)
        let id = EntryID("machines", "10.1.0.77")
        for node in 0..<2 {
            world.add()
            world.put(node, id, LedgerText("{\"PeerID\":\"\(world.owner(node))\"}"))
            world.advance(.seconds(1))
        }
        world.link(0, 1)
        world.advance(.seconds(3))
        #expect(world.nodes[0].rejected.contains(id))
        #expect(
            world.nodes[1].rejected.contains(id), "the newer entry's owner must learn that it was not first")
        let before = world.nodes.map(\.sentBytes).reduce(0, +)
        world.advance(.seconds(3600))
        #expect(world.nodes.map(\.sentBytes).reduce(0, +) - before < 300_000)
    }

    // MARK: persistence

    @Test("changes reach the disk within a second, durable ones at once, and nothing is written idly")
    func persistence() {
        var world = ReplicationWorld(seed: 15)
        world.add()
        world.put(0, EntryID("kairos", "a"), "1")
        world.put(0, EntryID("kairos", "b"), "1")
        world.advance(.seconds(1))
        let first = world.nodes[0].snapshots.count
        #expect((1...2).contains(first))
        #expect(world.nodes[0].snapshots.last?.entryCount == 2)
        world.put(0, EntryID("kairos", "c"), "1", durable: true)
        #expect(world.nodes[0].snapshots.count == first + 1)
        world.advance(.seconds(600))
        #expect(world.nodes[0].snapshots.count == first + 1)
        #expect(!world.nodes[0].core.hasUnsavedChanges)
    }

    @Test("a refused write says why and does not hold up the others of its batch")
    func refusal() {
        var world = ReplicationWorld(seed: 16)
        world.add()
        let foreign = EntryID(.kairosElection, "somebody else")
        world.feed(
            .write([.put(foreign, value: "1"), .put(EntryID("kairos", "a"), value: "1")], durable: false),
            to: 0)
        #expect(world.nodes[0].refusals == [.wouldBeRejected(foreign, .ownerMismatch)])
        #expect(world.nodes[0].changes.map(\.id) == [EntryID("kairos", "a")])
    }
}

@Suite("Ledger frames")
struct LedgerFrameTests {
    private func samples() -> [LedgerFrame] {
        let place = EntryID("a", "b").fingerprint
        let prefix = LedgerDigest.Prefix(nibbles: [place.nibble(0), place.nibble(1)]) ?? .whole
        return [
            .summary(place), .equal, .want([place, .zero]), .want([]),
            .branches([.init(prefix: prefix, children: Array(repeating: place, count: 16))]),
            .leaves([
                .init(prefix: prefix, items: [.init(place: place, version: .max, fingerprint: .zero)]),
                .init(prefix: .whole, items: []),
            ]),
            .entries(
                Block(storage: ["a": ["b": Entry(value: "\"v\"", owner: "o", version: 3, signature: [1])]])),
        ]
    }

    @Test("a frame survives its bytes")
    func roundTrip() throws {
        for frame in samples() { #expect(try LedgerFrame(decoding: frame.encoded) == frame) }
        #expect(LedgerFrame.summary(.zero).encoded.count == 17)
    }

    @Test("a frame that ends early, goes on, or goes over a limit is refused")
    func refusals() {
        for frame in samples() {
            let bytes = frame.encoded
            for length in 0..<bytes.count {
                #expect(throws: LedgerFrameError.self) {
                    try LedgerFrame(decoding: Array(bytes.prefix(length)))
                }
            }
            #expect(throws: LedgerFrameError.self) { try LedgerFrame(decoding: bytes + [1]) }
        }
        #expect(throws: LedgerFrameError.tooLarge) {
            try LedgerFrame(decoding: [UInt8](repeating: 1, count: LedgerFrame.maximumLength + 1))
        }
        #expect(throws: LedgerFrameError.unknownKind) { try LedgerFrame(decoding: [9]) }
        let children = Array(repeating: Fingerprint.zero, count: 16)
        let twice = LedgerFrame.branches([
            .init(prefix: .whole, children: children), .init(prefix: .whole, children: children),
        ])
        #expect(throws: LedgerFrameError.malformed) { try LedgerFrame(decoding: twice.encoded) }
        let foreign = LedgerFrame.leaves([
            .init(
                prefix: LedgerDigest.Prefix(nibbles: [1]) ?? .whole,
                items: [.init(place: .zero, version: 1, fingerprint: .zero)])
        ])
        #expect(throws: LedgerFrameError.malformed) { try LedgerFrame(decoding: foreign.encoded) }
    }

    @Test("no bytes make the decoder trap", arguments: [41, 42] as [UInt64])
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let samples = samples().map(\.encoded)
        for _ in 0..<5000 {
            var bytes = samples.randomElement(using: &generator) ?? []
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            _ = try? LedgerFrame(decoding: bytes)
            let noise = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? LedgerFrame(decoding: noise)
        }
    }
}
