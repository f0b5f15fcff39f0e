import Ledger
import LibP2P
import TestSupport
import Testing
import Timing

@Suite("Merging blocks")
struct MergeTests {
    static let cases = (try? VectorCase.load("merge.json")) ?? []

    static let signed = cases.filter { (try? $0.string("mode")) != "off" }
    static let unsigned = cases.filter { (try? $0.string("mode")) == "off" }

    private static func ledger(_ vector: VectorCase) throws -> Ledger {
        var configuration = Ledger.Configuration()
        configuration.mode = try vector.string("mode") == "observe" ? .observe : .enforce
        configuration.livenessWindow = .seconds(try vector.int("ttl_seconds"))
        configuration.tombstoneRetention = nil
        return Ledger(restoring: try Block.decode(vector.raw("initial")), configuration: configuration)
    }

    private static func fate(_ entry: VectorCase) throws -> EntryFate {
        let reason = entry.has("reason") ? RejectionReason(rawValue: try entry.string("reason")) : nil
        switch (try entry.string("outcome"), reason) {
        case ("accepted", nil): return .accepted
        case ("identical", nil): return .identical
        case ("kept", nil): return .kept
        case ("rejected", let reason?): return .rejected(reason)
        case ("accepted_with_warning", let reason?): return .acceptedWithWarning(reason)
        default: throw VectorCase.Missing(field: "outcome")
        }
    }

