import Ledger
import LibP2P
import MeshNetwork
import Testing
import Timing

@Suite("Who is here, and who was a short while ago")
struct PresenceLogTests {
    private func owner(_ peer: PeerID) -> LedgerText { LedgerText(peer.description) }

    @Test("who leaves is kept for the window, and who comes back stays")
    func window() {
        let (a, b) = (Identity.generate().peerID, Identity.generate().peerID)
        var log = PresenceLog()
        let isNews = log.update([a, b], at: .zero)
        #expect(isNews)
        #expect(log.owners == [owner(a), owner(b)] && log.nextDeadline == nil)
        let changedAtOnce = log.update([a], at: .zero + .seconds(100))
        #expect(!changedAtOnce, "the owners are the same for eight minutes")
        #expect(log.absentSince == [b: .zero + .seconds(100)])
        #expect(log.nextDeadline == .zero + .seconds(580))
        let expiredEarly = log.expire(at: .zero + .seconds(579))
        #expect(!expiredEarly && log.owners == [owner(a), owner(b)])
        var returned = log
        _ = returned.update([a, b], at: .zero + .seconds(579))
        returned.expire(at: .zero + .seconds(5000))
        #expect(returned.nextDeadline == nil && returned.owners == [owner(a), owner(b)])
        let expired = log.expire(at: .zero + .seconds(580))
        #expect(expired)
        #expect(log.owners == [owner(a)] && log.nextDeadline == nil)
    }

    @Test("a log with a margin forgets later than the others")
    func margin() {
        let peer = Identity.generate().peerID
        var log = PresenceLog(margin: .seconds(10))
        _ = log.update([peer], at: .zero)
        _ = log.update([], at: .zero)
        log.expire(at: .zero + .seconds(489))
        #expect(log.owners == [owner(peer)])
        log.expire(at: .zero + .seconds(490))
        #expect(log.owners.isEmpty)
    }

    @Test("of very many peers that leave those are remembered that left last")
    func bound() throws {
        let peers = try (0..<UInt16(PresenceLog.maximumAbsent + 10)).map { number in
            var seed = [UInt8](repeating: 0, count: 32)
            seed[0] = UInt8(number >> 8)
            seed[1] = UInt8(number & 255)
            return try Identity(seed: SecretBytes(copying: seed)).peerID
        }
        var log = PresenceLog()
        let first = Set(peers.prefix(10))
        _ = log.update(Set(peers), at: .zero)
        _ = log.update(Set(peers).subtracting(first), at: .zero + .seconds(1))
        _ = log.update([], at: .zero + .seconds(2))
        #expect(log.owners.count == PresenceLog.maximumAbsent)
        #expect(log.owners.isDisjoint(with: first.map(owner)))
    }
}
