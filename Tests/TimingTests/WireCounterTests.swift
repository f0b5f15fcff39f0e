import Testing
import Timing

@Suite("Counters that a peer tells")
struct WireCounterTests {
    @Test("one above the greatest is refused, and the greatest has no next")
    func end() {
        #expect(WireCounter(WireCounter.greatest)?.value == WireCounter.greatest)
        for raw in [WireCounter.greatest + 1, 1 << 63, .max] { #expect(WireCounter(raw) == nil) }
        #expect(WireCounter(WireCounter.greatest)?.next == nil)
        #expect(WireCounter(WireCounter.greatest - 1)?.next == WireCounter(WireCounter.greatest))
        #expect(WireCounter(0)?.next == WireCounter(1))
    }

    @Test("what is older than what is known is within the window, and what is far ahead is not")
    func window() {
        let counter = WireCounter(1000)
        #expect(counter?.isWithin(0, of: 1000) == true)
        #expect(counter?.isWithin(0, of: 999) == false)
        #expect(counter?.isWithin(1, of: 999) == true)
        #expect(counter?.isWithin(0, of: .max) == true)
        #expect(WireCounter(WireCounter.greatest)?.isWithin(WireCounter.greatest, of: 0) == true)
        #expect(WireCounter(WireCounter.greatest)?.isWithin(WireCounter.greatest - 1, of: 0) == false)
    }

    @Test("counters are ordered as their values")
    func order() {
        let values: [UInt64] = [0, 1, 2, WireCounter.greatest]
        let counters = values.compactMap(WireCounter.init)
        #expect(counters == counters.sorted() && counters.map(\.value) == values)
    }
}
