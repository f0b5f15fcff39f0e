import LibP2P
import Testing
import Timing

@testable import Coordination

@Suite("Certificates of decrees")
struct DecreeCertificateTests {
    let members = (1...12).map { testIdentity(seed: [UInt8](repeating: $0, count: 32)) }

    private func founding(by index: Int = 1, voters: [Int] = [1, 0, 2], uuid: String = "u") -> Decree {
        .founding(
            ElectedServer(peer: members[index].peerID, uuid: uuid), voters: voters.map { members[$0].peerID })
    }

    private func voters(_ indices: [Int]) -> Electorate { .voters(indices.map { members[$0].peerID }) }

    private func made(
        _ decree: Decree, by indices: [Int], among electorate: Electorate, links: [CertificateLink] = []
    ) -> DecreeCertificate? {
        testCertificate(decree, by: indices.map { members[$0] }, among: electorate, links: links)
    }

    @Test("a quorum of valid accepts of one value at one ballot is a certificate; anything less is not")
    func proof() throws {
        let quorum = Electorate.members(quorum: 2)
        let certificate = try #require(made(founding(), by: [0, 1], among: quorum))
        #expect(ElectionCodec.certificate(from: ElectionCodec.encode(certificate)) == certificate)
        #expect(self.made(founding(), by: [0], among: quorum) == nil)
        #expect(self.made(founding(), by: [0, 0], among: quorum) == nil)
        let accepts = testAccepts(founding(), by: [members[0], members[1]], among: quorum)
        func assembled(
            _ decree: Decree, network: String = "n", electorate: Electorate, ballot: Ballot? = nil
        ) -> DecreeCertificate? {
            DecreeCertificate(
                network: network, electorate: electorate, ballot: ballot ?? accepts[0].ballot, decree: decree,
                accepts: accepts)
        }
        #expect(assembled(founding(), electorate: quorum) != nil)
        #expect(assembled(founding(by: 2), electorate: quorum) == nil)
        #expect(
            assembled(founding(voters: [1, 0, 3]), electorate: quorum) == nil, "the voters are signed too")
        #expect(assembled(founding(), network: "other", electorate: quorum) == nil)
        #expect(assembled(founding(), electorate: .members(quorum: 1)) == nil)
        #expect(assembled(founding(), electorate: voters([0, 1, 2])) == nil)
        #expect(
            assembled(founding(), electorate: quorum, ballot: Ballot(round: 2, proposer: members[0].peerID))
                == nil)
    }

    @Test(
        "after the founding only a majority of named voters makes a certificate, and members without a name none"
    )
    func namedVoters() {
        let running = founding().running
        #expect(made(running, by: [0, 1], among: voters([0, 1, 2])) != nil)
        #expect(made(running, by: [0], among: voters([0, 1, 2])) == nil)
        #expect(made(running, by: [0, 3], among: voters([0, 1, 2])) == nil, "one has no vote")
        #expect(made(running, by: [0, 1, 3], among: voters([0, 1, 2])) == nil)
        #expect(
            made(running, by: [0, 1], among: .members(quorum: 2)) == nil, "that is for the founding")
        #expect(made(founding(), by: [0, 1], among: voters([0, 1, 2])) == nil)
        #expect(made(running, by: [0, 1], among: voters([0, 1])) == nil, "an even number is none")
        #expect(made(running, by: [0, 1], among: voters([0, 0, 1])) == nil)
        #expect(made(running, by: Array(0..<11), among: voters(Array(0..<11))) == nil, "too many")
        #expect(made(running, by: [0], among: .recovered([members[0].peerID])) != nil)
        let both = Electorate.recovered([members[0].peerID, members[1].peerID].sorted())
        #expect(made(running, by: [0], among: both) == nil, "all of them")
    }

    @Test("whoever knows the voters believes their majority, and no number of keys that nobody named")
    func belief() throws {
        let known = founding().running
        let next = known.adding(ElectedServer(peer: members[2].peerID, uuid: "u2"))
        let trusted = known.voters
        let real = try #require(made(next, by: [0, 2], among: voters([1, 0, 2])))
        #expect(real.isReached(from: trusted, number: known.number, obeysRecovery: false))
        // Nine made keys, which name each other.
        let sybils = Array(3..<12)
        let evil = ElectedServer(peer: members[3].peerID, uuid: "evil")
        for number in [known.number + 1, known.number + 40, WireCounter.greatest] {
            let forged = Decree(
                number: number, epoch: 2, founder: evil, isRunning: true, servers: [evil], forgotten: [],
                voters: sybils.map { members[$0].peerID })
            for electorate in [voters(sybils), .recovered(sybils.map { members[$0].peerID }.sorted())] {
                let proven = try #require(made(forged, by: sybils, among: electorate))
                #expect(!proven.isReached(from: trusted, number: known.number, obeysRecovery: false))
            }
            // One real voter helps them.
            let helped = try #require(made(forged, by: [0, 3, 4], among: voters([0, 3, 4])))
            #expect(!helped.isReached(from: trusted, number: known.number, obeysRecovery: false))
        }
        #expect(
            made(
                Decree(
                    number: .max, epoch: 2, founder: evil, isRunning: true, servers: [evil], forgotten: [],
                    voters: [evil.peer]), by: [3], among: voters([3])) == nil)
    }

    /// Decrees whose voters change one after the other, from [1, 0, 2] to [7, 6, 8], with their certificates.
    private func chain() throws -> [DecreeCertificate] {
        var decree = founding().running
        var deciding = [1, 0, 2]
        var links: [CertificateLink] = []
        var certificates: [DecreeCertificate] = []
        for next in [[1, 0, 3], [1, 3, 4], [4, 3, 5], [6, 4, 5], [6, 7, 5], [7, 6, 8]] {
            decree = decree.naming(voters: next.map { members[$0].peerID })
            let certificate = try #require(
                made(decree, by: Array(deciding.prefix(2)), among: voters(deciding), links: links))
            certificates.append(certificate)
            links = (links + [certificate.link].compactMap { $0 }).suffix(CertificateLink.most)
            deciding = next
        }
        return certificates
    }

    @Test("who was away while all voters changed finds its way by the links, and not without one of them")
    func links() throws {
        let chain = try chain()
        let newest = try #require(chain.last)
        #expect(newest.links.count == 5)
        let trusted = founding().running.voters
        #expect(newest.isReached(from: trusted, number: 2, obeysRecovery: false))
        #expect(ElectionCodec.certificate(from: ElectionCodec.encode(newest)) == newest)
        // By the third of them most of those who vote are none whom the first voters had named.
        for missing in 2..<newest.links.count {
            var links = newest.links
            links.removeSubrange(...missing)
            #expect(
                !newest.with(links: links).isReached(from: trusted, number: 2, obeysRecovery: false),
                "\(missing)")
        }
        #expect(!newest.with(links: []).isReached(from: trusted, number: 2, obeysRecovery: false))
    }

    @Test("a link that is not signed by its voters makes the whole text worthless")
    func forgedLink() throws {
        let newest = try #require(try chain().last)
        let link = newest.links[2]
        let name = try #require(link.votes.keys.min()).description
        let text = ElectionCodec.encode(newest)
        #expect(ElectionCodec.certificate(from: text) != nil)
        #expect(
            ElectionCodec.certificate(from: text.replacing(name, with: members[11].peerID.description)) == nil
        )
        let voter = try #require(link.voters.first).description
        #expect(
            ElectionCodec.certificate(from: text.replacing(voter, with: members[11].peerID.description))
                == nil)
    }

    @Test("an altered certificate text proves nothing")
    func alteredText() throws {
        let certificate = try #require(
            made(founding(uuid: "uuid-a"), by: [0, 2], among: .members(quorum: 2)))
        let text = ElectionCodec.encode(certificate)
        #expect(ElectionCodec.certificate(from: text.replacing("uuid-a", with: "uuid-b")) == nil)
        #expect(
            ElectionCodec.certificate(from: text.replacing("\"members\":2", with: "\"members\":1")) == nil)
        let outsider = members[9].peerID.description
        #expect(
            ElectionCodec.certificate(from: text.replacing(members[0].peerID.description, with: outsider))
                == nil)
        #expect(ElectionCodec.certificate(from: String(text.dropLast())) == nil)
        #expect(ElectionCodec.certificate(from: "") == nil)
    }

    @Test("registers and saved states survive their encoding, and counters above their bound do not")
    func roundTrips() throws {
        let scope = ElectionScope(network: "n", quorum: 2)
        let ballot = Ballot(round: WireCounter.greatest, proposer: members[0].peerID)
        let decree = founding(uuid: "ü-\"quoted\"")
        let accept = try #require(
            testAccepts(decree, by: [members[1]], among: .members(quorum: 2), ballot: ballot).first)
        let register = ElectionRegister(
            scope: scope, card: MemberCard(uuid: "u", name: "n", forcedRole: .master), promised: ballot,
            accepted: accept,
            drive: .init(ballot: ballot, decree: decree, recovered: [members[0].peerID]), recovers: true)
        let text = ElectionCodec.encode(register)
        #expect(ElectionCodec.register(from: text) == register)
        let greatest = String(WireCounter.greatest)
        for round in [
            "281474976710656", "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1",
        ] {
            #expect(
                ElectionCodec.register(from: text.replacing(greatest, with: round)) == nil, "round \(round)")
            #expect(
                ElectionCodec.register(from: text.replacing("\"number\":1", with: "\"number\":\(round)"))
                    == nil)
        }
        let state = ElectionState(
            scope: scope, owner: members[1].peerID, promised: ballot, accepted: accept,
            highestDrivenRound: WireCounter.greatest, recovers: true)
        #expect(ElectionCodec.state(from: ElectionCodec.encode(state)) == state)
        #expect(ElectionCodec.state(from: "{}") == nil)
    }
}
