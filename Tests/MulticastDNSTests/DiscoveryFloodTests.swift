import LibP2P
import Multiformats
import Testing
import Timing

@testable import MulticastDNS

/// 2,000 forged packets a second, in virtual time.
@Suite("Service discovery on a flooded link")
struct DiscoveryFloodTests {
    enum Sources: CaseIterable {
        case one, many, everybodys, neighbours
    }

    enum Forgery: CaseIterable {
        case withoutProof, wrongProof, repeated, question
    }

    private static let key = SecretBytes(copying: [UInt8](repeating: 7, count: 32))

    private struct Flood {
        let packets: [[UInt8]]
        let sources: Sources
        var sent = 0

        init(_ forgery: Forgery, _ sources: Sources, repeating genuine: [UInt8]?) throws {
            self.sources = sources
            let service = try #require(DNSName("\(DiscoveryWorld.service).local."))
            var key: [UInt8] = [0, 36, 8, 1, 18, 32] + [UInt8](repeating: 0, count: 32)
            packets = try (0..<500).map { number in
                if forgery == .repeated, let genuine { return genuine }
                if forgery == .question {
                    let junk = try #require(DNSName("x\(number).local."))
                    return try DNSMessage(id: 1, questions: [DNSQuestion(name: junk, type: .ptr)])
                        .encoded(maximumLength: 1232)
                }
                key[6] = UInt8(number & 0xff)
                key[7] = UInt8(number >> 8)
                var texts = [Array("dnsaddr=/ip4/192.168.79.9/tcp/1/p2p/\(try PeerID(bytes: key))".utf8)]
                if forgery == .wrongProof {
                    let wrong = AnnouncementProof(key: SecretBytes(copying: [1]))
                    texts.insert(try #require(wrong.text(for: texts, nonce: "aaaaaaaaaaaa")), at: 0)
                }
                let instance = try #require(service.prefixed(with: "x\(number)"))
                return try DNSMessage(
                    flags: 0x8400, answers: [DNSRecord(name: instance, timeToLive: 120, data: .txt(texts))]
                ).encoded(maximumLength: 1232)
            }
        }

        mutating func next() -> ([UInt8], PacketSource) {
            sent += 1
            let source: PacketSource
            switch sources {
            case .one: source = DiscoveryWorld.source(200)
            case .many:
                source = PacketSource(
                    address: .v4(
                        IPv4Address(0x0a00_0000 + UInt32(truncatingIfNeeded: sent &* 2_654_435_761) >> 8)),
                    port: 5353)
            // Those of the honest nodes too.
            case .neighbours: source = DiscoveryWorld.source(10 + sent % 200)
            case .everybodys: source = DiscoveryWorld.source(sent % 4)
            }
            return (packets[sent % packets.count], source)
        }
    }

    private func run(_ world: inout DiscoveryWorld, _ flood: inout Flood, for time: Duration) {
        let end = world.now + time
        while world.now < end {
            world.run(for: .microseconds(500))
            let (packet, source) = flood.next()
            for index in world.nodes.indices {
                world.feed(.received(packet, from: source, on: DiscoveryWorld.link().id), to: index)
            }
        }
    }

    @Test(
        "a node that comes later is found at once, and finds the others",
        arguments: Sources.allCases, Forgery.allCases)
    func lateNode(_ sources: Sources, _ forgery: Forgery) throws {
        var world = DiscoveryWorld(seed: 1)
        let first = try world.add(key: Self.key)
        world.run(for: .seconds(2))
        var flood = try Flood(forgery, sources, repeating: world.nodes[0].sent.last?.packet)
        run(&world, &flood, for: .seconds(8))
        world.nodes[0].found = []
        let joined = world.now
        let late = try world.add(key: Self.key)
        run(&world, &flood, for: .seconds(2))
        let found = try #require(world.nodes[0].found.first { $0.peer == late })
        #expect(found.isProven && found.at - joined <= .milliseconds(300))
        let other = try #require(world.nodes[1].found.first { $0.peer == first })
        #expect(other.isProven && other.at - joined <= .milliseconds(1500))
        #expect(world.nodes.allSatisfy { $0.discovery.knownPeers <= 2 * Browser.maximumPeers })
        // Even so nobody says more than usual: three probes, two announcements and an answer a second.
        #expect(world.nodes[0].sent.count < 24)
        // Forged announcements that are reported are few.
        #expect(world.nodes[0].found.filter { !$0.isProven }.count <= 32)
    }

