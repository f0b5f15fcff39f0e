import Testing
import Timing

@testable import VPN

@Suite("The replay window")
struct ReplayWindowTests {
    @Test("Each counter is taken once, in any order within the window; older ones never")
    func edges() {
        var window = ReplayWindow()
        let size = ReplayWindow.size
        func take(_ counter: UInt64) -> Bool { window.take(counter) }
        #expect(take(0))
        #expect(!take(0))
        #expect(take(size))
        // Exactly as old as the window is long, and one older.
        #expect(take(1))
        #expect(!take(1))
        #expect(!window.accepts(0))
        #expect(take(size - 1))
        #expect(!take(size))
        // A leap over the whole ring clears what was there.
        #expect(take(100 * size))
        #expect(take(100 * size - 1))
        #expect(!take(size))
        #expect(take(99 * size + 1))
        #expect(!take(.max))
        #expect(take(.max - 1))
        #expect(!take(.max - 1))
    }

    @Test("Against a model with a set", arguments: 0..<20)
    func model(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var window = ReplayWindow()
        var (seen, highest): (Set<UInt64>, UInt64?) = ([], nil)
        var position: UInt64 = 0
        for _ in 0..<20_000 {
            let leap: UInt64 = UInt64.random(in: 0..<400, using: &generator) == 0 ? 20_000 : 70
            position += UInt64.random(in: 0..<leap, using: &generator)
            let back = min(position, UInt64.random(in: 0..<9000, using: &generator))
            let counter = Bool.random(using: &generator) ? position : position - back
            let isTooOld = highest.map { counter + ReplayWindow.size < $0 + 1 } ?? false
            let isTaken = window.take(counter)
            #expect(isTaken == (!isTooOld && !seen.contains(counter)))
            if !isTooOld {
                seen.insert(counter)
                highest = max(highest ?? 0, counter)
            }
        }
    }
}
