import Coordination
import LibP2P
import Testing
import Timing

@Suite("The election of decrees")
struct DecreeElectionTests {
    @Test("three members that boot together decide one founder within two seconds")
    func quickDecision() {
        var world = ElectionWorld(count: 3, quorum: 3, seed: 1)
        world.run(for: .seconds(2))
        #expect(world.undecided.isEmpty)
        #expect(world.founders.count == 1)
        #expect(world.violations.isEmpty)
    }

    @Test("the founder is the candidate that stock's leader rule prefers")
    func stockRule() {
        var world = ElectionWorld(count: 5, quorum: 3, seed: 2)
        world.run(for: .seconds(5))
        let best =
            (0..<5).max { CandidateOrder.fnv1a("uuid-\($0)") < CandidateOrder.fnv1a("uuid-\($1)") } ?? 0
        #expect(world.founders == [world.peer(best)])
    }

    @Test("a forced master is preferred, a forced worker never chosen")
    func forcedRoles() {
        for forced in 0..<3 {
            let worker = (forced + 1) % 3
            var world = ElectionWorld(
                count: 3, quorum: 2, seed: 3, forced: [forced: .master, worker: .worker])
            world.run(for: .seconds(6))
            #expect(world.founders == [world.peer(forced)])
        }
    }

    @Test("nothing is decided below the quorum, and the obstacle counts who is missing")
    func belowQuorum() throws {
        var world = ElectionWorld(count: 2, quorum: 3, seed: 4)
        world.run(for: .seconds(60))
        #expect(world.decisions.isEmpty)
        let obstacle = try #require(world.obstacle(0))
        #expect(obstacle.what == "1 more node to elect the server (2 of 3 are here: n0, n1)")
    }

    @Test("when all are forced workers the obstacle says so")
    func allWorkers() throws {
        var world = ElectionWorld(count: 2, quorum: 2, seed: 5, forced: [0: .worker, 1: .worker])
        world.run(for: .seconds(30))
        #expect(world.decisions.isEmpty)
        #expect(try #require(world.obstacle(0)).what.contains("p2p.role worker"))
    }

    @Test("a quorum of one founds alone after a look around")
    func alone() {
        var world = ElectionWorld(count: 1, quorum: 1, seed: 6)
        world.run(for: .seconds(3))
        #expect(world.founders == [world.peer(0)])
    }

    @Test("the minority of a partition decides nothing, and learns the majority's decision when it heals")
    func minority() {
        var world = ElectionWorld(count: 5, quorum: 3, seed: 7)
        world.cut([0, 1])
        world.run(for: .seconds(20))
        #expect(world.undecided == [0, 1])
        #expect(world.founders.count == 1)
        world.stopFaults()
        world.run(for: .seconds(5))
        #expect(world.undecided.isEmpty)
        #expect(world.founders.count == 1)
    }

    @Test("a member that lost its disk keeps the promises the network remembers")
    func lostDisk() {
        var world = ElectionWorld(count: 3, quorum: 2, seed: 8)
        world.run(for: .seconds(5))
        let before = world.founders
        world.crash(0, for: .seconds(1), loseDisk: true)
        world.crash(1, for: .seconds(1))
        world.run(for: .seconds(20))
        #expect(world.founders == before)
        #expect(world.undecided.isEmpty)
    }

    @Test(
        "under crashes, partitions, loss and failing disks no two founders are ever decided",
        arguments: [3, 4, 5])
    func safety(members: Int) {
        let quorum = members / 2 + 1
        for seed in UInt64(1)...60 {
            var faults = ElectionWorld.Faults()
            faults.longestDelay = .milliseconds(400)
            faults.loss = 0.2
            faults.crash = 0.02
            faults.partition = 0.05
            faults.writeFailure = 0.05
            var world = ElectionWorld(count: members, quorum: quorum, seed: seed, faults: faults)
            world.run(for: .seconds(20))
            world.stopFaults()
            world.run(for: .seconds(45))
            let founders = Set(world.decisions.map(\.certificate.decree.founder.peer))
            #expect(founders.count == 1, "seed \(seed): \(world.log)")
            #expect(world.undecided.isEmpty, "seed \(seed): still undecided \(world.undecided)")
            #expect(world.violations.isEmpty, "seed \(seed): \(world.violations)")
        }
    }
}

