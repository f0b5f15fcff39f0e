import LibP2P
import Testing
import Timing

@testable import Coordination

@Suite("Decrees")
struct DecreeTests {
    let servers = (1...4).map { number in
        ElectedServer(
            peer: testIdentity(seed: [UInt8](repeating: UInt8(number), count: 32)).peerID, uuid: "u-\(number)"
        )
    }

    @Test("each decree follows from the last by one change, and nothing else does")
    func succession() throws {
        let peers = servers.map(\.peer)
        let founding = Decree.founding(servers[0], voters: Array(peers.prefix(3)))
        #expect(founding.follows(nil))
        #expect(!founding.running.follows(nil))
        let running = founding.running
        let two = running.adding(servers[1])
        let without = try #require(two.forgetting([servers[1].peer]))
        let back = try #require(without.recalling(servers[1].peer))
        let named = two.naming(voters: [peers[0], peers[1], peers[3]])
        let anew = founding.refounded(by: servers[2])
        for (next, previous) in [
            (running, founding), (two, running), (without, two), (back, without), (named, two),
            (anew, founding),
        ] {
            #expect(next.follows(previous))
            #expect(next.descends(from: previous))
            #expect(!next.follows(next))
            #expect(!previous.follows(next))
        }
        #expect(!running.running.follows(running), "a cluster runs once")
        #expect(!founding.adding(servers[1]).follows(founding), "nobody joins what does not run")
        #expect(!without.adding(servers[1]).follows(without), "a forgotten node serves no more")
        #expect(!two.naming(voters: two.voters).follows(two), "nothing is changed")
        for voters in [
            [], Array(peers.prefix(2)), [peers[0], peers[0], peers[1]],
            [peers[0], peers[1], servers[1].peer],
        ] {
            #expect(!two.naming(voters: voters).follows(two), "an odd number of different ones")
        }
        #expect(!without.naming(voters: [peers[1]]).follows(without), "a forgotten node has no vote")
        #expect(running.adding(servers[3]).with(voters: [peers[3]]).follows(running), "with other voters")
        #expect(!founding.with(voters: [peers[1]]).follows(nil), "a founder has a vote")
        #expect(
            !Decree(
                number: WireCounter.greatest, epoch: 1, founder: servers[0], isRunning: true,
                servers: [servers[0]],
                forgotten: [], voters: [peers[0]]
            ).running.isWellFormed, "the last number has no successor")
        #expect(!two.adding(servers[2]).adding(servers[3]).follows(two))
        #expect(running.forgetting([servers[0].peer]) == nil, "a server must be left")
        #expect(!without.adding(servers[2]).follows(two))
    }

    @Test("a decree of another founding of the same epoch is no descendant")
    func rivals() {
        let peers = servers.map(\.peer)
        let ours = Decree.founding(servers[0], voters: [peers[0]])
        let theirs = Decree.founding(servers[1], voters: [peers[1]]).running.adding(servers[2])
        #expect(!theirs.descends(from: ours))
        #expect(ours.running.adding(servers[2]).adding(servers[3]).descends(from: ours))
        #expect(ours.refounded(by: servers[1]).running.descends(from: ours))
    }
}

@Suite("What comes after the founding")
struct LaterDecreeTests {
    /// A founded cluster, and which member founded it.
    private func founded(count: Int = 3, quorum: Int = 2, seed: UInt64, forced: [Int: ForcedRole] = [:])
        throws
        -> (world: ElectionWorld, founder: Int)
    {
        var world = ElectionWorld(count: count, quorum: quorum, seed: seed, forced: forced)
        world.run(for: .seconds(5))
        let decree = try #require(world.decree(0))
        return (world, try #require(world.index(of: decree.founder.peer)))
    }

    /// A running cluster of which the founder and one more member are servers.
    private func runningWithTwoServers(seed: UInt64) throws
        -> (world: ElectionWorld, founder: Int, servers: [PeerID])
    {
        var (world, founder) = try founded(seed: seed)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(2))
        let ready = ElectionWishes(
            founderIsReady: true, additionalServers: 1, readyServers: [world.peer(founder)])
        // Who accepts a server more has been asked for one as well.
        for index in 0..<3 { world.wish(ready, by: index) }
        world.run(for: .seconds(5))
        let servers = try #require(world.decree(founder)).servers.map(\.peer)
        try #require(servers.count == 2)
        return (world, founder, servers)
    }

