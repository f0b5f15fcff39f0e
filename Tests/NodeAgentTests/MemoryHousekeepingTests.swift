import Testing

@testable import NodeAgent

@Suite("When unused memory is given back")
struct MemoryHousekeepingTests {
    @Test("after the start, and then every minute, each once")
    func times() {
        var housekeeping = MemoryHousekeeping()
        let times = stride(from: 0, to: 250, by: 15).filter { housekeeping.isDue(uptime: UInt64($0)) }
        #expect(times == [15, 60, 120, 180, 240])
        // A node that stood still makes up for nothing.
        let afterPause = (housekeeping.isDue(uptime: 90_000), housekeeping.isDue(uptime: 90_001))
        #expect(afterPause == (true, false))
    }
}
