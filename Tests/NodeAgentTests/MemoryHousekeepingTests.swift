import Testing

@testable import NodeAgent

@Suite("When unused memory is given back")
struct MemoryHousekeepingTests {
    @Test("after the start, after joining, and every ten minutes, each once")
    func times() {
        var housekeeping = MemoryHousekeeping()
        var due: [UInt64] = []
        for uptime in stride(from: UInt64(0), to: 2000, by: 15) where housekeeping.isDue(uptime: uptime) {
            due.append(uptime)
        }
        #expect(due == [15, 60, 600, 1200, 1800])
        // A node that stood still makes up for nothing.
        let afterPause = (housekeeping.isDue(uptime: 90_000), housekeeping.isDue(uptime: 90_001))
        #expect(afterPause == (true, false))
    }
}
