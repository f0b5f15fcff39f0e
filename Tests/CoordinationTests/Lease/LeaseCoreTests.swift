import Coordination
import Testing
import Timing

@Suite("The lease of the API address and of the right to restart")
struct LeaseCoreTests {
    private func settled(_ count: Int, seed: UInt64 = 1) -> LeaseWorld {
        var world = LeaseWorld(count, seed: seed)
        world.run(.seconds(12)) { $0.holder != nil }
        return world
    }

    @Test("a server that was always alone holds the address at once")
    func alone() {
        var world = LeaseWorld(1, seed: 1)
        #expect(world.holder == 0)
        world.run(.seconds(60))
        #expect(world.holder == 0)
        #expect(world.moves.count == 1)
    }

    @Test("an ill server does not hold it, and takes it once it is well")
    func ill() {
        var world = LeaseWorld(1, seed: 1)
        world.setHealth(0, false)
        #expect(world.holder == nil)
        world.run(.seconds(5))
        #expect(world.holder == nil)
        world.setHealth(0, true)
        world.run(.seconds(1))
        #expect(world.holder == 0)
    }

    @Test("of two servers none holds it while the other is away", arguments: [1, 2, 3])
    func two(seed: UInt64) {
        var world = settled(2, seed: seed)
        #expect(world.holder != nil)
        world.kill(1 - (world.holder ?? 0))
        world.run(.seconds(4))
        #expect(world.holder == nil)
    }

    @Test("it stays where it is while nothing fails", arguments: [2, 3, 5])
    func steady(count: Int) {
        var world = settled(count)
        world.run(.seconds(600))
        #expect(world.moves.count == 1)
        #expect(world.violations == [])
    }

    enum Failing: CaseIterable {
        case killed, cutOff, deaf, mute, frozen, ill
    }

    @Test(
        "it moves within 10 seconds when its holder fails in any way, and does not come back",
        arguments: Failing.allCases, [3, 5])
    func failover(failing: Failing, count: Int) {
        var worst = Duration.zero
        for seed in 0..<20 as Range<UInt64> {
            var world = settled(count, seed: seed)
            guard let first = world.holder else { Issue.record("no holder, seed \(seed)"); return }
            world.run(world.random.duration(in: .zero ... .seconds(5)))
            let start = world.now
            switch failing {
            case .killed: world.kill(first)
            case .cutOff: world.cutOff(first)
            case .deaf: world.cutOff(first, sending: false)
            case .mute: world.cutOff(first, receiving: false)
            case .frozen: world.freeze(first)
            case .ill: world.setHealth(first, false)
            }
            world.run(.seconds(20)) { ($0.moves.last?.to ?? first) != first }
            let took = world.now - start
            worst = max(worst, took)
            #expect(took < .seconds(10), "\(failing), \(count) servers, seed \(seed)")
            switch failing {
            case .killed: world.start(first)
            case .cutOff, .deaf, .mute: world.heal()
            case .frozen: world.thaw(first)
            case .ill: world.setHealth(first, true)
            }
            let moves = world.moves.count
            world.run(.seconds(60))
            #expect(world.moves.count == moves, "it came back: \(failing), \(count) servers, seed \(seed)")
            #expect(world.violations == [], "seed \(seed)")
        }
        print("failover \(failing) of \(count): worst \(worst)")
    }

    @Test("given back, it is taken at once")
    func release() {
        var world = settled(3)
        let first = world.holder ?? 0
        world.feed(.stop, to: first)
        world.run(.seconds(1))
        #expect(world.holder != nil && world.holder != first)
    }

    @Test("a holder that restarts gets it back from those that granted it, before it would move")
    func restarted() {
        var world = settled(3)
        let first = world.holder ?? 0
        world.kill(first)
        world.run(.milliseconds(500))
        world.start(first)
        world.run(.seconds(2))
        #expect(world.holder == first)
    }

    @Test("a grantor that restarts does not cost the holder its lease")
    func grantorRestarts() {
        var world = settled(2)
        let first = world.holder ?? 0
        world.kill(1 - first)
        world.run(.milliseconds(500))
        world.start(1 - first)
        world.run(.seconds(30))
        #expect(world.moves.count == 1)
        #expect(world.holder == first)
    }

