import Ledger
import LibP2P
import TestSupport
import Testing
import Timing

@Suite("Writing, limits and reaping")
struct LedgerTests {
    let world = LedgerWorld(seed: 7, members: 3)

    @Test("a version is the clock in nanoseconds, or one more than the last")
    func versions() throws {
        var ledger = Ledger()
        let id = EntryID("kairos", "role")
        let first = try #require(try ledger.put(id, value: "\"a\"", by: world.identities[0], at: world.start))
        #expect(first.new?.version == UInt64(world.start.nanoseconds))
        #expect(first.new?.updatedAt == world.start.seconds)
        let earlier = world.start + .seconds(-60)
        let second = try #require(try ledger.put(id, value: "\"b\"", by: world.identities[0], at: earlier))
        #expect(second.new?.version == UInt64(world.start.nanoseconds) + 1)
        #expect(second.old == first.new)
        #expect(ledger.value(id) == "\"b\"")
        #expect(ledger.index == 2)
    }

    @Test("an unchanged value is left exactly as it is")
    func unchanged() throws {
        var ledger = Ledger()
        let id = EntryID("kairos", "role")
        let first = try ledger.put(id, value: "\"a\"", by: world.identities[0], at: world.start)
        #expect(try ledger.put(id, value: "\"a\"", by: world.identities[0], at: world.end) == nil)
        #expect(ledger.entry(id) == first?.new)
        // The same value by somebody else is a change of owner.
        #expect(try ledger.put(id, value: "\"a\"", by: world.identities[1], at: world.end) != nil)
    }

