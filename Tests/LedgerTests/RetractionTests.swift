import Ledger
import LibP2P
import Testing
import Timing

@Suite("Retractions")
struct RetractionTests {
    @Test(
        "A retraction clears an old entry of one's own where it is held, and yields to the true owner's newer one"
    )
    func clears() throws {
        // Given a key that two nodes claimed: one ledger has the loser's entry, one the winner's.
        let loser = Identity.generate()
        let winner = Identity.generate()
        let now = UnixTime(seconds: 1_767_225_600)
        let id = EntryID(bucket: "machines", key: "10.1.0.7")
        func value(_ identity: Identity) -> LedgerText {
            LedgerText(#"{"PeerID":"\#(identity.peerID)","Address":"10.1.0.7"}"#)
        }
        var holdsLoser = Ledger()
        var holdsWinner = Ledger()
        for identity in [loser, winner] {
            let beat = EntryID(bucket: "healthcheck", key: identity.peerID.description)
            _ = try holdsLoser.put(beat, value: #""2026-01-01T00:00:00Z""#, by: identity, at: now)
            _ = try holdsWinner.put(beat, value: #""2026-01-01T00:00:00Z""#, by: identity, at: now)
        }
        let old = try #require(try holdsLoser.put(id, value: value(loser), by: loser, at: now)?.new)
        let later = now + .seconds(1)
        let truth = try #require(try holdsWinner.put(id, value: value(winner), by: winner, at: later)?.new)
        #expect(
            holdsLoser.merge(Block(storage: ["machines": ["10.1.0.7": truth]]), at: later).changes.isEmpty)
        // When the loser retracts, by a node whose ledger has the winner's entry.
        let retraction = try #require(
            holdsWinner.retraction(of: id, version: old.version, by: loser, at: later))
        _ = holdsLoser.merge(Block(storage: ["machines": ["10.1.0.7": retraction]]), at: later)
        _ = holdsLoser.merge(Block(storage: ["machines": ["10.1.0.7": truth]]), at: later)
        // Then both have the winner's, and the retraction did not disturb who had it already.
        #expect(holdsLoser.entry(id) == truth)
        #expect(
            holdsWinner.merge(Block(storage: ["machines": ["10.1.0.7": retraction]]), at: later).changes
                .isEmpty)
        #expect(holdsWinner.entry(id) == truth)
        #expect(holdsWinner.retraction(of: id, version: .max, by: loser, at: later) == nil)
    }
}