@Suite("The rule that keeps a decision")
struct AcceptedValueTests {
    /// A member fed by hand, whose disk writes at once.
    private struct Hand {
        var election: DecreeElection
        var register: ElectionRegister?
        var publications = 0

        init(_ identity: Identity, uuid: String, scope: ElectionScope) {
            election = DecreeElection(
                configuration: .init(
                    scope: scope, identity: identity,
                    card: MemberCard(uuid: uuid, name: uuid, forcedRole: nil)),
                restored: nil, random: SeededGenerator(seed: 1), at: .zero)
        }

        mutating func feed(_ input: DecreeElection.Input, at now: Instant) {
            var inputs = [input]
            while !inputs.isEmpty {
                for effect in election.receive(inputs.removeFirst(), at: now) {
                    switch effect {
                    case .persist(_, let number): inputs.append(.persisted(number))
                    case .publish(let published): (register, publications) = (published, publications + 1)
                    case .publishCertificate, .decided: break
                    }
                }
            }
        }
    }

    @Test("another register under this node's name is contradicted, but not again and again")
    func restated() throws {
        let scope = ElectionScope(network: "n", quorum: 2)
        let identity = testIdentity(seed: [UInt8](repeating: 1, count: 32))
        var hand = Hand(identity, uuid: "u-1", scope: scope)
        hand.feed(.tick, at: .zero + .seconds(60))
        let own = try #require(hand.register)
        hand.feed(.register(identity.peerID, own), at: .zero + .seconds(61))
        #expect(hand.publications == 1, "it is what was said")
        var other = own
        other.missesFounder = true
        for second in 62...80 {
            hand.feed(.register(identity.peerID, other), at: .zero + .seconds(Int64(second)))
        }
        #expect(hand.publications == 2 && hand.register == own)
        hand.feed(.register(identity.peerID, other), at: .zero + .seconds(95))
        #expect(hand.publications == 3)
    }

    @Test(
        "a value that one member accepted is proposed again, though its founder is gone and another preferred"
    )
    func acceptedValue() throws {
        let scope = ElectionScope(network: "n", quorum: 2)
        let identities = (1...3).map { testIdentity(seed: [UInt8](repeating: $0, count: 32)) }
        // The one that goes is the one that the leader rule prefers.
        let uuids = ["u-1", "u-2", "u-3"].sorted { CandidateOrder.fnv1a($0) > CandidateOrder.fnv1a($1) }
        var first = Hand(identities[0], uuid: uuids[0], scope: scope)
        var witness = Hand(identities[1], uuid: uuids[1], scope: scope)
        var late = Hand(identities[2], uuid: uuids[2], scope: scope)
        let peers = identities.map(\.peerID)

        // The first drives itself with the witness, who accepts; then the first is gone, unheard of by the third.
        var now = Instant.zero
        first.feed(.tick, at: now)
        witness.feed(.tick, at: now)
        first.feed(.register(peers[1], try #require(witness.register)), at: now)
        first.feed(.present([peers[1]]), at: now)
        witness.feed(.present([peers[0]]), at: now)
        now += .seconds(3)
        first.feed(.tick, at: now)
        witness.feed(.register(peers[0], try #require(first.register)), at: now)
        first.feed(.register(peers[1], try #require(witness.register)), at: now)
        #expect(first.register?.drive?.decree?.founder.peer == peers[0])
        // The witness hears the proposal; the proposer is gone before it could say that it accepted as well.
        var proposal = try #require(first.register)
        proposal.accepted = nil
        witness.feed(.register(peers[0], proposal), at: now)
        let accept = try #require(witness.register?.accepted)
        #expect(accept.decree.founder.peer == peers[0])

        // The third drives with the witness: whatever it prefers, the accepted value it must propose.
        now += .seconds(60)
        late.feed(.tick, at: now)
        late.feed(.register(peers[1], try #require(witness.register)), at: now)
        late.feed(.present([peers[1]]), at: now)
        witness.feed(.present([peers[2]]), at: now)
        for _ in 0..<40 where late.election.certificate == nil {
            now += .milliseconds(500)
            late.feed(.tick, at: now)
            witness.feed(.register(peers[2], try #require(late.register)), at: now)
            late.feed(.register(peers[1], try #require(witness.register)), at: now)
        }
        #expect(late.election.certificate?.decree.founder.peer == peers[0])
    }
}
