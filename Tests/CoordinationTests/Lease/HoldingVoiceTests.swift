import Coordination
import Testing
import Timing

@Suite("What a node says of the API address, again")
struct HoldingVoiceTests {
    private func holding(_ term: UInt64, _ held: Bool) -> APIHolding {
        APIHolding(decree: 2, epoch: 1, term: term, held: held)
    }

    @Test("what a former life said is contradicted at once, and again only after a pause")
    func contradicts() {
        var voice = HoldingVoice()
        voice.hear(holding(1, false))
        #expect(voice.nextDeadline == nil, "nothing was said in this life")
        voice.say(holding(1, true))
        voice.hear(holding(1, true))
        #expect(voice.nextDeadline == nil)

        let start = Instant.zero + .seconds(100)
        voice.hear(holding(1, false))
        #expect(voice.due(at: start) == holding(1, true))
        #expect(voice.nextDeadline == nil && voice.due(at: start) == nil)
        // Another machine with the same key contradicts without end.
        voice.hear(nil)
        #expect(voice.due(at: start + .seconds(1)) == nil)
        #expect(voice.nextDeadline == start + HoldingVoice.pause)
        #expect(voice.due(at: start + HoldingVoice.pause) == holding(1, true))
        #expect(voice.own == holding(1, true))
    }

    @Test("a newer word of its own, or the ledger's agreement, ends the matter")
    func settles() {
        var voice = HoldingVoice()
        voice.say(holding(1, true))
        voice.hear(holding(1, false))
        voice.say(holding(2, true))
        #expect(voice.nextDeadline == nil)
        voice.hear(holding(1, false))
        voice.hear(holding(2, true))
        #expect(voice.nextDeadline == nil)
    }
}
