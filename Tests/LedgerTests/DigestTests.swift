import Ledger
import Testing
import Timing

@Suite("Digest")
struct DigestTests {
    private func ledger(seed: UInt64, entries: Int) -> Ledger {
        var generator = SeededGenerator(seed: seed)
        var ledger = Ledger()
        for number in 0..<entries {
            let entry = Entry(
                value: LedgerText("\(UInt64.random(in: 0...99, using: &generator))"), version: 1)
            _ = ledger.merge(Block(EntryID("kairos", LedgerText("\(number)")), entry), at: .init(seconds: 0))
        }
        return ledger
    }

    @Test(
        "a digest that followed every change equals one made afresh", arguments: 1...4 as ClosedRange<UInt64>)
    func incremental(seed: UInt64) throws {
        let world = LedgerWorld(seed: seed, members: 3)
        var generator = SeededGenerator(seed: seed)
        var ledger = Ledger()
        _ = ledger.digest()
        for block in world.history(writes: 80, using: &generator) {
            _ = ledger.merge(block, at: world.end)
            #expect(ledger.digest() == LedgerDigest(of: ledger.storage), "seed \(seed)")
        }
        _ = ledger.forgetTombstones(at: world.end + .seconds(9000))
        #expect(ledger.digest() == LedgerDigest(of: ledger.storage))
    }

    @Test("the sixteen parts of a part hold its entries, each once")
    func partition() throws {
        var ledger = ledger(seed: 1, entries: 300)
        let digest = ledger.digest()
        var pending: [LedgerDigest.Prefix] = [.whole]
        var leaves = 0
        while let prefix = pending.popLast() {
            let items = digest.items(in: prefix)
            #expect(items.allSatisfy { prefix.contains($0.place) })
            if items.count <= 1 {
                leaves += items.count
                #expect((digest.fingerprint(of: prefix) == .zero) == items.isEmpty)
                continue
            }
            let children = try #require(prefix.children)
            #expect(children.map { digest.items(in: $0).count }.reduce(0, +) == items.count)
            pending += children
        }
        #expect(leaves == 300 && digest.items(in: .whole).count == 300)
    }

    @Test("descending only into parts that differ finds the one difference among a thousand")
    func descent() throws {
        var left = ledger(seed: 2, entries: 1000)
        var right = left
        let id = EntryID("kairos", "517")
        _ = right.merge(Block(id, Entry(value: "other", version: 9)), at: .init(seconds: 0))
        let (a, b) = (left.digest(), right.digest())
        #expect(a.fingerprint(of: .whole) != b.fingerprint(of: .whole))
        var prefix = LedgerDigest.Prefix.whole
        var steps = 0
        while a.items(in: prefix).count > 1 {
            let differing = try #require(prefix.children).filter {
                a.fingerprint(of: $0) != b.fingerprint(of: $0)
            }
            #expect(differing.count == 1)
            prefix = differing[0]
            steps += 1
        }
        #expect(a.items(in: prefix).first?.id == id)
        #expect(steps <= 6)
    }

    @Test("a prefix from outside has at most 32 groups of four bits")
    func prefixes() {
        #expect(LedgerDigest.Prefix(nibbles: Array(repeating: 15, count: 32))?.children == nil)
        #expect(LedgerDigest.Prefix(nibbles: Array(repeating: 15, count: 33)) == nil)
        #expect(LedgerDigest.Prefix(nibbles: [16]) == nil)
        var ledger = ledger(seed: 1, entries: 5)
        let place = ledger.digest().items[2].place
        let whole = (0..<32).map { place.nibble($0) }
        #expect(LedgerDigest.Prefix(nibbles: whole).map { ledger.digest().items(in: $0).count } == 1)
    }
}
