import LibP2P
import Multiformats
import Testing
import Timing

@testable import MeshNetwork

@Suite("Link records")
struct LinkRecordTests {
    private let identity = Identity.generate()
    private let scope: [UInt8] = [7, 7]

    private func record(version: UInt64 = 5, links: Int = 3) throws -> LinkRecord {
        LinkRecord(
            identity: identity, version: version, addresses: [try Multiaddr("/ip4/10.0.0.1/tcp/4001")],
            links: (0..<links).map { .init(tag: UInt64($0), isWanted: $0 % 2 == 0) }, scope: scope)
    }

    @Test("what is written is read back, and is its owner's in its network alone")
    func roundTrip() throws {
        let record = try record()
        let read = try LinkRecord(decoding: record.encoded)
        #expect(read == record && read.peer == identity.peerID)
        #expect(read.isAuthentic(scope: scope))
        #expect(!read.isAuthentic(scope: [7, 8]))
        #expect(record.encoded.count <= LinkRecord.maximumLength)
        #expect(try self.record(links: 1000).links.count == LinkRecord.maximumLinks)
    }

    @Test("no changed byte is authentic, no cut one is read")
    func damage() throws {
        let record = try record()
        for index in record.encoded.indices {
            var bytes = record.encoded
            bytes[index] ^= 1
            let isAuthentic = (try? LinkRecord(decoding: bytes))?.isAuthentic(scope: scope) ?? false
            #expect(!isAuthentic, "byte \(index)")
            #expect(throws: LinkRecordError.self) {
                try LinkRecord(decoding: Array(record.encoded[..<index]))
            }
        }
        #expect(throws: LinkRecordError.tooLarge) {
            try LinkRecord(decoding: Array(repeating: 1, count: LinkRecord.maximumLength + 1))
        }
    }

    @Test("a version that no clock reaches is refused, and the last one has no successor")
    func versions() throws {
        let last = try record(version: WireCounter.greatest)
        #expect(try LinkRecord(decoding: last.encoded) == last)
        for version in [WireCounter.greatest + 1, .max] {
            let record = try record(version: version)
            #expect(throws: LinkRecordError.malformed) { try LinkRecord(decoding: record.encoded) }
        }
        // A former run of this node, whose clock was wrong, has said the last one.
        var overlay = Overlay(
            identity: identity, scope: scope, version: 100, generator: SeededGenerator(seed: 1), at: .zero)
        let friend = Identity.generate().peerID
        _ = overlay.receive(.linkUp(friend), at: .zero)
        let frame = OverlayFrame.records([last.encoded]).encoded
        _ = overlay.receive(.frame(friend, frame), at: .zero + .seconds(1))
        #expect(overlay.lastVersion == WireCounter.greatest)
        _ = overlay.receive(.linkDown(friend), at: .zero + .seconds(2))
        _ = overlay.receive(.tick, at: .zero + .seconds(60))
        #expect(overlay.lastVersion == WireCounter.greatest)
    }

    @Test("frames survive the wire, and noise does not trap")
    func frames() throws {
        let record = try record()
        let frames: [OverlayFrame] = [
            .records([record.encoded, record.encoded]), .digest(OverlayDigest(count: 3, sum: 9)),
            .versions([.init(tag: 1, version: 2)]), .want([4, 5]), .want([]), .probe, .alive,
        ]
        for frame in frames { #expect(OverlayFrame(decoding: frame.encoded) == frame) }
        var random = SeededGenerator(seed: 11)
        for _ in 0..<20_000 {
            var bytes = frames[Int.random(in: 0..<frames.count, using: &random)].encoded
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                    in: .min ... .max, using: &random)
            }
            _ = OverlayFrame(decoding: bytes)
            _ = try? LinkRecord(decoding: bytes)
        }
        #expect(OverlayFrame(decoding: [3, 0xff, 0xff, 0x7f]) == nil)
    }

    @Test("neighbours agree, are few, and hold all together")
    func rings() {
        var random = SeededGenerator(seed: 2)
        for count in [2, 9, 10, 30, 200] {
            let peers = Set((0..<count).map { _ in Identity.generate().peerID })
            var rings = RingNeighbours()
            var chosen: [PeerID: Set<PeerID>] = [:]
            for peer in peers { chosen[peer] = rings.neighbours(of: peer, among: peers) }
            for (peer, others) in chosen {
                #expect(others.count <= max(RingNeighbours.degree, 0) && !others.contains(peer))
                for other in others { #expect(chosen[other]?.contains(peer) == true) }
            }
            var reached: Set<PeerID> = []
            var open = [peers.randomElement(using: &random)].compactMap { $0 }
            while let peer = open.popLast() {
                if reached.insert(peer).inserted { open += chosen[peer] ?? [] }
            }
            #expect(reached == peers, "\(count)")
        }
    }
}

