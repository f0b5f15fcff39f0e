import LibP2P
import Testing
import Timing

@testable import Coordination

@Suite("Voters and reasons")
struct VotersTests {
    /// A running cluster of `count` members, and its founder.
    private func running(count: Int, quorum: Int, seed: UInt64) throws -> (ElectionWorld, Int) {
        var world = ElectionWorld(count: count, quorum: quorum, seed: seed)
        world.run(for: .seconds(5))
        let decree = try #require(world.decree(0))
        let founder = try #require(world.index(of: decree.founder.peer))
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(3))
        try #require(world.decrees.allSatisfy { $0.isRunning })
        return (world, founder)
    }

    @Test("operators' words on all that are left found anew, though the server is gone and its voter with it")
    func refoundingWithoutServer() throws {
        var (world, founder) = try running(count: 9, quorum: 6, seed: 1)
        world.crash(founder, for: .seconds(86_400))
        world.run(for: .seconds(2))
        for index in 0..<9 where index != founder {
            world.wish(ElectionWishes(refoundAfter: 1), by: index)
        }
        world.run(for: .seconds(30))
        let others = (0..<9).filter { $0 != founder }.compactMap { world.decree($0) }
        #expect(others.allSatisfy { $0.epoch == 2 })
    }

    /// Keys that anybody can make.
    private let made = (100...108).map { testIdentity(seed: [UInt8](repeating: $0, count: 32)) }

    @Test("made keys found nothing, however many they are and whatever number they choose")
    func madeCertificates() throws {
        var (world, founder) = try running(count: 3, quorum: 2, seed: 2)
        let before = world.decrees
        let evil = ElectedServer(peer: made[0].peerID, uuid: "evil")
        let voters = made.map(\.peerID)
        for number in [2, 3, 4, 10, WireCounter.greatest] {
            for epoch in [UInt64(1), 2] {
                let decree = Decree(
                    number: number, epoch: epoch, founder: evil, isRunning: true, servers: [evil],
                    forgotten: [],
                    voters: voters)
                for electorate in [Electorate.voters(voters), .recovered(voters.sorted())] {
                    let certificate = try #require(
                        testCertificate(decree, by: made, among: electorate, network: "test"))
                    for index in 0..<3 {
                        for holder in [evil.peer, world.peer(founder)] {
                            world.tell(.certificate(certificate, holder: holder), to: index)
                        }
                    }
                }
            }
        }
        world.run(for: .seconds(60))
        #expect(world.decrees == before)
        #expect(Set(world.decisions.map(\.certificate.decree.founder.peer)).count == 1)
    }

    @Test("the votes of made keys do not found a cluster either: only members that were met decide")
    func madeVotes() throws {
        var world = ElectionWorld(count: 1, quorum: 3, seed: 3)
        world.run(for: .seconds(3))
        let ballot = Ballot(round: 1, proposer: made[0].peerID)
        let evil = ElectedServer(peer: made[0].peerID, uuid: "evil")
        let decree = Decree.founding(evil, voters: made.prefix(3).map(\.peerID))
        let accepts = testAccepts(
            decree, by: made, among: .members(quorum: 3), network: "test", ballot: ballot)
        for accept in accepts {
            let register = ElectionRegister(
                scope: world.scope, card: MemberCard(uuid: "evil", name: "evil", forcedRole: nil),
                promised: ballot,
                accepted: accept, drive: .init(ballot: ballot, decree: decree))
            world.tell(.register(accept.acceptor, register), to: 0)
        }
        world.run(for: .seconds(60))
        #expect(world.decisions.isEmpty)
        #expect(world.register(0)?.promised == nil, "it has not answered them")
    }

    /// What a voter that lies says: it drives `decree` at a ballot above all others, as if it had been promised.
    private func drive(
        _ decree: Decree, by liar: Int, round: UInt64, in world: inout ElectionWorld, members: Int
    ) {
        let identity = world.identity(liar)
        let ballot = Ballot(round: round, proposer: identity.peerID)
        let electorate = Electorate.voters(world.decree(liar)?.voters ?? [])
        let accept = testAccepts(
            decree, by: [identity], among: electorate, network: "test", ballot: ballot)[0]
        for proposed in [nil, decree] {
            let register = ElectionRegister(
                scope: world.scope, card: world.card(liar), number: decree.number, promised: ballot,
                accepted: proposed == nil ? nil : accept, drive: .init(ballot: ballot, decree: proposed),
                missesFounder: true)
            for index in 0..<members where index != liar {
                world.tell(.register(identity.peerID, register), to: index)
                world.run(for: .milliseconds(200))
            }
        }
    }

    @Test(
        "a voter that lies has nobody sign another epoch, a removal of who is here, or votes for its own keys"
    )
    func liar() throws {
        var (world, founder) = try running(count: 5, quorum: 3, seed: 4)
        let decree = try #require(world.decree(founder))
        let liar = (founder + 1) % 5
        let itself = ElectedServer(peer: world.peer(liar), uuid: world.card(liar).uuid)
        let victim = (founder + 2) % 5
        let keys = made.prefix(3).map(\.peerID)
        let lies = [
            decree.refounded(by: itself), decree.adding(itself),
            try #require(decree.forgetting([world.peer(victim)])),
            decree.naming(voters: [itself.peer]), decree.naming(voters: keys),
            decree.naming(voters: [decree.voters[0], itself.peer, keys[0]]),
        ]
        for (number, lie) in lies.enumerated() {
            #expect(lie.follows(decree), "it is well-formed, so that only the reason is missing")
            drive(lie, by: liar, round: UInt64(10 * (number + 1)), in: &world, members: 5)
            for index in 0..<5 where index != liar {
                #expect(world.register(index)?.accepted == nil, "lie \(number), member \(index)")
            }
        }
        #expect(Set(world.decrees) == [decree])
        // And the others still decide, although the liar tells of an accept at a higher ballot.
        world.crash(victim, for: .seconds(3600))
        world.wish(ElectionWishes(founderIsReady: true, forget: [world.peer(victim)]), by: founder)
        world.run(for: .seconds(60))
        #expect(world.decree(founder)?.forgotten == [world.peer(victim)])
        #expect(world.decree(founder)?.epoch == 1)
    }

    @Test("a round far above all others counts for nothing, whoever says it")
    func farRounds() throws {
        for round in [DecreeElection.window + 2, WireCounter.greatest - 1, WireCounter.greatest] {
            var world = ElectionWorld(count: 3, quorum: 3, seed: 5)
            world.run(for: .milliseconds(100))
            for speaker in [made[0].peerID, world.peer(1)] {
                let ballot = Ballot(round: round, proposer: speaker)
                for drive in [nil, ElectionRegister.Drive(ballot: ballot, decree: nil)] {
                    let register = ElectionRegister(
                        scope: world.scope, card: world.card(1), promised: ballot, drive: drive)
                    for index in 0..<3 { world.tell(.register(speaker, register), to: index) }
                }
            }
            world.run(for: .seconds(20))
            #expect(world.founders.count == 1 && world.undecided.isEmpty, "round \(round)")
        }
    }

    @Test(
        "voters are odd: a second node does not make the first depend on it, a third gets a vote after a minute"
    )
    func growth() throws {
        var world = ElectionWorld(count: 3, quorum: 1, seed: 6)
        world.run(for: .milliseconds(600))
        for late in [1, 2] { world.crash(late, for: .seconds(late == 1 ? 10 : 100)) }
        world.run(for: .seconds(5))
        world.wish(ElectionWishes(founderIsReady: true), by: 0)
        world.run(for: .seconds(90))
        #expect(world.decree(0)?.voters == [world.peer(0)], "two are no better than one")
        world.run(for: .seconds(40))
        #expect(world.decree(0)?.voters.count == 1, "the third has come just now")
        world.run(for: .seconds(60))
        #expect(Set(world.decree(0)?.voters ?? []) == Set((0..<3).map(world.peer)))
        #expect(world.decrees.allSatisfy { $0 == world.decree(0) })
    }

    @Test(
        "a voter that is gone is replaced after a quarter of an hour, where somebody can be, and not before")
    func replacement() throws {
        var (world, founder) = try running(count: 4, quorum: 3, seed: 7)
        let voters = try #require(world.decree(founder)).voters
        #expect(voters.count == 3)
        let lost = try #require(voters.first { $0 != world.peer(founder) })
        let index = try #require(world.index(of: lost))
        world.crash(index, for: .seconds(86_400))
        world.run(for: .seconds(14 * 60))
        #expect(world.decree(founder)?.voters == voters)
        world.run(for: .seconds(3 * 60))
        let after = try #require(world.decree(founder)).voters
        #expect(after.count == 3 && !after.contains(lost))
        // Nobody is left to take the place of the next one, which may come back.
        let next = try #require(after.first { $0 != world.peer(founder) })
        world.crash(try #require(world.index(of: next)), for: .seconds(86_400))
        world.run(for: .seconds(30 * 60))
        #expect(world.decree(founder)?.voters == after)
    }

    @Test("after most voters are lost the nodes that stay go on, once each was told, and not before")
    func recovery() throws {
        var (world, founder) = try running(count: 5, quorum: 3, seed: 8)
        let decree = try #require(world.decree(founder))
        let lost = (0..<5).filter { $0 != founder }.prefix(3)
        let other = try #require((0..<5).first { $0 != founder && !lost.contains($0) })
        for index in lost { world.crash(index, for: .seconds(86_400)) }
        world.wish(ElectionWishes(founderIsReady: true, forget: [world.peer(lost[0])]), by: founder)
        world.run(for: .seconds(3600))
        #expect(world.decree(founder) == decree, "two of five decide nothing")
        world.recover(founder)
        world.run(for: .seconds(120))
        #expect(world.decree(founder) == decree, "the other node has not been told")
        #expect(world.election(founder)?.recoveryMissing == [world.peer(other)])
        world.recover(other)
        world.run(for: .seconds(60))
        for index in [founder, other] {
            let after = try #require(world.decree(index))
            #expect(
                after.voters == [world.peer(founder)] && after.epoch == 1 && after.servers == decree.servers)
            #expect(after.forgotten.contains(world.peer(lost[0])), "and they decide again")
        }
    }

    @Test("made keys that say they leave are not written down as gone, and cannot hold up a recovery")
    func madeKeysLeave() throws {
        var (world, founder) = try running(count: 3, quorum: 2, seed: 11)
        let decree = try #require(world.decree(founder))
        let card = MemberCard(uuid: "evil", name: "evil", forcedRole: nil)
        for key in made {
            let register = ElectionRegister(
                scope: world.scope, card: card, number: decree.number + 1, hasLeft: true)
            for index in 0..<3 { world.tell(.register(key.peerID, register), to: index) }
        }
        world.run(for: .seconds(30))
        #expect(Set(world.decrees) == [decree])
        // One of them has the token and is here.
        for index in 0..<3 where index != founder { world.crash(index, for: .seconds(86_400)) }
        world.tell(.present([made[0].peerID]), to: founder)
        world.tell(
            .register(
                made[0].peerID, ElectionRegister(scope: world.scope, card: card, number: decree.number + 1)),
            to: founder)
        world.recover(founder)
        world.run(for: .seconds(30))
        #expect(world.decree(founder)?.voters == [world.peer(founder)])
    }

    @Test("who was not told keeps to the voters it knows, and says that the others have gone on without it")
    func notTold() throws {
        var (world, founder) = try running(count: 5, quorum: 3, seed: 9)
        let decree = try #require(world.decree(founder))
        let away = (founder + 1) % 5
        world.cut([away])
        for index in 0..<5 where index != away && index != founder {
            world.crash(index, for: .seconds(86_400))
        }
        world.run(for: .seconds(2))
        world.recover(founder)
        world.run(for: .seconds(60))
        let after = try #require(world.decree(founder))
        #expect(after.number > decree.number)
        world.stopFaults()
        world.run(for: .seconds(60))
        #expect(world.decree(away) == decree)
        #expect(world.election(away)?.rivalDecrees[world.peer(founder)] == after)
        world.recover(away)
        world.run(for: .seconds(60))
        #expect(world.decree(away)?.epoch == 1 && world.decree(away)?.voters == world.decree(founder)?.voters)
    }

    @Test("who knows nothing believes members that are here, and nobody where they contradict each other")
    func newcomer() throws {
        let members = (1...4).map { testIdentity(seed: [UInt8](repeating: $0, count: 32)) }
        let scope = ElectionScope(network: "n", quorum: 1)
        func certificate(by index: Int) throws -> DecreeCertificate {
            let founder = ElectedServer(peer: members[index].peerID, uuid: "u\(index)")
            return try #require(
                testCertificate(
                    .founding(founder, voters: [founder.peer]), by: [members[index]],
                    among: .members(quorum: 1)))
        }
        func node(_ identity: Identity) -> DecreeElection {
            DecreeElection(
                configuration: .init(
                    scope: scope, identity: identity,
                    card: MemberCard(uuid: "me", name: "me", forcedRole: nil)),
                restored: nil, random: SeededGenerator(seed: 1), at: .zero)
        }
        func decided(_ election: DecreeElection) -> PeerID? {
            election.state.certificate?.decree.founder.peer
        }
        let (first, second) = (try certificate(by: 1), try certificate(by: 2))
        var me = node(members[0])
        _ = me.receive(.certificate(first, holder: members[1].peerID), at: .zero)
        #expect(decided(me) == nil, "its holder is not here")
        _ = me.receive(.present([members[1].peerID]), at: .zero)
        #expect(decided(me) == members[1].peerID)

        var torn = node(members[0])
        _ = torn.receive(.certificate(first, holder: members[1].peerID), at: .zero)
        _ = torn.receive(.certificate(second, holder: members[2].peerID), at: .zero)
        _ = torn.receive(.present([members[1].peerID, members[2].peerID]), at: .zero)
        for second in 1...300 { _ = torn.receive(.tick, at: .zero + .seconds(Int64(second))) }
        #expect(decided(torn) == nil && torn.state.accepted == nil, "it neither follows nor founds")
        #expect(
            torn.obstacle?.what.contains("u1 and u2") == true
                || torn.obstacle?.what.contains("u2 and u1") == true)

        // Who has signed it itself knows it again, though nobody else is here.
        var founder = node(members[1])
        _ = founder.receive(.certificate(first, holder: members[3].peerID), at: .zero)
        #expect(decided(founder) == members[1].peerID)
    }

    @Test("nobody founds while a member that is here knows of a decision")
    func foundingIsOver() {
        var world = ElectionWorld(count: 1, quorum: 1, seed: 10)
        world.run(for: .milliseconds(600))
        let member = made[0].peerID
        world.tell(.present([member]), to: 0)
        let card = MemberCard(uuid: "u", name: "n", forcedRole: nil)
        world.tell(.register(member, ElectionRegister(scope: world.scope, card: card, number: 4)), to: 0)
        world.run(for: .seconds(120))
        #expect(world.decisions.isEmpty)
        #expect(world.obstacle(0)?.what.contains("a member to tell of the cluster") == true)
    }

    @Test("a node whose disk may have lost its votes is silent at first, and founds alone only after minutes")
    func amnesia() {
        var election = DecreeElection(
            configuration: .init(
                scope: ElectionScope(network: "n", quorum: 1), identity: made[0],
                card: MemberCard(uuid: "u", name: "n", forcedRole: nil), isAmnesiac: true),
            restored: nil, random: SeededGenerator(seed: 1), at: .zero)
        var now = Instant.zero
        var foundedAt: Instant?
        for _ in 0..<1000 where foundedAt == nil {
            var inputs: [DecreeElection.Input] = [.tick]
            while !inputs.isEmpty {
                for effect in election.receive(inputs.removeFirst(), at: now) {
                    switch effect {
                    case .persist(_, let number): inputs.append(.persisted(number))
                    case .decided: foundedAt = now
                    case .publish, .publishCertificate: break
                    }
                }
            }
            now = now + .seconds(1)
        }
        #expect(foundedAt.map { $0 >= .zero + .seconds(299) } == true)
    }
}

