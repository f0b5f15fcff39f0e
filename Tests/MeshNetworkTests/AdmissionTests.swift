import LibP2P
import MeshNetwork
import Testing
import Timing

@Suite("Admission by the network token")
struct AdmissionTests {
    let prover = AdmissionProof(key: SecretBytes(copying: [UInt8](repeating: 7, count: 32)))
    let stranger = AdmissionProof(key: SecretBytes(copying: [UInt8](repeating: 8, count: 32)))
    let binding = [UInt8](repeating: 1, count: 32)
    let alice: PeerID
    let bob: PeerID

    init() throws {
        let first = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 1, count: 32))).peerID
        let second = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 2, count: 32))).peerID
        (alice, bob) = first < second ? (first, second) : (second, first)
    }

    private func exchange(
        _ prover: AdmissionProof, _ role: AdmissionProof.Role, binding: [UInt8]? = nil
    ) -> AdmissionExchange {
        AdmissionExchange(
            prover: prover, role: role, local: role == .opener ? alice : bob,
            remote: role == .opener ? bob : alice,
            channelBinding: binding ?? self.binding)
    }

    private func sent(_ effects: [AdmissionExchange.Effect]) -> [UInt8] {
        effects.flatMap { effect -> [UInt8] in
            if case .send(let bytes) = effect { return bytes }
            return []
        }
    }

    @Test("two ends with one token admit each other in one round trip, whatever the pieces")
    func roundTrip() {
        var opener = exchange(prover, .opener)
        var responder = exchange(prover, .responder)
        #expect(responder.start().isEmpty)
        let hello = sent(opener.start())
        #expect(hello.count == 33)
        var answer: [AdmissionExchange.Effect] = []
        for byte in hello { answer += responder.receive([byte]) }
        #expect(answer.contains(.admit))
        #expect(opener.receive(sent(answer)) == [.admit])
    }

    @Test("a responder says nothing to an opener with another token")
    func wrongToken() {
        var opener = exchange(stranger, .opener)
        var responder = exchange(prover, .responder)
        #expect(responder.receive(sent(opener.start())) == [.refuse(.wrongProof)])
    }

    @Test("a proof is worth nothing on another channel, and cannot be sent back")
    func bound() {
        var opener = exchange(prover, .opener)
        let hello = sent(opener.start())
        var elsewhere = exchange(prover, .responder, binding: [UInt8](repeating: 2, count: 32))
        #expect(elsewhere.receive(hello) == [.refuse(.wrongProof)])
        #expect(opener.receive(hello) == [.refuse(.wrongProof)])
    }

    @Test("another version, surplus bytes and an early end are refused")
    func malformed() {
        var version = exchange(prover, .responder)
        #expect(version.receive([2]) == [.refuse(.unknownVersion(2))])
        var surplus = exchange(prover, .responder)
        #expect(surplus.receive([UInt8](repeating: 1, count: 34)) == [.refuse(.surplusBytes)])
        var early = exchange(prover, .responder)
        #expect(early.end() == [.refuse(.ended)])
    }

    @Test("the lesser peer opens at once, the greater one only after its patience")
    func whoOpens() {
        var lesser = AdmissionCore(localPeer: alice)
        var greater = AdmissionCore(localPeer: bob)
        _ = lesser.receive(.connected(bob), at: .zero)
        _ = greater.receive(.connected(alice), at: .zero)
        #expect(lesser.receive(.identified(bob, speaksAdmission: true), at: .zero) == [.open(bob)])
        #expect(greater.receive(.identified(alice, speaksAdmission: true), at: .zero).isEmpty)
        #expect(greater.nextDeadline == Instant.zero + AdmissionCore.patience)
        #expect(greater.receive(.tick, at: Instant.zero + AdmissionCore.patience) == [.open(alice)])
    }

    @Test("a peer is admitted once, and dismissed when it is gone")
    func life() {
        var core = AdmissionCore(localPeer: alice)
        _ = core.receive(.connected(bob), at: .zero)
        #expect(core.receive(.admitted(bob), at: .zero) == [.admitted(bob)])
        #expect(core.receive(.admitted(bob), at: .zero).isEmpty)
        #expect(core.admitted == [bob])
        #expect(core.receive(.disconnected(bob), at: .zero) == [.dismissed(bob)])
        #expect(
            core.receive(.admitted(bob), at: .zero).isEmpty,
            "a run that ends after its connection admits nobody")
    }

    @Test("a peer that keeps failing is disconnected, a stock peer is left alone")
    func failures() {
        var core = AdmissionCore(localPeer: alice)
        _ = core.receive(.connected(bob), at: .zero)
        _ = core.receive(.identified(bob, speaksAdmission: false), at: .zero)
        #expect(core.nextDeadline == nil)
        for _ in 1..<AdmissionCore.mostFailures {
            #expect(core.receive(.refused(bob, .wrongProof), at: .zero).isEmpty)
        }
        #expect(core.receive(.refused(bob, .wrongProof), at: .zero) == [.disconnect(bob)])
        #expect(core.refusals == AdmissionCore.mostFailures)
        _ = core.receive(.disconnected(bob), at: .zero)
        _ = core.receive(.connected(bob), at: .zero)
        #expect(core.receive(.refused(bob, .wrongProof), at: .zero) == [.disconnect(bob)], "no fresh tries")
    }
}