@Suite("Overlay under attack")
struct HostileOverlayTests {
    private let identity = Identity.generate()
    private let friend = Identity.generate()
    private let victim = Identity.generate()
    private let scope: [UInt8] = [1]

    private func overlay() -> Overlay {
        Overlay(
            identity: identity, scope: scope, version: 100, generator: SeededGenerator(seed: 1), at: .zero)
    }

    private func tag(_ identity: Identity) -> UInt64 { PeerPlace(identity.peerID).tag }

    private func record(
        _ owner: Identity, _ version: UInt64, _ others: [Identity], scope: [UInt8]? = nil
    ) -> [UInt8] {
        LinkRecord(
            identity: owner, version: version, addresses: [],
            links: others.map { .init(tag: tag($0), isWanted: true) }, scope: scope ?? self.scope
        ).encoded
    }

    private func say(
        _ records: [[UInt8]], to overlay: inout Overlay, second: Int = 0
    ) -> [Overlay.Effect] {
        overlay.receive(
            .frame(friend.peerID, OverlayFrame.records(records).encoded), at: .zero + .seconds(second))
    }

    @Test("a peer is present only when both ends of each link say so")
    func oneSided() {
        var overlay = overlay()
        _ = overlay.receive(.linkUp(friend.peerID), at: .zero)
        #expect(overlay.present == [friend.peerID])
        // The victim claims a link to the friend, who knows nothing of it.
        _ = say([record(victim, 1, [friend])], to: &overlay, second: 1)
        #expect(overlay.present == [friend.peerID])
        _ = say([record(friend, 1, [identity, victim])], to: &overlay, second: 2)
        #expect(overlay.present == [friend.peerID, victim.peerID])
        _ = say([record(friend, 2, [identity])], to: &overlay, second: 3)
        #expect(overlay.present == [friend.peerID])
    }

    @Test("an old record, one of another network and one of nobody change nothing")
    func replays() {
        var overlay = overlay()
        _ = overlay.receive(.linkUp(friend.peerID), at: .zero)
        _ = say(
            [record(victim, 1, [friend]), record(friend, 2, [identity, victim])], to: &overlay, second: 1)
        _ = say([record(friend, 3, [identity])], to: &overlay, second: 2)
        #expect(say([record(friend, 2, [identity, victim])], to: &overlay, second: 3) == [])
        #expect(say([record(friend, 9, [identity, victim], scope: [2])], to: &overlay, second: 4) == [])
        var forged = record(friend, 9, [identity, victim])
        forged[forged.count - 1] ^= 1
        #expect(say([[1, 2, 3], [], forged], to: &overlay, second: 5) == [])
        #expect(overlay.present == [friend.peerID])
        #expect(overlay.counters.recordsRejected == 4)
    }

    @Test("what comes from a peer without a link is not looked at")
    func unadmitted() {
        var overlay = overlay()
        let frame = OverlayFrame.records([record(friend, 1, [identity])]).encoded
        #expect(overlay.receive(.frame(friend.peerID, frame), at: .zero) == [])
        #expect(overlay.counters.recordsAccepted == 0)
    }