    @Test(
        "servers come and go by decree, one at a time, without two holders",
        arguments: 0..<30 as Range<UInt64>)
    func changes(seed: UInt64) {
        var world = LeaseWorld(4, seed: seed)
        world.decree(3, [0], telling: [0, 1, 2, 3])
        world.run(.seconds(12))
        #expect(world.holder == 0)
        var number: UInt64 = 4
        for members in [[0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3], [1, 3]] {
            // Half learn of it now, the others in a while; a majority of the former set knows the former.
            var telling = [0, 1, 2, 3].shuffled(using: &world.random)
            let late = Array(telling.suffix(2))
            telling.removeLast(2)
            world.decree(number, members, telling: telling)
            world.run(world.random.duration(in: .zero ... .seconds(8)))
            world.decree(number, members, telling: late)
            world.run(.seconds(20))
            #expect(world.holder.map(members.contains) == true, "\(members), seed \(seed)")
            number += 1
        }
        #expect(world.violations == [], "seed \(seed)")
    }

    @Test(
        "under every fault at once there are no two holders, and one soon after",
        arguments: 0..<200 as Range<UInt64>)
    func faults(seed: UInt64) {
        var setup = SeededGenerator(seed: seed ^ 0xFA17)
        let count = [2, 3, 3, 5].randomElement(using: &setup) ?? 3
        var world = LeaseWorld(count, seed: seed)
        world.loss = Double.random(in: 0...0.2, using: &setup)
        world.longestDelay = .milliseconds(Int64.random(in: 5...400, using: &setup))
        for index in world.servers.indices {
            world.servers[index].rate = Int64.random(in: 900...1100, using: &setup)
        }
        for index in world.servers.indices { world.start(index) }
        for _ in 0..<25 {
            let index = Int.random(in: 0..<count, using: &setup)
            switch Int.random(in: 0..<9, using: &setup) {
            case 0: world.kill(index)
            case 1, 2: if world.servers[index].core == nil { world.start(index) }
            case 3: world.freeze(index)
            case 4: if world.servers[index].isFrozen { world.thaw(index) }
            case 5: world.cutOff(index, sending: .random(using: &setup), receiving: .random(using: &setup))
            case 6: world.heal()
            case 7: world.setHealth(index, .random(using: &setup))
            default: world.feed(.wantsRestart(.random(using: &setup)), to: index)
            }
            world.run(setup.duration(in: .zero ... .seconds(4)))
        }
        #expect(world.violations == [], "seed \(seed)")
        // All is well again.
        world.heal()
        world.loss = 0
        world.longestDelay = .milliseconds(50)
        for index in world.servers.indices {
            if world.servers[index].core == nil { world.start(index) }
            if world.servers[index].isFrozen { world.thaw(index) }
            world.setHealth(index, true)
            world.feed(.wantsRestart(false), to: index)
        }
        world.run(.seconds(20)) { $0.holder != nil }
        #expect(world.holder != nil, "seed \(seed)")
        // A holder that had fallen silent when the faults ended may lose it once more.
        world.run(.seconds(12))
        let moves = world.moves.count
        world.run(.seconds(30))
        #expect(world.moves.count == moves, "it flaps, seed \(seed)")
        #expect(world.violations == [], "seed \(seed)")
    }

    @Test("one server restarts at a time, the next when it is done")
    func restarts() {
        var world = settled(3)
        world.run(.seconds(100))
        for index in 0..<3 { world.feed(.wantsRestart(true), to: index) }
        var done: [Int] = []
        for _ in 0..<3 {
            world.run(.seconds(120)) { world in world.servers.indices.contains { world.holds($0, .restart) } }
            guard let index = world.servers.indices.first(where: { world.holds($0, .restart) }) else { break }
            #expect(!world.holds(index), "who restarts has handed the address on")
            done.append(index)
            world.run(.seconds(40))
            #expect(world.holds(index, .restart))
            world.feed(.wantsRestart(false), to: index)
        }
        #expect(Set(done) == [0, 1, 2])
        #expect(world.violations == [])
    }