    @Test(
        "a node that proves nothing is found within seconds while one sender floods",
        arguments: Forgery.allCases)
    func lateStockNode(_ forgery: Forgery) throws {
        var world = DiscoveryWorld(seed: 2)
        try world.add(key: Self.key)
        world.run(for: .seconds(2))
        var flood = try Flood(forgery, .one, repeating: world.nodes[0].sent.last?.packet)
        run(&world, &flood, for: .seconds(8))
        let joined = world.now
        let late = try world.add()
        run(&world, &flood, for: .seconds(2))
        let found = try #require(world.nodes[0].found.first { $0.peer == late })
        #expect(!found.isProven && found.at - joined <= .seconds(1))
    }

    @Test("a node that proves nothing is found within seconds while 200 senders of the link flood")
    func stockNodeAmongManySenders() throws {
        var world = DiscoveryWorld(seed: 3)
        try world.add(key: Self.key)
        world.run(for: .seconds(2))
        var flood = try Flood(.withoutProof, .neighbours, repeating: nil)
        run(&world, &flood, for: .seconds(20))
        let joined = world.now
        let late = try world.add()
        run(&world, &flood, for: .seconds(3))
        let found = try #require(world.nodes[0].found.first { $0.peer == late })
        #expect(!found.isProven && found.at - joined <= .seconds(2))
    }

    @Test("questions of others do not keep a node that has found nobody from asking itself")
    func lonelyNodeAsks() throws {
        var world = DiscoveryWorld(seed: 4)
        try world.add(key: Self.key)
        let service = try #require(DNSName("\(DiscoveryWorld.service).local."))
        let question = try DNSMessage(id: 1, questions: [DNSQuestion(name: service, type: .ptr)])
            .encoded(maximumLength: 1232)
        for _ in 0..<600 {
            world.run(for: .seconds(1))
            world.feed(
                .received(question, from: DiscoveryWorld.source(200), on: DiscoveryWorld.link().id), to: 0)
        }
        let asked = try world.nodes[0].sent.map { try DNSMessage(parsing: $0.packet) }
            .count { !$0.isResponse && $0.authority.isEmpty }
        #expect(asked >= 10, "\(asked) times in ten minutes")
    }

    @Test(
        "the addresses of senders that are remembered are bounded, and one sender leaves room for the others")
    func sources() {
        var generator = SeededGenerator(seed: 3)
        var shares = SourceShares(
            share: .init(burst: 4, perSecond: 1), total: .init(burst: 1000, perSecond: 10), at: .zero)
        for index in UInt32(0)..<400 {
            #expect(shares.take(for: .v4(IPv4Address(index)), at: .zero, generator: &generator))
        }
        #expect(shares.count == SourceShares.maximumSources)
        let greedy = IPAddress.v4(IPv4Address(5000))
        let taken = (0..<500).count { _ in shares.take(for: greedy, at: .zero, generator: &generator) }
        #expect(taken == 4)
        #expect(shares.take(for: .v4(IPv4Address(6000)), at: .zero, generator: &generator))
        // Less than half is left: who was served waits for those who were not.
        for index in UInt32(10_000)..<10_200 {
            #expect(shares.take(for: .v4(IPv4Address(index)), at: .zero, generator: &generator))
        }
        let late = IPAddress.v4(IPv4Address(7000))
        #expect((0..<500).count { _ in shares.take(for: late, at: .zero, generator: &generator) } == 1)
        #expect(shares.take(for: .v4(IPv4Address(8000)), at: .zero, generator: &generator))
    }
}
