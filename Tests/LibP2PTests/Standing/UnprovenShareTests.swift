import Multiformats
import Synchronization
import Testing
import Timing

@testable import LibP2P

@Suite("places of the unproven")
struct UnprovenShareTests {
    private func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: 1_000_000_000) + .nanoseconds(Int64(seconds * 1e9))
    }

    private func v4(_ number: UInt32) -> AddressGroup { AddressGroup(.v4(IPv4Address(number))) }

    @Test("an address has its share, and a newcomer takes a place of its own address")
    func perAddress() {
        var random = SeededGenerator(seed: 1)
        var share = UnprovenShare<Int>(capacity: 128, perAddress: 16, patience: .seconds(20))
        for id in 0..<16 { #expect(share.enter(id, from: v4(1), at: at(0), using: &random) == nil) }
        #expect(share.enter(9999, from: v4(2), at: at(0), using: &random) == nil)
        for id in 16..<500 {
            let victim = share.enter(id, from: v4(1), at: at(0), using: &random)
            #expect(victim != nil && victim != 9999 && victim != id)
            #expect(share.count == 17 && share.contains(id) && share.contains(9999))
        }
    }

    @Test("the addresses of one IPv6 /64 are one, an IPv4 address mapped into IPv6 is itself")
    func groups() {
        let first = AddressGroup(.v6(IPv6Address(high: 0xfd00_0000_0000_0001, low: 1)))
        #expect(first == AddressGroup(.v6(IPv6Address(high: 0xfd00_0000_0000_0001, low: 99))))
        #expect(first != AddressGroup(.v6(IPv6Address(high: 0xfd00_0000_0000_0002, low: 1))))
        #expect(v4(0x0a00_0001) == AddressGroup(.v6(IPv6Address(high: 0, low: 0xffff_0a00_0001))))
        #expect(v4(1) != v4(2))
    }

    @Test("when all places are taken, who holds most loses one, the longest there first", arguments: 0..<20)
    func capacity(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var share = UnprovenShare<Int>(capacity: 128, perAddress: 16, patience: .seconds(20))
        // Seven addresses with 16 each, and 16 that have one each.
        for id in 0..<112 {
            let time = at(id == 50 ? 0 : 30)
            _ = share.enter(id, from: v4(UInt32(id / 16)), at: time, using: &random)
        }
        for id in 112..<128 { _ = share.enter(id, from: v4(UInt32(id)), at: at(30), using: &random) }
        #expect(share.count == 128)
        // Only one of those that hold most has had its time.
        #expect(share.enter(200, from: v4(500), at: at(31), using: &random) == 50)
        for id in 201..<230 {
            let victim = share.enter(id, from: v4(UInt32(id)), at: at(31), using: &random)
            #expect(victim.map { $0 < 112 } ?? false, "somebody with a single place has lost it")
        }
        #expect(share.count == 128)
    }

    @Test("the choice follows from the seed")
    func deterministic() {
        func run() -> [Int?] {
            var random = SeededGenerator(seed: 7)
            var share = UnprovenShare<Int>(capacity: 8, perAddress: 2, patience: .seconds(20))
            return (0..<200).map { id in
                share.enter(id, from: v4(UInt32(id % 9)), at: at(Double(id)), using: &random)
            }
        }
        #expect(run() == run())
        #expect(Set(run().compactMap { $0 }).count > 100)
    }

    @Test("any order of coming and going keeps the bounds", arguments: 0..<20)
    func fuzz(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var share = UnprovenShare<Int>(capacity: 12, perAddress: 5, patience: .seconds(1))
        var held: [Int: UInt32] = [:]
        for id in 0..<2000 {
            if Int.random(in: 0..<4, using: &random) == 0, let gone = held.keys.randomElement(using: &random)
            {
                share.leave(gone)
                held[gone] = nil
            }
            let address = UInt32.random(in: 0..<6, using: &random)
            let victim = share.enter(id, from: v4(address), at: at(Double(id) / 10), using: &random)
            if let victim { #expect(held.removeValue(forKey: victim) != nil) }
            held[id] = address
            #expect(share.count == held.count && held.count <= 12)
            #expect(held.values.count { $0 == address } <= 5)
        }
        for id in held.keys { share.leave(id) }
        #expect(share.count == 0)
    }

    @Test("64 silent sockets do not keep a newcomer out of the gate, and one of them is closed for it")
    func gate() throws {
        final class Closed: Sendable {
            let ids = Mutex<[Int]>([])
        }
        let closed = Closed()
        let gate = InboundGate(limits: SwarmLimits(), clock: SystemTime(), seed: 3)
        for id in 0..<64 {
            let source = IPAddress.v4(IPv4Address(UInt32(0x0a00_0000 + id / 16)))
            #expect(gate.enter(remote: source, local: nil) { closed.ids.withLock { $0.append(id) } } != nil)
        }
        #expect(gate.pendingCount == 64)
        for id in 100..<120 {
            let pass = gate.enter(remote: .v4(IPv4Address(0x0b00_0000)), local: nil) {
                closed.ids.withLock { $0.append(id) }
            }
            gate.leave(try #require(pass))
        }
        #expect(closed.ids.withLock { $0 }.count == 1)
        // An address that opens more than its share closes its own.
        for id in 200..<300 {
            _ = gate.enter(remote: .v4(IPv4Address(0x0c00_0000)), local: nil) {
                closed.ids.withLock { $0.append(id) }
            }
        }
        #expect(gate.pendingCount == 64)
        #expect(closed.ids.withLock { $0.count { $0 >= 200 } } >= 84)
        #expect(gate.counters.evicted == closed.ids.withLock { $0 }.count)
        gate.shut()
        #expect(gate.enter(remote: .v4(IPv4Address(1)), local: nil) {} == nil)
    }
}