    @Test("who is no server is not answered, and nobody is under an older decree")
    func strangers() {
        let world = LeaseWorld(3, seed: 1)
        let now = world.now + .seconds(100)
        let servers = LeaseServers(
            number: 5, epoch: 1, members: [world.servers[0].peer, world.servers[1].peer])
        var core = LeaseCore(localPeer: world.servers[0].peer, incarnation: 1, at: world.now)
        _ = core.receive(.servers(servers), at: world.now)
        func request(_ number: UInt64) -> LeaseMessage {
            LeaseMessage(
                kind: .request, resource: .api, number: number, term: 9, nonce: 7, milliseconds: 2000)
        }
        #expect(core.receive(.message(world.servers[2].peer, request(5)), at: now) == [])
        func kinds(_ effects: [LeaseCore.Effect]) -> [LeaseMessage.Kind] {
            effects.compactMap { if case .send(_, let message) = $0 { message.kind } else { nil } }
        }
        #expect(kinds(core.receive(.message(world.servers[1].peer, request(4)), at: now)) == [.deny])
        #expect(kinds(core.receive(.message(world.servers[1].peer, request(6)), at: now)) == [.grant])
    }

    @Test(
        "a server that keeps still neither grants nor asks, and takes part again above the terms it was told meanwhile"
    )
    func keepingStill() {
        let world = LeaseWorld(3, seed: 1)
        let members = world.servers.map(\.peer)
        var now = world.now + .seconds(100)
        func servers(still: Bool) -> LeaseServers {
            LeaseServers(number: 5, epoch: 1, members: members, keepsStill: still)
        }
        var core = LeaseCore(localPeer: members[0], incarnation: 1, at: world.now)
        _ = core.receive(.servers(servers(still: true)), at: world.now)
        _ = core.receive(.healthy(true), at: now)
        func request(_ term: UInt64) -> LeaseMessage {
            LeaseMessage(kind: .request, resource: .api, number: 5, term: term, nonce: 7, milliseconds: 2000)
        }
        #expect(core.receive(.message(members[1], request(9)), at: now) == [])
        #expect(core.receive(.published(members[1], term: 40), at: now) == [])
        for _ in 0..<60 {
            now = now + .seconds(1)
            #expect(core.receive(.tick, at: now) == [], "it asks for nothing")
        }
        var asked: [UInt64] = []
        for effect in core.receive(.servers(servers(still: false)), at: now) {
            if case .send(_, let message) = effect, message.kind == .request { asked.append(message.term) }
        }
        #expect(!asked.isEmpty && asked.allSatisfy { $0 == 41 }, "asked under \(asked)")
    }

    @Test("a term that another server published is left behind")
    func terms() {
        var world = settled(3)
        let first = world.holder ?? 0
        world.feed(.published(world.servers[(first + 1) % 3].peer, term: 77), to: first)
        #expect(world.servers[first].core?.holding(.api)?.term == 78)
        world.run(.seconds(20))
        #expect(world.holder == first)
    }

    @Test("a node that is no server cannot use up the terms", arguments: [0, 4] as [UInt64])
    func termsOfOutsiders(kind: UInt64) {
        var world = settled(3)
        let first = world.holder ?? 0
        let outsider = LeaseWorld(5, seed: 9).servers[4].peer
        #expect(!world.servers.contains { $0.peer == outsider })
        for index in 0..<3 {
            for _ in 0..<200 {
                let release = LeaseMessage(
                    kind: .release, resource: .api, number: 1, term: WireCounter.greatest - kind, nonce: 1)
                world.feed(.message(outsider, release), to: index)
                world.feed(.published(outsider, term: WireCounter.greatest - kind), to: index)
            }
        }
        world.kill(first)
        world.run(.seconds(20)) { $0.holder != nil && $0.holder != first }
        let next = world.holder ?? first
        #expect(next != first)
        #expect((world.servers[next].core?.holding(.api)?.term ?? .max) < 100)
    }