@Suite("Clusters of former builds")
struct FormerBuildTests {
    /// What the last build without voters has left on the disks of three nodes: the founding, that the cluster runs,
    /// and one more server, decided by any two.
    private func formerState(of owner: Int, among members: [Identity]) throws -> ElectionState {
        let servers = [0, 1].map { ElectedServer(peer: members[$0].peerID, uuid: "uuid-\($0)") }
        let decree = Decree(
            number: 3, epoch: 1, founder: servers[0], isRunning: true, servers: servers, forgotten: [],
            formerQuorum: 2)
        let certificate = try #require(
            testCertificate(
                decree, by: [members[0], members[2]], among: .members(quorum: 2), network: "test"))
        let state = ElectionState(
            scope: ElectionScope(network: "test", quorum: 2), owner: members[owner].peerID,
            certificate: certificate)
        // As text it is what that build wrote.
        let text = ElectionCodec.encode(state).replacing("\"version\":2", with: "\"version\":1")
        #expect(text.contains("\"quorum\":2") && !text.contains("voters") && !text.contains("electorate"))
        return try #require(ElectionCodec.state(from: text))
    }

    @Test("they name their servers and then other members as voters, by themselves and once")
    func migration() throws {
        var world = ElectionWorld(count: 3, quorum: 2, seed: 20)
        let members = (0..<3).map(world.identity)
        for index in 0..<3 { world.setDisk(try formerState(of: index, among: members), of: index) }
        world.run(for: .seconds(10))
        let decree = try #require(world.decree(2))
        #expect(decree.formerQuorum == nil && decree.number == 4 && decree.voters == [world.peer(0)])
        #expect(decree.epoch == 1 && decree.servers.map(\.peer) == [world.peer(0), world.peer(1)])
        world.run(for: .seconds(120))
        let later = try #require(world.decree(2))
        #expect(Set(later.voters) == Set((0..<3).map(world.peer)) && later.number == 5)
        world.run(for: .seconds(3600))
        #expect(world.decrees.allSatisfy { $0 == later }, "once")
    }

    @Test("the word of any two keys, which was enough for them, is not any more")
    func forgedFormer() throws {
        var world = ElectionWorld(count: 3, quorum: 2, seed: 21)
        let members = (0..<3).map(world.identity)
        for index in 0..<3 { world.setDisk(try formerState(of: index, among: members), of: index) }
        world.run(for: .seconds(1))
        let made = (100...102).map { testIdentity(seed: [UInt8](repeating: $0, count: 32)) }
        let evil = ElectedServer(peer: made[0].peerID, uuid: "evil")
        for number in [4, 10, 1000] as [UInt64] {
            let forged = Decree(
                number: number, epoch: 2, founder: evil, isRunning: true, servers: [evil], forgotten: [],
                formerQuorum: 2)
            let certificate = try #require(
                testCertificate(forged, by: made, among: .members(quorum: 2), network: "test"))
            for index in 0..<3 {
                world.tell(.certificate(certificate, holder: evil.peer), to: index)
                world.tell(.certificate(certificate, holder: members[(index + 1) % 3].peerID), to: index)
            }
        }
        world.run(for: .seconds(60))
        #expect(world.decrees.allSatisfy { $0.epoch == 1 && $0.founder.peer == world.peer(0) })
    }
}