    private static func storage(_ json: [UInt8]) throws -> Block.Storage {
        let block = try Block.decode(Array(#"{"Storage":"#.utf8) + json + Array("}".utf8))
        return block.normalized.storage.filter { !$0.value.isEmpty }
    }

    @Test("the vectors are there") func vectors() {
        // The copy in Tests/Vectors holds every sixth of the 785.
        #expect(Self.cases.count == 785 || Self.cases.count == 131)
        #expect(!Self.signed.isEmpty && !Self.unsigned.isEmpty)
    }

    @Test("in mode off a block is adopted whole or ignored", arguments: unsigned)
    func adoption(_ vector: VectorCase) throws {
        if vector.has("error") {
            #expect(throws: JSONError.self) { try Block.decode(vector.raw("incoming")) }
            return
        }
        var configuration = Ledger.Configuration()
        configuration.mode = .off
        var ledger = Ledger(restoring: try Block.decode(vector.raw("initial")), configuration: configuration)
        let incoming = try Block.decode(vector.raw("incoming"))
        _ = ledger.merge(incoming, at: UnixTime(seconds: try vector.int("now_unix")))
        let result = Block(storage: ledger.storage).normalized.storage.filter { !$0.value.isEmpty }
        #expect(result == (try Self.storage(vector.raw("result_storage"))))
        #expect(ledger.index == Int64(try vector.int("result_index")))
    }

    @Test("a merge ends as it does in a stock node", arguments: signed)
    func knownMerges(_ vector: VectorCase) throws {
        // Go overflows when it adds the window to the largest time; nothing overflows here.
        let isOverflow = try vector.has("quirk") && vector.string("quirk").contains("overflows")
        var ledger = try Self.ledger(vector)
        let indexBefore = ledger.index
        let now =
            UnixTime(seconds: try vector.int("now_unix")) + .nanoseconds(try vector.int("now_nanoseconds"))
        if vector.has("error") {
            let text =
                vector.has("incoming_text")
                ? Array(try vector.string("incoming_text").utf8) : try vector.raw("incoming")
            #expect(throws: JSONError.self) { try Block.decode(text) }
            return
        }
        let report = ledger.merge(try Block.decode(vector.raw("incoming")), at: now)
        if isOverflow {
            #expect(report.fates.map(\.fate) == [.rejected(.tombstoneByNonOwner)])
            return
        }
        var expected: [EntryID: EntryFate] = [:]
        for entry in try VectorCase.list(vector.raw("entries")) {
            expected[EntryID(try entry.text("bucket"), try entry.text("key"))] = try Self.fate(entry)
        }
        #expect(Dictionary(uniqueKeysWithValues: report.fates.map { ($0.id, $0.fate) }) == expected)
        let result = Block(storage: ledger.storage).normalized.storage.filter { !$0.value.isEmpty }
        #expect(result == (try Self.storage(vector.raw("result_storage"))))
        let changed = try vector.bool("changed")
        #expect(!report.changes.isEmpty == changed)
        #expect(ledger.index - indexBefore == (report.changes.isEmpty ? 0 : 1))
    }

    @Test("replicas that merge the same entries in any order and any grouping agree", arguments: 1...8)
    func convergence(seed: Int) throws {
        let world = LedgerWorld(seed: UInt64(seed), members: 4)
        var generator = SeededGenerator(seed: UInt64(seed))
        let blocks = world.history(writes: 60, using: &generator)
        var digests: Set<LedgerDigest> = []
        for _ in 0..<5 {
            var ledger = Ledger()
            // Everything arrives at one moment: who is live is the same for all orders.
            for _ in 0..<3 {
                for block in blocks.shuffled(using: &generator) { _ = ledger.merge(block, at: world.end) }
            }
            digests.insert(ledger.digest())
        }
        #expect(digests.count == 1, "seed \(seed)")
    }

    @Test("entries of one version in an open bucket: stock's replicas differ for good, ours agree")
    func ties() throws {
        let id = EntryID("kairos", "token")
        for _ in 0..<20 {
            let identities = [Identity.generate(), Identity.generate()]
            let blocks = try (0..<3).map { number in
                var author = Ledger()
                _ = try author.put(
                    id, value: LedgerText("\"\(number)\""), by: identities[number % 2],
                    at: UnixTime(seconds: 7))
                return author.block(at: UnixTime(seconds: 7))
            }
            var settled: Set<LedgerDigest> = []
            var kept: Set<LedgerDigest> = []
            for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
                var ours = Ledger()
                var stock = Ledger()
                for number in order {
                    _ = ours.merge(blocks[number], at: UnixTime(seconds: 8), settlesTies: true)
                    _ = stock.merge(blocks[number], at: UnixTime(seconds: 8))
                }
                settled.insert(ours.digest())
                kept.insert(stock.digest())
            }
            #expect(settled.count == 1)
            #expect(kept.count == 3)
        }
    }

    @Test("merging what is held already changes nothing and verifies nothing")
    func idempotence() throws {
        let world = LedgerWorld(seed: 3, members: 3)
        var generator = SeededGenerator(seed: 3)
        var ledger = Ledger()
        for block in world.history(writes: 40, using: &generator) { _ = ledger.merge(block, at: world.end) }
        let whole = ledger.block(at: world.end)
        let verified = ledger.signaturesVerified
        let report = ledger.merge(whole, at: world.end)
        #expect(report.changes.isEmpty)
        #expect(report.fates.allSatisfy { $0.fate == .identical })
        #expect(ledger.signaturesVerified == verified)
    }

    @Test("an old entry that is replayed is verified once and then costs a hash")
    func replay() throws {
        let world = LedgerWorld(seed: 4, members: 1)
        let id = EntryID("services", "web")
        var author = Ledger()
        let value = world.value(of: 0)
        _ = try author.put(id, value: value, by: world.identities[0], at: world.start)
        let old = author.delta(of: [id], at: world.start)
        _ = try author.delete(id, by: world.identities[0], at: world.start)
        var ledger = Ledger()
        _ = ledger.merge(old, at: world.start)
        _ = ledger.merge(author.delta(of: [id], at: world.start), at: world.start)
        let verified = ledger.signaturesVerified
        for _ in 0..<100 {
            #expect(ledger.merge(old, at: world.start).fates[0].fate == .rejected(.staleReclaim))
        }
        #expect(ledger.signaturesVerified == verified)
    }

    @Test("what an owner gave up is free for others at once, also where only its successor's entry arrives")
    func withdrawal() throws {
        let world = LedgerWorld(seed: 5, members: 2)
        let id = EntryID(.services, "place")
        let heartbeat = EntryID(.healthcheck, world.owner(0))
        var first = Ledger()
        _ = try first.put(id, value: world.value(of: 0), by: world.identities[0], at: world.start)
        _ = try first.put(
            heartbeat, value: world.heartbeat(world.start), by: world.identities[0], at: world.start)
        // Who was away keeps what it knew.
        var away = Ledger(restoring: Block(storage: first.storage), configuration: .init())
        away.presentOwners = [world.owner(0), world.owner(1)]

        let later = world.start + .seconds(20)
        _ = try first.delete(id, by: world.identities[0], at: later)
        _ = try first.put(id, value: world.value(of: 1), by: world.identities[1], at: later + .seconds(1))
        let successor = first.delta(of: [id], at: later)
        #expect(away.merge(successor, at: later).rejections.map(\.reason) == [.overwriteOfLiveEntry])

        _ = try first.delete(heartbeat, by: world.identities[0], at: later)
        let both = first.delta(of: [id, heartbeat], at: later)
        var sooner = away
        #expect(sooner.merge(both, at: later).rejections.isEmpty)
        #expect(sooner.entry(id)?.owner == world.owner(1))
        _ = away.merge(first.delta(of: [heartbeat], at: later), at: later)
        #expect(away.merge(successor, at: later).rejections.isEmpty)

        // It comes back, and what it says then counts as ever.
        let again = later + .seconds(30)
        _ = try away.put(
            heartbeat, value: world.heartbeat(again), by: world.identities[0], at: again)
        #expect(away.liveness(at: again).isLive(world.owner(0)))
    }

    @Test("an address that its owner has left for another one is free, wherever the tombstone did not come")
    func movedAway() throws {
        let world = LedgerWorld(seed: 6, members: 2)
        let (left, taken) = (EntryID(.machines, "10.1.0.7"), EntryID(.machines, "10.1.0.9"))
        var first = Ledger()
        _ = try first.put(left, value: world.value(of: 0), by: world.identities[0], at: world.start)
        var away = Ledger(restoring: Block(storage: first.storage), configuration: .init())
        away.presentOwners = [world.owner(0), world.owner(1)]

        let later = world.start + .seconds(20)
        _ = try first.delete(left, by: world.identities[0], at: later)
        _ = try first.put(
            left, value: world.value(of: 1), by: world.identities[1], at: later + .seconds(1))
        let successor = first.delta(of: [left], at: later)
        #expect(away.merge(successor, at: later).rejections.map(\.reason) == [.overwriteOfLiveEntry])

        _ = try first.put(taken, value: world.value(of: 0), by: world.identities[0], at: later)
        let address = first.delta(of: [taken], at: later)
        _ = away.merge(address, at: later)
        #expect(away.merge(successor, at: later).rejections.isEmpty)
        #expect(away.entry(left)?.owner == world.owner(1))

        // The newer claim is not free because of the older one.
        var rival = Ledger()
        _ = try rival.put(
            taken, value: world.value(of: 1), by: world.identities[1], at: later + .seconds(2))
        let report = away.merge(rival.delta(of: [taken], at: later), at: later)
        #expect(report.rejections.map(\.reason) == [.overwriteOfLiveEntry])
    }
}