    @Test("a server that tells terms far ahead to some of the others does not keep them from holding")
    func termsFarAhead() {
        var world = settled(3)
        let first = world.holder ?? 0
        let (liar, other) = (world.servers[first].peer, (first + 1) % 3)
        world.kill(first)
        for step in 0..<40 as Range<UInt64> {
            let kinds: [LeaseMessage.Kind] = [.release, .request, .deny]
            for kind in kinds {
                let lie = LeaseMessage(
                    kind: kind, resource: .api, number: 9, term: WireCounter.greatest - step, nonce: step)
                world.feed(.message(liar, lie), to: other)
            }
            world.feed(.published(liar, term: WireCounter.greatest - step), to: other)
        }
        world.run(.seconds(120)) { $0.holder != nil && $0.holder != first }
        let next = world.holder ?? first
        #expect(next != first)
        #expect((world.servers[next].core?.holding(.api)?.term ?? .max) < 1 << 24)
        #expect(world.violations == [])
    }

    @Test("terms and decree numbers that no cluster reaches are refused")
    func numbersOutOfRange() {
        let fine = LeaseMessage(
            kind: .request, resource: .api, number: WireCounter.greatest, term: WireCounter.greatest, nonce: 1
        )
        #expect(LeaseMessage(fine.bytes) == fine)
        for (number, term) in [(WireCounter.greatest + 1, 1), (1, WireCounter.greatest + 1), (.max, .max)] {
            let message = LeaseMessage(kind: .request, resource: .api, number: number, term: term, nonce: 1)
            #expect(LeaseMessage(message.bytes) == nil)
        }
        #expect(APIHolding(text: APIHolding(decree: 1, epoch: 1, term: .max, held: true).text) == nil)
    }

    @Test("messages survive their bytes, and other bytes are refused without harm")
    func codec() {
        var random = SeededGenerator(seed: 5)
        for _ in 0..<2000 {
            let kind: LeaseMessage.Kind =
                [.request, .grant, .deny, .release].randomElement(using: &random) ?? .deny
            let message = LeaseMessage(
                kind: kind, resource: .random(using: &random) ? .api : .restart,
                isHeld: .random(using: &random),
                number: .random(in: 0...WireCounter.greatest, using: &random),
                term: .random(in: 0...LeaseMessage.highestTerm, using: &random),
                nonce: .random(in: 0 ... .max, using: &random),
                milliseconds: .random(in: 0...LeaseMessage.longestLease, using: &random))
            var bytes = message.bytes
            #expect(bytes.count == LeaseMessage.length)
            #expect(LeaseMessage(bytes) == message)
            bytes[Int.random(in: 0..<4, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            #expect(LeaseMessage(bytes) == nil)
            #expect(LeaseMessage(Array(bytes.dropLast())) == nil)
            let noise = (0..<36).map { _ in UInt8.random(in: 0...255, using: &random) }
            _ = LeaseMessage(noise)
        }
        let known = LeaseMessage(
            kind: .deny, resource: .api, number: 3, term: 258, nonce: 1, milliseconds: 1500)
        let zeros = [UInt8](repeating: 0, count: 7)
        #expect(
            known.bytes == [3, 1, 0, 0] + zeros + [3] + zeros.dropLast() + [1, 2] + zeros + [1]
                + [0, 0, 5, 220, 252, 254, 255, 255])
    }

    @Test("the address leads to the server with the newest term, to nobody else")
    func routing() {
        let world = LeaseWorld(4, seed: 1)
        let peers = world.servers.map(\.peer)
        let servers = LeaseServers(number: 4, epoch: 2, members: Array(peers.prefix(3)))
        func say(_ epoch: UInt64, _ term: UInt64, _ held: Bool) -> APIHolding {
            APIHolding(decree: 4, epoch: epoch, term: term, held: held)
        }
        #expect(APIHolding.holder(among: [:], servers: servers) == nil)
        let said = [
            peers[0]: say(2, 4, true), peers[1]: say(2, 5, true), peers[2]: say(1, 9, true),
            peers[3]: say(2, 99, true),
        ]
        #expect(APIHolding.holder(among: said, servers: servers) == peers[1])
        #expect(APIHolding.holder(among: [peers[0]: say(2, 4, false)], servers: servers) == nil)
        #expect(APIHolding(text: say(2, 5, true).text) == say(2, 5, true))
        #expect(APIHolding(text: "{}") == nil)
        #expect(APIHolding(text: "[") == nil)
    }
}
