import LibP2P
import Testing
import Timing

@testable import NodeAgent

@Suite("Who has been away for too long")
struct AbsenceLogTests {
    private let first = Identity.generate().peerID
    private let second = Identity.generate().peerID

    private static func second(_ seconds: Int) -> Instant { .zero + .seconds(seconds) }

    @Test("an absence counts from when it was seen, and begins anew after a visit")
    func counting() {
        var log = AbsenceLog()
        func update(_ present: Set<PeerID>, at seconds: Int) {
            log.update(
                watched: [first, second], present: present, limit: { _ in .seconds(60) },
                at: Self.second(seconds))
        }
        update([second], at: 10)
        #expect(log.nextDeadline == Self.second(70))
        update([], at: 40)
        update([], at: 69)
        #expect(log.absent == [])
        update([], at: 70)
        #expect(log.absent == [first])
        #expect(log.nextDeadline == Self.second(100), "not the moment that is past")
        update([first], at: 80)
        update([], at: 90)
        update([], at: 149)
        #expect(log.absent == [second])
        update([], at: 150)
        #expect(log.absent == [first, second])
        #expect(log.nextDeadline == nil)
    }

    @Test("who has no limit is never away for too long, and who is not watched is forgotten")
    func unlimited() {
        var log = AbsenceLog()
        let limit: (PeerID) -> Duration? = { [first] peer in peer == first ? nil : .seconds(1) }
        log.update(watched: [first, second], present: [], limit: limit, at: .zero)
        log.update(watched: [first, second], present: [], limit: limit, at: Self.second(1_000_000))
        #expect(log.absent == [second])
        log.update(watched: [first], present: [], limit: limit, at: Self.second(1_000_001))
        #expect(log.absent == [])
        #expect(log.nextDeadline == nil)
        log.update(watched: [], present: [], limit: { _ in .seconds(1) }, at: Self.second(1_000_002))
        #expect(log.nextDeadline == nil)
    }
}