    @Test("a founder that is ready makes the cluster run; the others know within a second")
    func running() throws {
        var (world, founder) = try founded(seed: 1)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(1))
        #expect(world.decrees.count == 3 && world.decrees.allSatisfy { $0.isRunning && $0.number == 2 })
        #expect(world.violations.isEmpty)
    }

    @Test("a founder that dies before its cluster runs is replaced, and steps back when it returns")
    func refounding() throws {
        var (world, founder) = try founded(seed: 2)
        let old = world.peer(founder)
        world.crash(founder, for: .seconds(60))
        world.run(for: .seconds(30))
        let others = (0..<3).filter { $0 != founder }.compactMap { world.decree($0) }
        #expect(others.count == 2 && others.allSatisfy { $0.epoch == 2 && $0.founder.peer != old })
        world.run(for: .seconds(40))
        #expect(world.decree(founder)?.epoch == 2)
        #expect(world.founders.count == 1)
    }

    @Test("a founder that loses its data before its cluster runs has it founded anew, and never after it ran")
    func lostData() throws {
        var (world, founder) = try founded(seed: 12)
        world.wish(ElectionWishes(founderLostData: true), by: founder)
        for _ in 0..<100 where world.decree(founder)?.epoch == 1 { world.run(for: .milliseconds(50)) }
        world.wish(ElectionWishes(), by: founder)
        world.run(for: .seconds(5))
        #expect(world.decrees.count == 3 && world.decrees.allSatisfy { $0.epoch == 2 && !$0.isRunning })

        (world, founder) = try founded(seed: 12)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(2))
        world.wish(ElectionWishes(founderLostData: true), by: founder)
        world.run(for: .seconds(60))
        #expect(world.decrees.allSatisfy { $0.epoch == 1 && $0.isRunning })
    }

    @Test("a founder that is away for less than its time stays the founder")
    func patience() throws {
        var (world, founder) = try founded(seed: 3)
        world.crash(founder, for: .seconds(10))
        world.run(for: .seconds(60))
        #expect(world.decrees.allSatisfy { $0.epoch == 1 })
    }

    @Test("a cluster that has run is never founded anew, however long its founder is away")
    func neverAgain() throws {
        var (world, founder) = try founded(seed: 4)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(2))
        world.crash(founder, for: .seconds(86_400))
        world.run(for: .seconds(3600))
        #expect(world.decisions.allSatisfy { $0.certificate.decree.epoch == 1 })
    }

    @Test("operators' words on most voters found anew, once")
    func reset() throws {
        var (world, founder) = try founded(seed: 5)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(2))
        let other = (founder + 1) % 3
        world.cut([other])
        world.wish(ElectionWishes(), by: founder)
        world.wish(ElectionWishes(refoundAfter: 1), by: other)
        world.run(for: .seconds(60))
        #expect(world.decrees.allSatisfy { $0.epoch == 1 })
        world.stopFaults()
        world.run(for: .seconds(60))
        #expect(
            world.decrees.allSatisfy { $0.epoch == 1 }, "the servers are there: the word of one is not enough"
        )
        world.wish(ElectionWishes(refoundAfter: 1), by: (founder + 2) % 3)
        world.run(for: .seconds(20))
        #expect(world.decrees.count == 3 && world.decrees.allSatisfy { $0.epoch == 2 && !$0.isRunning })
        world.run(for: .seconds(60))
        #expect(world.decrees.allSatisfy { $0.epoch == 2 }, "one word is good for one founding")
    }

    @Test("servers are added one at a time, each when the last is ready, and never more than asked")
    func servers() throws {
        var (world, founder) = try founded(count: 5, quorum: 3, seed: 6)
        var wishes = ElectionWishes(founderIsReady: true, additionalServers: 2)
        for index in 0..<5 { world.wish(wishes, by: index) }
        world.run(for: .seconds(10))
        #expect(world.decree(founder)?.servers.count == 1, "the founder is not ready to be joined")
        for ready in 1...4 {
            let servers = try #require(world.decree(founder)?.servers)
            wishes.readyServers = Set(servers.map(\.peer))
            for index in 0..<5 { world.wish(wishes, by: index) }
            world.run(for: .seconds(15))
            #expect(world.decree(founder)?.servers.count == min(3, ready + 1))
        }
        #expect(Set(world.decrees).count == 1)
    }

    @Test("a forgotten server makes room for another, and is a plain member when it returns")
    func forgetting() throws {
        var (world, founder) = try founded(count: 5, quorum: 3, seed: 7)
        var wishes = ElectionWishes(founderIsReady: true, additionalServers: 1)
        wishes.readyServers = [world.peer(founder)]
        for index in 0..<5 { world.wish(wishes, by: index) }
        world.run(for: .seconds(15))
        let second = try #require(world.decree(founder)?.servers.last?.peer)
        let lost = try #require(world.index(of: second))
        #expect(lost != founder)
        world.crash(lost, for: .seconds(300))
        wishes.forget = [second]
        world.wish(wishes, by: founder)
        world.run(for: .seconds(60))
        let after = try #require(world.decree(founder))
        #expect(!after.isServer(second) && after.servers.count == 2 && after.forgotten == [second])
        wishes.forget = []
        world.wish(wishes, by: founder)
        world.run(for: .seconds(300))
        #expect(world.decree(founder)?.forgotten == [], "it is back")
        #expect(world.decree(founder)?.isServer(second) == false)
    }

    @Test("who leaves is forgotten and not called back, also after a restart")
    func leaving() throws {
        var (world, founder) = try founded(seed: 8)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(2))
        let leaver = (founder + 1) % 3
        world.leave(leaver)
        world.run(for: .seconds(10))
        #expect(world.decree(founder)?.forgotten == [world.peer(leaver)])
        world.crash(leaver, for: .seconds(2))
        world.run(for: .seconds(30))
        #expect(world.decrees.allSatisfy { $0.forgotten == [world.peer(leaver)] })
    }

    @Test("a server leaves once most of those that stay are here and ready, and not before")
    func leavingServer() throws {
        var (world, founder, servers) = try runningWithTwoServers(seed: 10)
        let founderPeer = world.peer(founder)
        let second = try #require(world.index(of: servers[1]))
        world.leave(founder)
        // The second has not been ready: the data would be gone.
        for index in 0..<3 {
            world.wish(ElectionWishes(founderIsReady: true, readyServers: [founderPeer]), by: index)
        }
        world.run(for: .seconds(30))
        #expect(world.decree(founder)?.forgotten == [])
        world.crash(second, for: .seconds(20))
        for index in 0..<3 {
            world.wish(ElectionWishes(founderIsReady: true, readyServers: Set(servers)), by: index)
        }
        world.run(for: .seconds(18))
        #expect(world.decree(founder)?.forgotten == [], "it is away")
        world.run(for: .seconds(20))
        #expect(world.decree(founder)?.forgotten == [founderPeer])
    }

    @Test("the only server that has ever been ready is not forgotten, whoever says so, and none that is here")
    func onlyData() throws {
        var (world, founder, servers) = try runningWithTwoServers(seed: 14)
        let founderPeer = world.peer(founder)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        let third = try #require((0..<3).first { !servers.contains(world.peer($0)) })
        let second = try #require(world.index(of: servers[1]))
        func say(_ ready: Set<PeerID>, in world: inout ElectionWorld) {
            world.wish(ElectionWishes(readyServers: ready), by: second)
            world.wish(ElectionWishes(readyServers: ready, forget: [founderPeer]), by: third)
            world.run(for: .seconds(30))
        }
        say(Set(servers), in: &world)
        #expect(world.decree(third)?.forgotten == [], "it is here")
        world.crash(founder, for: .seconds(3600))
        say([founderPeer], in: &world)
        #expect(world.decree(third)?.forgotten == [], "it has all the data")
        say(Set(servers), in: &world)
        #expect(world.decree(third)?.forgotten == [founderPeer])
    }

    @Test("a forgotten server that is not out of etcd yet is not called back before it is")
    func notYetBack() throws {
        var (world, founder) = try founded(seed: 11)
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(2))
        let other = (founder + 1) % 3
        world.wish(ElectionWishes(founderIsReady: true, forget: [world.peer(other)]), by: founder)
        world.run(for: .seconds(5))
        #expect(world.decree(founder)?.forgotten == [], "it is here")
        world.crash(other, for: .seconds(8))
        world.wish(ElectionWishes(isDeparting: true), by: other)
        world.run(for: .seconds(10))
        world.wish(ElectionWishes(founderIsReady: true), by: founder)
        world.run(for: .seconds(60))
        #expect(world.decree(founder)?.forgotten == [world.peer(other)])
        world.wish(ElectionWishes(), by: other)
        world.run(for: .seconds(10))
        #expect(world.decree(founder)?.forgotten == [])
    }

    @Test(
        "under crashes, partitions and failing disks each number has one decree, and none founds after running",
        arguments: [3, 4, 5])
    func safety(members: Int) throws {
        for seed in UInt64(1)...10 {
            var faults = ElectionWorld.Faults()
            faults.longestDelay = .milliseconds(400)
            faults.loss = 0.2
            faults.crash = 0.01
            faults.longestOutage = .seconds(20)
            faults.partition = 0.03
            faults.writeFailure = 0.05
            var world = ElectionWorld(count: members, quorum: members / 2 + 1, seed: seed, faults: faults)
            for _ in 0..<60 {
                world.run(for: .seconds(2))
                // Everyone wants what its own view suggests, at every moment.
                for index in 0..<members {
                    let isFounder = world.decree(index)?.founder.peer == world.peer(index)
                    let servers = world.decree(index)?.servers.map(\.peer) ?? []
                    world.wish(
                        ElectionWishes(
                            founderIsReady: isFounder, additionalServers: 1, readyServers: Set(servers)),
                        by: index)
                }
            }
            var byNumber: [UInt64: Set<Decree>] = [:]
            for (_, certificate) in world.decisions {
                byNumber[certificate.decree.number, default: []].insert(certificate.decree)
            }
            for (number, decrees) in byNumber {
                #expect(decrees.count == 1, "seed \(seed): \(decrees.count) decrees of number \(number)")
            }
            let running = byNumber.values.joined().filter(\.isRunning)
            #expect(Set(running.map(\.epoch)).count <= 1, "seed \(seed): two epochs have run")
            #expect(world.violations.isEmpty, "seed \(seed): \(world.violations)")
        }
    }
}
