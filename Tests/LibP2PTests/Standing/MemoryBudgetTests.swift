import LibP2P
import Testing
import Timing

@Suite("memory budget")
struct MemoryBudgetTests {
    @Test("every standing has a share of its own, and what does not fit is counted")
    func shares() {
        var shares = MemoryBudget.Shares()
        (shares.unproven, shares.member, shares.admitted) = (100, 200, 300)
        let budget = MemoryBudget(shares: shares)
        #expect(budget.reserve(60, for: .unproven) && !budget.reserve(41, for: .unproven))
        #expect(budget.reserve(40, for: .unproven) && !budget.reserve(.max, for: .unproven))
        #expect(budget.reserve(200, for: .member) && budget.reserve(300, for: .admitted))
        #expect(budget.usage.used == [.unproven: 100, .member: 200, .admitted: 300])
        #expect(budget.usage.refusals == [.unproven: 2])
        budget.release(100, for: .unproven)
        #expect(budget.reserve(100, for: .unproven))
    }

    @Test("the unproven together never hold more than 16 MB, and members still get theirs")
    func sybils() {
        let budget = MemoryBudget()
        let sybils = (0..<128).map { _ in ConnectionMemory(budget: budget) }
        for sybil in sybils { while sybil.reserve(60_000) {} }
        let used = budget.usage.used[.unproven, default: 0]
        #expect(used <= 16 << 20 && used > 15 << 20)
        for sybil in sybils { #expect(sybil.held <= StandingLimits.unproven.memoryBytes) }
        let member = ConnectionMemory(budget: budget, standing: .admitted)
        #expect(member.reserve(20 << 20))
    }

    @Test("what a connection holds moves along when its peer proves itself, and is given back at its end")
    func connection() {
        let budget = MemoryBudget()
        let wide = ConnectionMemory.wideBuffers
        var memory: ConnectionMemory? = ConnectionMemory(budget: budget)
        #expect(memory?.reserve(1000) == true && memory?.reserve(1 << 20) == false)
        memory?.setStanding(.admitted)
        #expect(budget.usage.used == [.unproven: 0, .admitted: 1000 + wide])
        #expect(memory?.reserve(2 << 20) == true)
        memory?.release(500)
        #expect(memory?.held == 500 + wide + (2 << 20))
        memory = nil
        #expect(budget.usage.used.values.allSatisfy { $0 == 0 })
    }

    @Test("large buffers take half of a share at most, and connections work on without")
    func wideBuffers() {
        let budget = MemoryBudget()
        let memories = (0..<200).map { _ in ConnectionMemory(budget: budget) }
        for memory in memories { memory.setStanding(.admitted) }
        let wide = memories.filter(\.hasWideBuffers)
        #expect(wide.count == budget.shares.admitted / 2 / ConnectionMemory.wideBuffers)
        #expect(memories.last?.reserve(1 << 20) == true && memories.last?.hasWideBuffers == false)
        wide[0].setStanding(.unproven)
        #expect(!wide[0].hasWideBuffers && wide[0].held == 0)
    }

    @Test("a standing that has no room leaves what is held where it was")
    func fullShare() {
        var shares = MemoryBudget.Shares()
        shares.admitted = 100
        let budget = MemoryBudget(shares: shares)
        let memory = ConnectionMemory(budget: budget)
        #expect(memory.reserve(200))
        memory.setStanding(.admitted)
        #expect(budget.usage.used[.unproven] == 200 && memory.reserve(100) && !memory.reserve(1))
        memory.release(300)
        #expect(budget.usage.used.values.allSatisfy { $0 == 0 } && memory.held == 0)
    }

    @Test("any order of taking and giving keeps the books in balance", arguments: 0..<20)
    func fuzz(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let budget = MemoryBudget()
        let memory = ConnectionMemory(budget: budget)
        var tally = MemoryTally(memory)
        var hold = MemoryHold(memory)
        var held = 0
        for _ in 0..<3000 {
            let count = Int.random(in: 0...200_000, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0...2: if tally.add(count) { held += count }
            case 3, 4:
                let part = min(count, held)
                tally.remove(part)
                held -= part
            case 5: memory.setStanding(PeerStanding.allCases.randomElement(using: &random) ?? .member)
            default: _ = hold.set(count)
            }
            #expect(tally.count == held && memory.held >= held)
            #expect(budget.usage.used.values.reduce(0, +) == memory.held)
            #expect(budget.usage.used.values.allSatisfy { $0 >= 0 })
        }
        tally.end()
        memory.setStanding(.unproven)
        #expect(hold.set(0) && memory.held == 0 && budget.usage.used.values.allSatisfy { $0 == 0 })
    }
}
