import Testing

@testable import NodeAgent

@Suite("When unused memory is given back")
struct MemoryHousekeepingTests {
    private static func times(_ housekeeping: inout MemoryHousekeeping, until end: UInt64) -> [UInt64] {
        stride(from: 0, to: end, by: 15).filter { housekeeping.isDue(uptime: $0) }
    }

    @Test("after the start, after joining, and then regularly, each once")
    func times() {
        var heaps = MemoryHousekeeping.heaps
        #expect(Self.times(&heaps, until: 2000) == [15, 60, 600, 1200, 1800])
        // A node that stood still makes up for nothing.
        let afterPause = (heaps.isDue(uptime: 90_000), heaps.isDue(uptime: 90_001))
        #expect(afterPause == (true, false))
        var pages = MemoryHousekeeping.programPages
        #expect(Self.times(&pages, until: 250) == [15, 60, 120, 180, 240])
    }
}
