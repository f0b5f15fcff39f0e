import Testing

@testable import LibP2P

@Suite("Outbound pool")
struct OutboundPoolTests {
    @Test("many that read nothing stay within the pool, and leave something for one that reads")
    func share() {
        let pool = OutboundPool(capacity: 8 << 20)
        var queued = [Int](repeating: 0, count: 60)
        for _ in 0..<200 {
            for peer in queued.indices where pool.admits(64 << 10, queued: queued[peer]) {
                queued[peer] += 64 << 10
                pool.add(64 << 10)
            }
        }
        #expect(pool.used == queued.reduce(0, +) && pool.used < 8 << 20)
        #expect(pool.admits(64 << 10, queued: 0))
        for count in queued { pool.remove(count) }
        #expect(pool.used == 0 && pool.admits(1 << 20, queued: 1 << 20))
    }
}
