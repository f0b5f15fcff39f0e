import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

@testable import MulticastDNS

@Suite("Service discovery")
struct ServiceDiscoveryTests {
    @Test("a reader learns from every captured packet what the real one learnt")
    func capturedPackets() throws {
        let vectors = try DNSVectors.load()
        let stranger = Identity.generate().peerID
        for vector in vectors.cases {
            var configuration = ServiceDiscovery.Configuration(
                serviceName: vectors.serviceName, localPeer: stranger)
            let payload = try #require(Hex.decode(vector.payload))
            let source = PacketSource(address: try #require(IPAddress(vector.from)), port: vector.fromPort)
            #expect(try learn(payload, from: source, configuration) == vector.vpnPeers)
            // Each of the two ignores its own packets.
            for peer in vectors.peers where vector.vpnPeers[peer.peerId] != nil {
                configuration.localPeer = try PeerID(peer.peerId)
                #expect(try learn(payload, from: source, configuration).isEmpty)
            }
        }
    }

    @Test(
        "a node hears its own ID where it is not, as of a copied key, and not where it is or was a moment ago"
    )
    func ownElsewhere() throws {
        let peer = Identity.generate().peerID
        let service = try #require(DNSName("\(DiscoveryWorld.service).local."))
        func heard(_ addresses: [Multiaddr], at now: Instant, by discovery: inout ServiceDiscovery) throws
            -> Bool
        {
            let advertisement = try #require(
                Advertisement(
                    service: service, label: "copy", peer: peer, addresses: addresses,
                    includesLoopback: false,
                    timeToLive: 120))
            let packet = try advertisement.announcement().encoded(
                maximumLength: Advertisement.maximumPacketLength)
            let input = ServiceDiscovery.Input.received(
                packet, from: DiscoveryWorld.source(3), on: DiscoveryWorld.link().id)
            return discovery.receive(input, at: now).contains {
                if case .discovered(peer, let found, _) = $0 { found == addresses } else { false }
            }
        }
        let (own, other) = (try DiscoveryWorld.address(0), try DiscoveryWorld.address(3))
        var discovery = try #require(
            ServiceDiscovery(
                configuration: .init(serviceName: DiscoveryWorld.service, localPeer: peer),
                generator: SeededGenerator(seed: 1), at: .zero))
        _ = discovery.receive(.linkUp(DiscoveryWorld.link()), at: .zero)
        _ = discovery.receive(.addressesChanged([own]), at: .zero)
        #expect(try !heard([own], at: .zero, by: &discovery))
        #expect(try heard([other], at: .zero, by: &discovery))
        let next = try DiscoveryWorld.address(1)
        _ = discovery.receive(.addressesChanged([next]), at: .zero + .seconds(1))
        for mine in [own, next] {
            #expect(try !heard([mine], at: .zero + .seconds(2), by: &discovery))
        }
    }

    @Test("a reader of another service learns nothing, not even of one that differs by case")
    func otherService() throws {
        let vectors = try DNSVectors.load()
        let name = vectors.serviceName.lowercased()
        let configuration = ServiceDiscovery.Configuration(
            serviceName: name, localPeer: Identity.generate().peerID)
        for vector in vectors.cases {
            let payload = try #require(Hex.decode(vector.payload))
            let source = PacketSource(address: try #require(IPAddress(vector.from)), port: vector.fromPort)
            #expect(try learn(payload, from: source, configuration).isEmpty)
        }
    }

    private func learn(
        _ payload: [UInt8], from source: PacketSource, _ configuration: ServiceDiscovery.Configuration
    ) throws -> [String: [String]] {
        var discovery = try #require(
            ServiceDiscovery(configuration: configuration, generator: SeededGenerator(seed: 1), at: .zero))
        _ = discovery.receive(.linkUp(DiscoveryWorld.link()), at: .zero)
        var found: [String: [String]] = [:]
        for effect in discovery.receive(
            .received(payload, from: source, on: DiscoveryWorld.link().id), at: .zero)
        {
            guard case .discovered(let peer, let addresses, _) = effect else { continue }
            found[peer.description] = addresses.map(\.description)
        }
        return found
    }

    @Test(
        "two nodes find each other within half a second, and the one that came first needs no query of its own"
    )
    func findEachOther() throws {
        var world = DiscoveryWorld(seed: 1)
        let first = try world.add()
        world.run(for: .seconds(200))
        let joined = world.now
        let second = try world.add()
        world.run(for: .milliseconds(500))
        let firstFound = try #require(world.nodes[0].found.first)
        #expect(firstFound.peer == second)
        #expect(firstFound.addresses == [try DiscoveryWorld.address(1)])
        #expect(firstFound.at - joined < .milliseconds(300))
        let secondFound = try #require(world.nodes[1].found.first)
        #expect(secondFound.peer == first)
        #expect(secondFound.addresses == [try DiscoveryWorld.address(0)])
    }

    @Test(
        "a node probes three times 250 ms apart, announces twice a second apart, and what it sends fits the contract"
    )
    func claim() throws {
        var world = DiscoveryWorld(seed: 2)
        let peer = try world.add()
        world.run(for: .seconds(3))
        let messages = try world.nodes[0].sent.map {
            (message: try DNSMessage(parsing: $0.packet), at: $0.at)
        }
        let probes = messages.filter { !$0.message.isResponse && !$0.message.authority.isEmpty }
        let announcements = messages.filter { $0.message.flags == 0x8000 }
        #expect(
            zip(probes, probes.dropFirst()).map { $1.at - $0.at } == [.milliseconds(250), .milliseconds(250)])
        #expect(probes.allSatisfy { $0.message.authority.map(\.data.type) == [.srv, .txt] })
        #expect(announcements.count == 2)
        #expect(announcements[1].at - announcements[0].at == .seconds(1))
        let records = announcements[0].message.answers
        let instance = try #require(records.first { $0.data.type == .srv }?.name)
        let label = try #require(instance.labels.first)
        #expect((32...63).contains(label.count))
        #expect(label.allSatisfy { (97...122).contains($0) || (48...57).contains($0) })
        #expect(instance.description.hasSuffix(".\(DiscoveryWorld.service).local."))
        // What a Go receiver requires of one message (contract/wire.md G.6).
        let host = try #require(DNSName("\(String(decoding: label, as: UTF8.self)).local."))
        #expect(
            records.contains {
                $0.data == .ptr(instance) && $0.name == DNSName("\(DiscoveryWorld.service).local.")
            })
        #expect(records.contains { $0.data == .srv(priority: 0, weight: 0, port: 4001, target: host) })
        #expect(records.contains { $0.name == host && $0.data.type == .a })
        #expect(
            records.contains {
                $0.data == .txt([Array("dnsaddr=/ip4/192.168.79.1/tcp/4001/p2p/\(peer)".utf8)])
            })
        #expect(records.allSatisfy { $0.timeToLive == 120 })
        #expect(records.filter(\.cacheFlush).map(\.data.type) == [.srv, .txt, .a])
    }

    @Test("a query of a Go node is answered with what a Go receiver requires, at most once a second")
    func answersGoQuery() throws {
        var world = DiscoveryWorld(seed: 3)
        try world.add()
        world.run(for: .seconds(10))
        let before = world.nodes[0].sent.count
        let query = try #require(Hex.decode(try DNSVectors.load().cases[0].payload))
        for _ in 0..<10 {
            world.feed(.received(query, from: DiscoveryWorld.source(7), on: DiscoveryWorld.link().id), to: 0)
            world.run(for: .milliseconds(20))
        }
        world.run(for: .milliseconds(100))
        let answers = try world.nodes[0].sent.dropFirst(before).map { try DNSMessage(parsing: $0.packet) }
        #expect(answers.count == 1)
        let answer = try #require(answers.first)
        #expect(answer.flags == 0x8400 && answer.questions.isEmpty)
        #expect(answer.answers.map(\.data.type) == [.ptr])
        #expect(answer.additional.map(\.data.type) == [.srv, .txt, .a])
    }

    @Test("a query that lists our record with more than half of its life gets no answer")
    func knownAnswer() throws {
        for (timeToLive, answers) in [(UInt32(100), 0), (30, 1)] {
            var world = DiscoveryWorld(seed: 4)
            try world.add()
            world.run(for: .seconds(10))
            let announced = try world.nodes[0].sent.map { try DNSMessage(parsing: $0.packet) }
            var record = try #require(announced.flatMap(\.answers).first { $0.data.type == .ptr })
            record.timeToLive = timeToLive
            let service = try #require(DNSName("\(DiscoveryWorld.service).local."))
            let query = DNSMessage(
                id: 9, questions: [DNSQuestion(name: service, type: .ptr)], answers: [record])
            let before = world.nodes[0].sent.count
            world.feed(
                .received(
                    try query.encoded(maximumLength: 1232), from: DiscoveryWorld.source(7),
                    on: DiscoveryWorld.link().id),
                to: 0)
            world.run(for: .milliseconds(200))
            #expect(world.nodes[0].sent.count - before == answers)
        }
    }

    @Test("a question for a unicast answer gets one, only from a neighbour and only a few")
    func unicastAnswers() throws {
        var world = DiscoveryWorld(seed: 5)
        try world.add()
        world.run(for: .seconds(10))
        let service = try #require(DNSName("\(DiscoveryWorld.service).local."))
        let query = DNSMessage(
            id: 77, questions: [DNSQuestion(name: service, type: .ptr, wantsUnicast: true)])
        let packet = try query.encoded(maximumLength: 512)
        func ask(_ source: PacketSource) -> [ServiceDiscovery.Effect] {
            world.nodes[0].discovery.receive(
                .received(packet, from: source, on: DiscoveryWorld.link().id), at: world.now)
        }
        let answers = ask(DiscoveryWorld.source(7))
        guard case .unicast(let bytes, let destination, _) = try #require(answers.first) else {
            Issue.record("no unicast answer")
            return
        }
        #expect(destination == DiscoveryWorld.source(7))
        #expect(try DNSMessage(parsing: bytes).id == 77)
        let stranger = PacketSource(address: .v4(IPv4Address(0x0808_0808)), port: 5353)
        #expect(ask(stranger).isEmpty)
        #expect((0..<100).reduce(0) { count, _ in count + ask(DiscoveryWorld.source(7)).count } < 20)
        // A resolver of one shot gets its question back and records that live for 10 s.
        world.run(for: .seconds(10))
        let legacy = ask(PacketSource(address: DiscoveryWorld.source(7).address, port: 40000))
        guard case .unicast(let old, _, _) = try #require(legacy.first) else { return }
        let message = try DNSMessage(parsing: old)
        #expect(message.questions == query.questions)
        #expect(message.records.allSatisfy { $0.timeToLive == 10 })
    }

    @Test("after a clean stop nothing more is sent, and the others forget the node and greet its return")
    func goodbye() throws {
        var world = DiscoveryWorld(seed: 6)
        try world.add()
        try world.add()
        world.run(for: .seconds(20))
        #expect(world.nodes[0].discovery.knownPeers == 1)
        world.feed(.stop, to: 1)
        let goodbye = try DNSMessage(parsing: try #require(world.nodes[1].sent.last).packet)
        #expect(goodbye.records.allSatisfy { $0.timeToLive == 0 })
        #expect(world.nodes[0].discovery.knownPeers == 0)
        #expect(world.nodes[1].discovery.nextDeadline == nil)
        #expect(world.nodes[1].discovery.receive(.tick, at: world.now + .seconds(100)).isEmpty)
    }

    @Test("a peer that falls silent is forgotten, and reported anew when it comes back")
    func expiry() throws {
        var world = DiscoveryWorld(seed: 7)
        try world.add()
        let second = try world.add()
        world.run(for: .seconds(20))
        world.feed(.linkDown(DiscoveryWorld.link().id), to: 1)
        let lost = world.now
        world.nodes[0].found = []
        world.run(for: .seconds(2000))
        #expect(world.nodes[0].discovery.knownPeers == 0)
        world.feed(.linkUp(DiscoveryWorld.link()), to: 1)
        world.run(for: .seconds(1))
        let again = try #require(world.nodes[0].found.first)
        #expect(again.peer == second && again.at - lost > .seconds(200))
    }

    @Test("a peer that stays is reported with every answer, so that a failed dial is not the end")
    func repeatedReports() throws {
        var world = DiscoveryWorld(seed: 8)
        try world.add()
        try world.add()
        world.run(for: .seconds(1))
        #expect(world.nodes[0].found.count == 1)
        world.run(for: .seconds(7200))
        #expect((8...20).contains(world.nodes[0].found.count), "\(world.nodes[0].found.count) reports")
        for (earlier, later) in zip(world.nodes[0].found, world.nodes[0].found.dropFirst()) {
            #expect(later.at - earlier.at >= .seconds(60))
        }
    }

    @Test("changed addresses are announced under a new name, after a goodbye to the old one")
    func changedAddresses() throws {
        var world = DiscoveryWorld(seed: 9)
        try world.add()
        try world.add()
        world.run(for: .seconds(20))
        let before = world.nodes[1].sent.count
        world.nodes[0].found = []
        let moved = try [DiscoveryWorld.address(40)]
        world.feed(.addressesChanged(moved), to: 1)
        world.feed(.addressesChanged(moved), to: 1)
        world.run(for: .seconds(3))
        let found = try #require(world.nodes[0].found.first)
        #expect(found.addresses == moved)
        let messages = try world.nodes[1].sent.dropFirst(before).map { try DNSMessage(parsing: $0.packet) }
            .filter { $0.flags == 0x8000 }
        #expect(messages.count == 3)
        let names = messages.map { $0.answers.first { $0.data.type == .srv }?.name }
        #expect(names[0] != names[1] && names[1] == names[2])
        #expect(messages[0].answers.allSatisfy { $0.timeToLive == 0 })
    }

    @Test("in a settled network one query in 15 minutes serves all nodes, and everyone still knows everyone")
    func quietWhenIdle() throws {
        var world = DiscoveryWorld(seed: 10)
        for _ in 0..<12 { try world.add() }
        world.run(for: .seconds(7200))
        for index in world.nodes.indices { world.nodes[index].sent = [] }
        world.run(for: .seconds(9000))
        let queries = try world.nodes.flatMap(\.sent).filter {
            try !DNSMessage(parsing: $0.packet).isResponse
        }
        #expect((8...16).contains(queries.count), "\(queries.count) queries")
        #expect(world.nodes.allSatisfy { $0.discovery.knownPeers == 11 })
    }

    @Test("lost packets only delay: with a third of them lost everyone finds everyone")
    func loss() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var world = DiscoveryWorld(seed: seed)
        world.loss = 0.33
        for _ in 0..<8 { try world.add() }
        world.run(for: .seconds(120))
        for node in world.nodes {
            #expect(Set(node.found.map(\.peer)).count == 7, "seed \(seed)")
        }
    }

    @Test(
        "useless addresses are not advertised, and the packet stays within a small MTU however many there are"
    )
    func manyAddresses() throws {
        var addresses: [Multiaddr] = try [
            "/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip4/10.0.0.1/tcp/1/ws",
            "/dns4/example.org/tcp/1",
        ].map { try Multiaddr($0) }
        for index in 0..<100 {
            addresses.append(
                try Multiaddr("/ip6/2001:db8:1111:2222:3333:4444:5555:\(index)/udp/65535/quic-v1"))
        }
        var world = DiscoveryWorld(seed: 11)
        try world.add(addresses: addresses)
        try world.add()
        world.run(for: .seconds(10))
        #expect(world.nodes.flatMap(\.sent).allSatisfy { $0.packet.count <= 1232 })
        let found = try #require(world.nodes[1].found.first).addresses
        #expect(found.count >= 5)
        #expect(found == Array(addresses[5..<5 + found.count]))
    }

    @Test("a node without an address says nothing of itself, and a node with a long service name cannot be")
    func nothingToSay() throws {
        var world = DiscoveryWorld(seed: 12)
        try world.add(addresses: [])
        world.run(for: .seconds(100))
        #expect(try world.nodes[0].sent.allSatisfy { try DNSMessage(parsing: $0.packet).records.isEmpty })
        world.feed(.stop, to: 0)
        let configuration = ServiceDiscovery.Configuration(
            serviceName: String(repeating: "x", count: 64), localPeer: Identity.generate().peerID)
        #expect(
            ServiceDiscovery(configuration: configuration, generator: SeededGenerator(seed: 1), at: .zero)
                == nil)
    }

    @Test("a flood of forged records grows neither memory nor the reports, and a real peer is still found")
    func flood() throws {
        var world = DiscoveryWorld(seed: 13)
        try world.add()
        let service = try #require(DNSName("\(DiscoveryWorld.service).local."))
        var reports = 0
        var key: [UInt8] = [0, 36, 8, 1, 18, 32] + [UInt8](repeating: 0, count: 32)
        for round in 0..<6000 {
            for index in 0..<4 { key[6 + index] = UInt8(truncatingIfNeeded: round >> (8 * index)) }
            let peer = try PeerID(bytes: key)
            let instance = try #require(service.prefixed(with: "x\(round)"))
            let text = Array("dnsaddr=/ip4/192.168.79.9/tcp/1/p2p/\(peer)".utf8)
            let message = DNSMessage(
                flags: 0x8400, answers: [DNSRecord(name: instance, timeToLive: .max, data: .txt([text]))])
            let packet = try message.encoded(maximumLength: 1232)
            world.now += .milliseconds(10)
            let effects = world.nodes[0].discovery.receive(
                .received(packet, from: DiscoveryWorld.source(9), on: DiscoveryWorld.link().id), at: world.now
            )
            reports += effects.count
        }
        #expect(world.nodes[0].discovery.knownPeers <= Browser.maximumPeers)
        #expect(reports < 60 * 20)
        world.nodes[0].found = []
        let peer = try world.add()
        world.run(for: .seconds(5))
        #expect(world.nodes[0].found.contains { $0.peer == peer })
    }

    @Test("no packet makes the node trap or answer more than a little")
    func fuzz() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var world = DiscoveryWorld(seed: seed)
        try world.add()
        world.run(for: .seconds(5))
        let packets = try DNSVectors.load().cases.compactMap { Hex.decode($0.payload) }
        var generator = SeededGenerator(seed: seed)
        let before = world.nodes[0].sent.count
        for round in 0..<5000 {
            var packet = packets[round % packets.count]
            let index = Int.random(in: 0..<packet.count, using: &generator)
            packet[index] = UInt8.random(in: 0...255, using: &generator)
            world.now += .milliseconds(25)
            world.feed(.received(packet, from: DiscoveryWorld.source(9), on: DiscoveryWorld.link().id), to: 0)
            world.run(for: .zero)
        }
        #expect(world.nodes[0].sent.count - before < 300, "seed \(seed)")
    }
}