    @Test("a former record of this node with a greater version is outdone")
    func formerRun() throws {
        var overlay = overlay()
        _ = overlay.receive(.linkUp(friend.peerID), at: .zero)
        let effects = say([record(identity, 5000, [victim])], to: &overlay, second: 1)
        let sent = try #require(
            effects.compactMap { effect -> LinkRecord? in
                guard case .send(friend.peerID, let bytes) = effect,
                    case .records(let records) = OverlayFrame(decoding: bytes)
                else { return nil }
                return records.first.flatMap { try? LinkRecord(decoding: $0) }
            }.first)
        #expect(sent.version == 5001 && sent.peer == identity.peerID)
    }

    private func sentRecords(_ effects: [Overlay.Effect]) -> (records: Int, bytes: Int) {
        effects.reduce(into: (0, 0)) { sum, effect in
            guard case .send(_, let bytes) = effect,
                case .records(let records) = OverlayFrame(decoding: bytes)
            else { return }
            sum = (sum.0 + records.count, sum.1 + bytes.count)
        }
    }

    @Test("a record that is asked for 4,096 times in one frame is sent once, and asking has an end")
    func asking() {
        var overlay = overlay()
        _ = overlay.receive(.linkUp(friend.peerID), at: .zero)
        _ = say([record(friend, 1, Array(repeating: identity, count: 64))], to: &overlay)
        let want = OverlayFrame.want(Array(repeating: tag(friend), count: OverlayFrame.maximumVersions))
        #expect(sentRecords(overlay.receive(.frame(friend.peerID, want.encoded), at: .zero)).records == 1)
        // Nor are versions that are named again and again asked for as often.
        let unknown = OverlayFrame.Version(tag: 77, version: 1)
        let versions = OverlayFrame.versions(Array(repeating: unknown, count: OverlayFrame.maximumVersions))
        let asked = overlay.receive(.frame(friend.peerID, versions.encoded), at: .zero).compactMap {
            if case .send(_, let bytes) = $0, case .want(let tags) = OverlayFrame(decoding: bytes) {
                return tags
            }
            return nil
        }
        #expect(asked == [[77]])
        for second in 1...1000 {
            _ = say([record(friend, 1 + UInt64(second), [identity])], to: &overlay, second: second)
        }
        var bytes = 0
        for _ in 0..<60_000 {
            bytes += sentRecords(overlay.receive(.frame(friend.peerID, want.encoded), at: .zero)).bytes
        }
        #expect(bytes <= 2 * Overlay.maximumKnown * LinkRecord.maximumLength)
    }

    @Test("records are looked at in turns, and a forged one ends the others of its peer")
    func turns() {
        var overlay = overlay()
        _ = overlay.receive(.linkUp(friend.peerID), at: .zero)
        let many = (0..<300).map { _ in record(Identity.generate(), 1, [friend]) }
        _ = say(many, to: &overlay)
        var turns = [overlay.counters.recordsAccepted]
        while let due = overlay.recordsDue {
            _ = overlay.receive(.tick, at: due)
            turns.append(overlay.counters.recordsAccepted)
        }
        #expect(turns.last == 300)
        #expect(zip(turns, turns.dropFirst()).allSatisfy { $1 - $0 <= Overlay.recordsOfTurn && $1 > $0 })
        var forged = record(Identity.generate(), 1, [friend])
        forged[forged.count - 1] ^= 1
        _ = say(Array(repeating: forged, count: 500), to: &overlay, second: 9)
        while let due = overlay.recordsDue { _ = overlay.receive(.tick, at: max(due, .zero + .seconds(9))) }
        #expect(overlay.counters.recordsRejected == 1)
    }

    @Test("more peers than fit, and more frames than are allowed, cost no more memory")
    func floods() {
        var overlay = overlay()
        _ = overlay.receive(.linkUp(friend.peerID), at: .zero)
        for _ in 0..<Overlay.maximumKnown + 50 {
            _ = overlay.receive(.discovered(Identity.generate().peerID, [], isProven: true), at: .zero)
        }
        #expect(overlay.known.count == Overlay.maximumKnown)
        for _ in 0..<2000 {
            _ = overlay.receive(.frame(friend.peerID, OverlayFrame.probe.encoded), at: .zero)
        }
        #expect(overlay.counters.rateLimited > 0)
    }
}
