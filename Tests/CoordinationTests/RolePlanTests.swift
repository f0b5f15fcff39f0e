import Coordination
import LibP2P
import Testing

@Suite("Roles and ledger values")
struct RolePlanTests {
    let founder = testIdentity(seed: [UInt8](repeating: 1, count: 32))
    let other = testIdentity(seed: [UInt8](repeating: 2, count: 32))

    private var certificate: DecreeCertificate? {
        let decree = Decree.founding(
            ElectedServer(peer: founder.peerID, uuid: "u"), voters: [founder.peerID])
        return testCertificate(decree, by: [founder], among: .members(quorum: 1))
    }

    @Test("without a certificate nobody has a role")
    func undecided() {
        #expect(
            RolePlan.plan(for: founder.peerID, forcedRole: .master, highAvailability: false, certificate: nil)
                == .undecided)
    }

    @Test("the founder serves, the others are agents, and a second forced master never founds")
    func roles() throws {
        let certificate = try #require(certificate)
        #expect(
            RolePlan.plan(
                for: founder.peerID, forcedRole: .worker, highAvailability: false, certificate: certificate)
                == .role(.founder, certificate))
        #expect(
            RolePlan.plan(
                for: other.peerID, forcedRole: nil, highAvailability: false, certificate: certificate)
                == .role(.agent, certificate))
        #expect(
            RolePlan.plan(
                for: other.peerID, forcedRole: .master, highAvailability: true, certificate: certificate)
                == .willServe(certificate))
        guard
            case .contradiction = RolePlan.plan(
                for: other.peerID, forcedRole: .master, highAvailability: false, certificate: certificate)
        else {
            Issue.record("a second forced master must be told that it cannot be one")
            return
        }
    }

    @Test("quorums are sure to meet only while twice the quorum exceeds the members")
    func quorums() {
        #expect(!RolePlan.quorumsMayMiss(quorum: 2, members: 3))
        #expect(RolePlan.quorumsMayMiss(quorum: 2, members: 4))
        #expect(!RolePlan.quorumsMayMiss(quorum: .max, members: .max))
    }

    @Test("values of the Kairos bucket are the contract's")
    func kairosValues() {
        #expect(KairosValue.encode("10.1.0.7") == "\"IjEwLjEuMC43Ig==\"")
        #expect(KairosValue.encode("worker") == "\"IndvcmtlciI=\"")
        #expect(
            KairosValue.encode(advertisedAt: "2026-01-01T00:00:00.000000001Z")
                == "\"eyJUaW1lIjoiMjAyNi0wMS0wMVQwMDowMDowMC4wMDAwMDAwMDFaIn0=\"")
        #expect(KairosValue.decodeString("\"IjEwLjEuMC43Ig==\"") == "10.1.0.7")
        #expect(
            KairosValue.decodeAdvertisement("\"eyJUaW1lIjoiMjAyNi0wMS0wMVQwMDowMDowMC4wMDAwMDAwMDFaIn0=\"")
                == "2026-01-01T00:00:00.000000001Z")
        #expect(KairosValue.decodeString("10.1.0.7") == nil)
        #expect(KairosValue.decodeString("\"!!\"") == nil)
    }

    @Test("join facts survive their encoding, and impossible ones are refused")
    func joinFacts() {
        let facts = JoinFacts(epoch: 1, address: "10.1.0.7", token: "0123abcd")
        #expect(JoinFacts(text: facts.text) == facts)
        #expect(facts.url == "https://10.1.0.7:6443")
        #expect(JoinFacts(text: facts.text.replacing("6443", with: "0")) == nil)
        #expect(JoinFacts(text: facts.text.replacing("0123abcd", with: "")) == nil)
        #expect(JoinFacts(text: "[]") == nil)
    }
}
