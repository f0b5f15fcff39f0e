import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

@testable import MulticastDNS

@Suite("Proofs in announcements")
struct AnnouncementProofTests {
    private static let key = SecretBytes(copying: [UInt8](repeating: 7, count: 32))
    private static let otherKey = SecretBytes(copying: [UInt8](repeating: 8, count: 32))

    private func receive(
        _ packet: [UInt8], _ world: inout DiscoveryWorld, to index: Int = 0, from source: Int = 9
    ) {
        world.feed(
            .received(packet, from: DiscoveryWorld.source(source), on: DiscoveryWorld.link().id), to: index)
    }

    /// What a node with the key announces.
    private func announcement(_ world: inout DiscoveryWorld) throws -> (peer: PeerID, packet: [UInt8]) {
        var other = DiscoveryWorld(seed: world.generator.next())
        let peer = try other.add(key: Self.key)
        other.run(for: .seconds(2))
        let packet = try #require(
            try other.nodes[0].sent.map(\.packet).last { try DNSMessage(parsing: $0).flags == 0x8000 })
        return (peer, packet)
    }

    @Test("nodes of one network prove themselves to each other, and any other reader finds them all the same")
    func bothWays() throws {
        var world = DiscoveryWorld(seed: 1)
        let first = try world.add(key: Self.key)
        let second = try world.add(key: Self.key)
        let stock = try world.add()
        try world.add(key: Self.otherKey)
        world.run(for: .seconds(3))
        #expect(world.nodes[0].found.contains { $0.peer == second && $0.isProven })
        #expect(world.nodes[1].found.contains { $0.peer == first && $0.isProven })
        #expect(world.nodes[0].found.contains { $0.peer == stock && !$0.isProven })
        // A wrong proof is worth less than none.
        #expect(Set(world.nodes[0].found.map(\.peer)) == [second, stock])
        // A reader that knows nothing of proofs learns the same addresses.
        let seen = world.nodes[2].found.filter { $0.peer == first }
        #expect(seen.map(\.addresses).first == [try DiscoveryWorld.address(0)])
        #expect(world.nodes[2].found.allSatisfy { !$0.isProven })
        for message in try world.nodes[0].sent.map({ try DNSMessage(parsing: $0.packet) }) {
            for case .txt(let strings) in message.records.map(\.data) {
                #expect(strings.count == 2 && strings[0].starts(with: Array("kairos=".utf8)))
                #expect(strings[0].count == AnnouncementProof.textLength)
            }
        }
    }

    @Test("a proof is worth nothing with one byte of the peer, the addresses, the nonce or the code changed")
    func changedBytes() throws {
        var world = DiscoveryWorld(seed: 2)
        let (peer, packet) = try announcement(&world)
        let claim = try #require(AnnouncementProof.claim(in: packet))
        for index in claim.text.startIndex..<claim.body.endIndex {
            var reader = DiscoveryWorld(seed: 3)
            try reader.add(key: Self.key)
            var changed = packet
            changed[index] ^= 1
            receive(changed, &reader)
            #expect(!reader.nodes[0].found.contains { $0.isProven }, "byte \(index)")
        }
        try world.add(key: Self.key)
        receive(packet, &world)
        #expect(world.nodes[0].found.map(\.peer) == [peer])
    }

    @Test("what has no proof neither outdoes what has one nor makes it forgotten")
    func strangersSay() throws {
        var world = DiscoveryWorld(seed: 4)
        let (peer, packet) = try announcement(&world)
        try world.add(key: Self.key)
        receive(packet, &world)
        let instance = try #require(
            try DNSMessage(parsing: packet).records.first { $0.data.type == .txt }?.name)
        let lie = Array("dnsaddr=/ip4/192.168.79.9/tcp/1/p2p/\(peer)".utf8)
        for timeToLive: UInt32 in [120, 0] {
            let message = DNSMessage(
                flags: 0x8000, answers: [DNSRecord(name: instance, timeToLive: timeToLive, data: .txt([lie]))]
            )
            receive(try message.encoded(maximumLength: 1232), &world)
        }
        // The very announcement as a goodbye: its code is right.
        var goodbye = try DNSMessage(parsing: packet)
        for index in goodbye.answers.indices { goodbye.answers[index].timeToLive = 0 }
        world.run(for: .seconds(1))
        receive(try goodbye.encoded(maximumLength: 1232), &world)
        #expect(world.nodes[0].discovery.knownPeers == 1)
        #expect(world.nodes[0].found.map(\.addresses) == [[try DiscoveryWorld.address(0)]])
    }

    @Test("a node that starts again is reported at once, and one that is repeated is not")
    func restart() throws {
        var world = DiscoveryWorld(seed: 5)
        let (peer, packet) = try announcement(&world)
        try world.add(key: Self.key)
        for _ in 0..<100 {
            receive(packet, &world)
            world.run(for: .milliseconds(100))
        }
        #expect(world.nodes[0].found.count == 1)
        let strings = try #require(
            AnnouncementProof.claim(in: packet).flatMap { AnnouncementProof(key: Self.key).check($0) })
        let again = try #require(
            AnnouncementProof(key: Self.key).text(for: strings, nonce: "abcdefghijkl"))
        var message = try DNSMessage(parsing: packet)
        for index in message.answers.indices where message.answers[index].data.type == .txt {
            message.answers[index].data = .txt([again] + strings)
        }
        receive(try message.encoded(maximumLength: 1232), &world)
        #expect(world.nodes[0].found.map(\.peer) == [peer, peer])
    }

    @Test("what a node announced earlier, sent again and again, does not hide where it is now")
    func recorded() throws {
        var world = DiscoveryWorld(seed: 6)
        try world.add(key: Self.key)
        let (peer, old) = try announcement(&world)
        let now = try #require(
            AdvertisedAddress.encode(try DiscoveryWorld.address(77), of: peer, includesLoopback: false))
        let proof = try #require(AnnouncementProof(key: Self.key).text(for: [now], nonce: "abcdefghijkl"))
        var message = try DNSMessage(parsing: old)
        for index in message.answers.indices where message.answers[index].data.type == .txt {
            message.answers[index].data = .txt([proof, now])
        }
        let new = try message.encoded(maximumLength: 1232)
        for step in 0..<300 {
            receive(old, &world)
            world.run(for: .milliseconds(100))
            if step % 50 == 20 { receive(new, &world) }
        }
        let reports = world.nodes[0].found.filter { $0.peer == peer }
        let address = try DiscoveryWorld.address(77)
        let told = reports.dropFirst().map { $0.addresses.contains(address) }
        #expect(told.last == true && !told.contains(false), "\(reports)")
        #expect(reports.count <= 16, "\(reports.count) reports in 30 s")
    }

    @Test("no packet with a proof in it makes the reader trap")
    func fuzz() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var world = DiscoveryWorld(seed: seed)
        let (_, packet) = try announcement(&world)
        let proof = AnnouncementProof(key: Self.key)
        for length in packet.indices {
            if let claim = AnnouncementProof.claim(in: Array(packet.prefix(length))) {
                _ = proof.check(claim)
            }
            if let claim = AnnouncementProof.claim(in: Array(packet.dropFirst(length))) {
                _ = proof.check(claim)
            }
        }
        let start = try #require(AnnouncementProof.claim(in: packet)).text.startIndex
        for high in UInt8.min ... .max {
            var changed = packet
            changed[start - 3] = high
            changed[start - 2] = UInt8.random(in: 0...255, using: &world.generator)
            if let claim = AnnouncementProof.claim(in: changed) {
                #expect(proof.check(claim) == nil, "\(seed)")
            }
        }
    }
}
