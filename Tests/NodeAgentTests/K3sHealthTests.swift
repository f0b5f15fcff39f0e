import Testing

@testable import NodeAgent

@Suite("What is thought of this node's K3s")
struct K3sHealthTests {
    @Test("it is ill until it has answered, after two failures, and well after one success")
    func verdicts() {
        var health = K3sHealth()
        #expect(health.illness == "it has not been asked yet")
        // What is answered, whether the verdict is known then, and what it is.
        let answers: [(String?, Bool, String?)] = [
            ("refused", false, "it has not been asked yet"), ("refused", true, "refused"), (nil, true, nil),
            ("late", false, nil), (nil, true, nil), ("late", false, nil), ("gone", true, "gone"),
        ]
        for (answer, isKnown, illness) in answers {
            let heard = health.hear(answer)
            #expect(heard == isKnown)
            #expect(health.illness == illness)
        }
    }

    @Test("it is asked every two seconds, and every five while it is well and the only server")
    func pauses() {
        var health = K3sHealth()
        for answer in ["refused", "refused", nil, "late", "late", nil] {
            _ = health.hear(answer)
            #expect(health.pause(servers: 1) == .seconds(answer == nil ? 5 : 2))
            #expect(health.pause(servers: 3) == .seconds(2))
        }
    }
}