    @Test("a deletion leaves a tombstone that readers do not see")
    func deletion() throws {
        var ledger = Ledger()
        let id = EntryID(.services, "web")
        _ = try ledger.put(id, value: world.value(of: 0), by: world.identities[0], at: world.start)
        _ = try ledger.delete(id, by: world.identities[0], at: world.start)
        let tombstone = try #require(ledger.entry(id))
        #expect(tombstone.isDeleted && tombstone.value.isEmpty && tombstone.hasValidSignature(at: id))
        #expect(ledger.value(id) == nil && ledger.entries(in: .services).isEmpty)
        #expect(try ledger.delete(id, by: world.identities[0], at: world.end) == nil)
        #expect(throws: LedgerError.nothingToDelete(EntryID("kairos", "x"))) {
            try ledger.delete(EntryID("kairos", "x"), by: world.identities[0], at: world.end)
        }
    }

    @Test("a write that all others would reject is refused here too")
    func refusedWrites() throws {
        var ledger = Ledger()
        let beat = EntryID(.healthcheck, world.owner(0))
        _ = try ledger.put(
            beat, value: world.heartbeat(world.start), by: world.identities[0], at: world.start)
        let id = EntryID(.machines, "10.1.0.1")
        _ = try ledger.put(id, value: world.value(of: 0), by: world.identities[0], at: world.start)
        #expect(throws: LedgerError.wouldBeRejected(id, .overwriteOfLiveEntry)) {
            try ledger.put(id, value: world.value(of: 1), by: world.identities[1], at: world.end)
        }
        #expect(throws: LedgerError.wouldBeRejected(id, .tombstoneByNonOwner)) {
            try ledger.delete(id, by: world.identities[1], at: world.end)
        }
        #expect(throws: LedgerError.wouldBeRejected(id, .ownerMismatch)) {
            try ledger.put(id, value: world.value(of: 1), by: world.identities[0], at: world.end)
        }
        // Once the owner's heartbeat is too old the address is free.
        let late = world.start + .seconds(481)
        _ = try ledger.put(id, value: world.value(of: 1), by: world.identities[1], at: late)
        #expect(ledger.entry(id)?.owner == world.owner(1))
    }

    @Test("a key at the greatest version can be written no more, and says so")
    func exhaustedVersion() throws {
        let id = EntryID("kairos", "poisoned")
        var ledger = Ledger()
        let poison = Block(storage: ["kairos": ["poisoned": Entry(value: "x", owner: "y", version: .max)]])
        _ = ledger.merge(poison, at: world.start)
        #expect(throws: LedgerError.versionExhausted(id)) {
            try ledger.put(id, value: "1", by: world.identities[0], at: world.start)
        }
    }

    @Test("in our own buckets only the peer that the key names writes")
    func ownBuckets() throws {
        var ledger = Ledger()
        let mine = EntryID(.kairosElection, world.owner(0))
        let slot = EntryID(.kairosNode, LedgerText("\(world.owner(0))/label"))
        for id in [mine, slot] {
            var author = Ledger()
            _ = try author.put(id, value: "{\"ballot\":1}", by: world.identities[0], at: world.start)
            #expect(ledger.merge(author.delta(of: [id], at: world.start), at: world.start).changes.count == 1)
            let forger = world.identities[1]
            #expect(throws: LedgerError.wouldBeRejected(id, .ownerMismatch)) {
                try author.put(id, value: "{\"ballot\":2}", by: forger, at: world.end)
            }
            // What a stock node would relay all the same is judged on arrival.
            var entry = Entry(value: "{\"ballot\":9}", version: .max)
            entry.sign(at: id, with: forger)
            #expect(ledger.merge(Block(id, entry), at: world.end).fates[0].fate == .rejected(.ownerMismatch))
            entry.owner = world.owner(0)
            #expect(
                ledger.merge(Block(id, entry), at: world.end).fates[0].fate == .rejected(.invalidSignature))
            let bare = Entry(value: "{\"ballot\":9}", version: .max)
            #expect(
                ledger.merge(Block(id, bare), at: world.end).fates[0].fate == .rejected(.invalidSignature))
            var stale = Entry(value: "{\"ballot\":0}", version: 1)
            stale.sign(at: id, with: world.identities[0])
            #expect(ledger.merge(Block(id, stale), at: world.end).fates[0].fate == .rejected(.rollback))
            #expect(ledger.value(id) == "{\"ballot\":1}")
        }
        // A dead owner's register stays its own: nobody takes it over.
        let late = world.start + .seconds(100_000)
        #expect(throws: LedgerError.self) {
            try ledger.put(mine, value: "{}", by: world.identities[1], at: late)
        }
    }

    @Test("two entries of one version in an own bucket settle the same way on every replica")
    func equivocation() throws {
        let id = EntryID(.kairosElection, world.owner(0))
        let blocks = ["1", "2", "3"].map { value in
            var entry = Entry(value: LedgerText(value), version: 5)
            entry.sign(at: id, with: world.identities[0])
            return Block(id, entry)
        }
        var results: Set<LedgerText> = []
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            var ledger = Ledger()
            for place in order { _ = ledger.merge(blocks[place], at: world.start) }
            results.insert(try #require(ledger.value(id)))
        }
        #expect(results.count == 1)
    }

    @Test("keys that are canonically equivalent but differ in bytes are two keys")
    func bytewiseKeys() {
        var ledger = Ledger()
        let block = Block(storage: ["kairos": ["\u{E9}": Entry(value: "1"), "e\u{301}": Entry(value: "2")]])
        _ = ledger.merge(block, at: world.start)
        #expect(ledger.entries(in: "kairos").count == 2)
        #expect(ledger.value(bucket: "kairos", key: "e\u{301}") == "2")
    }

    // MARK: limits

    @Test("a full open bucket refuses new keys, renews old ones and leaves signed entries their room")
    func openShare() throws {
        var configuration = Ledger.Configuration()
        configuration.limits.maximumOpenEntries = 10
        configuration.limits.maximumEntries = 20
        var ledger = Ledger(configuration: configuration)
        for number in 0..<30 {
            let report = ledger.merge(
                Block(
                    EntryID(bucket: "junk\(number)", key: "k"),
                    Entry(value: "1", owner: LedgerText("x\(number)"), version: 1)),
                at: world.start)
            #expect(report.fates[0].fate == (number < 10 ? .accepted : .rejected(.ledgerFull)))
        }
        let renewal = Block(EntryID("junk3", "k"), Entry(value: "2", owner: "x3", version: 2))
        #expect(ledger.merge(renewal, at: world.start).changes.count == 1)
        let grown = Block(
            EntryID("junk3", "k"),
            Entry(value: LedgerText(String(repeating: "x", count: 300 << 10)), version: 3))
        #expect(ledger.merge(grown, at: world.start).fates[0].fate == .rejected(.entryTooLarge))
        var author = Ledger()
        let beat = EntryID(.healthcheck, world.owner(0))
        _ = try author.put(
            beat, value: world.heartbeat(world.start), by: world.identities[0], at: world.start)
        #expect(ledger.merge(author.block(at: world.start), at: world.start).changes.count == 1)
        // This node's own write is let in past the share of the open buckets.
        let own = EntryID("kairos", "role")
        #expect(try ledger.put(own, value: "\"a\"", by: world.identities[1], at: world.start) != nil)
    }

    @Test("one owner cannot hold more than its share")
    func ownerShare() throws {
        var configuration = Ledger.Configuration()
        configuration.limits.maximumOwnerEntries = 5
        var ledger = Ledger(configuration: configuration)
        var author = Ledger()
        for number in 0..<9 {
            for member in 0...1 {
                let id = EntryID(.services, LedgerText("\(member)-\(number)"))
                _ = try author.put(
                    id, value: world.value(of: member), by: world.identities[member], at: world.start)
            }
        }
        let report = ledger.merge(author.block(at: world.start), at: world.start)
        #expect(report.changes.count == 10)
        #expect(report.rejections.count == 8 && report.rejections.allSatisfy { $0.reason == .ledgerFull })
        #expect(ledger.usage.amount(of: world.owner(0)).entries == 5)
    }

    @Test("old tombstones make room before anything is refused")
    func tombstonesMakeRoom() throws {
        var configuration = Ledger.Configuration()
        configuration.limits.maximumOwnerEntries = 2
        var ledger = Ledger(configuration: configuration)
        let late = world.start + .seconds(3000)
        for key in ["a", "b"] as [LedgerText] {
            _ = try ledger.put(
                EntryID(.services, key), value: world.value(of: 0), by: world.identities[0], at: world.start)
            _ = try ledger.delete(EntryID(.services, key), by: world.identities[0], at: world.start)
        }
        var author = Ledger()
        _ = try author.put(
            EntryID(.services, "c"), value: world.value(of: 0), by: world.identities[0], at: late)
        let block = author.block(at: late)
        #expect(ledger.merge(block, at: world.end).fates[0].fate == .rejected(.ledgerFull))
        #expect(ledger.merge(block, at: late).fates[0].fate == .accepted)
        #expect(ledger.usage.total.entries == 1)
    }

    @Test("usage always equals what is held", arguments: 1...6)
    func usageInvariant(seed: Int) throws {
        let world = LedgerWorld(seed: UInt64(seed), members: 3)
        var generator = SeededGenerator(seed: UInt64(seed))
        var ledger = Ledger()
        for block in world.history(writes: 80, using: &generator) { _ = ledger.merge(block, at: world.end) }
        _ = ledger.forgetTombstones(at: world.end + .seconds(3000))
        let again = Ledger(restoring: ledger.block(at: world.end))
        #expect(again.usage == ledger.usage)
        #expect(again.storage == ledger.storage)
    }

    // MARK: liveness and reaping

    @Test("the leader tombstones what expired, others leave it alone")
    func reaping() throws {
        var ledger = Ledger()
        let late = world.start + .seconds(1000)
        for member in 0...2 {
            let time = member == 0 ? world.start : late
            let beat = EntryID(.healthcheck, world.owner(member))
            _ = try ledger.put(beat, value: world.heartbeat(time), by: world.identities[member], at: time)
            let machine = EntryID(.machines, LedgerText("10.1.0.\(member)"))
            _ = try ledger.put(
                machine, value: world.value(of: member), by: world.identities[member], at: time)
        }
        _ = try ledger.put(EntryID("kairos", "open"), value: "1", by: world.identities[0], at: world.start)
        _ = try ledger.put(
            EntryID(.kairosElection, world.owner(0)), value: "1", by: world.identities[0], at: world.start)
        let live = [world.owner(1), world.owner(2)]
        #expect(ledger.availableNodes(at: late) == live.sorted())
        let leader = LeaderFunction.leader(of: live) == live[0] ? 1 : 2
        var follower = ledger
        #expect(follower.reap(by: world.identities[3 - leader], at: late).isEmpty)
        let changes = ledger.reap(by: world.identities[leader], at: late)
        #expect(
            changes.map(\.id) == [
                EntryID(.healthcheck, world.owner(0)), EntryID(.machines, "10.1.0.0"),
            ])
        // The others take the leader's tombstones, and the owner may come back over them.
        let report = follower.merge(ledger.delta(of: changes.map(\.id), at: late), at: late)
        #expect(report.changes.count == 2)
        let machine = EntryID(.machines, "10.1.0.0")
        #expect(
            try follower.put(machine, value: world.value(of: 0), by: world.identities[0], at: late) != nil)
    }

    @Test("a tombstone is forgotten after its time and does not come back")
    func forgetting() throws {
        var ledger = Ledger()
        let id = EntryID("kairos", "gone")
        _ = try ledger.put(id, value: "1", by: world.identities[0], at: world.start)
        _ = try ledger.delete(id, by: world.identities[0], at: world.start)
        let tombstone = ledger.block(at: world.start)
        #expect(ledger.forgetTombstones(at: world.start + .seconds(2700)).isEmpty)
        let later = world.start + .seconds(2701)
        #expect(ledger.forgetTombstones(at: later).map(\.id) == [id])
        #expect(ledger.merge(tombstone, at: later).fates[0].fate == .rejected(.forgottenTombstone))
        #expect(ledger.storage.isEmpty)
    }

    @Test(
        "the leader is the first name with the greatest hash",
        arguments: (try? VectorCase.load("leader.json")) ?? [])
    func leader(_ vector: VectorCase) throws {
        let names = try VectorCase.elements(vector.raw("names")).map { json in
            var reader = JSONReader(json)
            return try reader.readText()
        }
        let hashes = try VectorCase.elements(vector.raw("hashes")).map { json in
            var reader = JSONReader(json)
            return try reader.readUInt64()
        }
        #expect(names.map { UInt64(LeaderFunction.hash($0.utf8)) } == hashes)
        #expect(LeaderFunction.leader(of: names) == (vector.has("leader") ? try vector.text("leader") : nil))
    }
}

extension Block {
    /// A block of one entry.
    init(_ id: EntryID, _ entry: Entry) {
        self.init(storage: [id.bucket: [id.key: entry]])
    }
}
