import Foundation
import GossipSub
import Ledger
import LibP2P
import MeshNetwork
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Timing

@Suite("Meshes over real connections", .serialized, .timeLimit(.minutes(2)))
struct MeshServiceTests {
    @Test("three nodes admit one another, and a write is everywhere within a second")
    func convergence() async throws {
        try await MeshWorld.run { world in
            let token = try NetworkToken.generate()
            var nodes: [MeshWorld.Node] = []
            for _ in 0..<3 { nodes.append(try await world.node(token)) }
            let early = EntryID("kairos", "before")
            try await nodes[2].mesh.put(early, value: "\"1\"").get()
            try await nodes[1].dial(nodes[0].swarm)
            try await nodes[2].dial(nodes[0].swarm)
            try await nodes[2].dial(nodes[1].swarm)
            try await eventually("admission of all by all") {
                nodes.allSatisfy { node in
                    nodes.allSatisfy { $0.peer == node.peer || node.mesh.isAdmitted($0.peer) }
                }
            }
            try await eventually("what was written before they met", within: .seconds(2)) {
                for node in nodes where try await node.value(early) != "\"1\"" { return false }
                return true
            }
            for (number, node) in nodes.enumerated() {
                let id = EntryID("kairos", LedgerText("key-\(number)"))
                try await node.mesh.put(id, value: "\"x\"").get()
                try await eventually("a write of node \(number) on all", within: .seconds(1)) {
                    for other in nodes where try await other.value(id) != "\"x\"" { return false }
                    return true
                }
            }
            let status = try await nodes[0].mesh.status().get()
            #expect(status.members.count == 2 && status.members.allSatisfy(\.isAdmitted))
            #expect(status.ledger.usage.total.entries == 4)
            #expect(status.room.unopened == 0 && status.room.stockPeers == 0)
            let answered = nodes[0].events.withLockedValue { events in
                events.contains {
                    if case .members(let admitted, true) = $0 { return admitted.count == 2 }
                    return false
                }
            }
            #expect(answered)
            try await nodes[2].swarm.shutDown().get()
            let gone = nodes[2].peer
            try await eventually("the departure of a node") { !nodes[0].mesh.isAdmitted(gone) }
            // It is present until the last of its neighbours has said that it is gone.
            try await eventually("its absence in the status") {
                try await nodes[0].mesh.status().get().departed.map(\.peer) == [gone]
            }
        }
    }

    @Test("a node with another token is neither admitted nor told anything")
    func otherNetwork() async throws {
        try await MeshWorld.run { world in
            let ours = try await world.node(try .generate())
            let theirs = try await world.node(try .generate())
            try await ours.mesh.put(EntryID("kairos", "secret"), value: "\"1\"").get()
            try await theirs.dial(ours.swarm)
            try await eventually("a refusal") {
                try await ours.mesh.status().get().admission.badProofs > 0
            }
            #expect(!ours.mesh.isAdmitted(theirs.peer) && !theirs.mesh.isAdmitted(ours.peer))
            #expect(try await theirs.value(EntryID("kairos", "secret")) == nil)
        }
    }

    @Test("nodes whose clocks differ stay together while the room rotates")
    func rotation() async throws {
        try await MeshWorld.run { world in
            let token = try NetworkToken.generate(rotation: .every(seconds: 15))
            // The first rotation comes in about a second, for one node two seconds earlier.
            let intoWindow = SystemTime().wallClock().nanoseconds % 15_000_000_000
            let offset = Duration.nanoseconds(14_000_000_000 - intoWindow)
            let times = [SettableTime(offset: offset), SettableTime(offset: offset + .seconds(2))]
            var nodes: [MeshWorld.Node] = []
            for time in times { nodes.append(try await world.node(token, time: time)) }
            try await nodes[0].dial(nodes[1].swarm)
            try await eventually("admission") {
                nodes[0].mesh.isAdmitted(nodes[1].peer) && nodes[1].mesh.isAdmitted(nodes[0].peer)
            }
            var rotations = 0
            for round in 0..<40 {
                let id = EntryID("kairos", LedgerText("round-\(round)"))
                try await nodes[round % 2].mesh.put(id, value: "\"x\"").get()
                try await eventually("round \(round)", within: .seconds(5)) {
                    try await nodes[(round + 1) % 2].value(id) == "\"x\""
                }
                rotations = try await nodes[0].mesh.status().get().room.rotations
                if rotations >= 3 { break }
                // Both clocks run on, and faster than they should.
                for time in times { time.shift(by: .seconds(1)) }
                try await Task.sleep(for: .milliseconds(300))
            }
            #expect(rotations >= 2)
            for node in nodes { #expect(try await node.mesh.status().get().room.unopened == 0) }
        }
    }

    @Test("what was durable is there after a restart, and another network's ledger is set aside")
    func restart() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "mesh-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("ledger.snapshot").path
        let token = try NetworkToken.generate()
        let identity = Identity.generate()
        let id = EntryID("kairos", "role")
        try await MeshWorld.run { world in
            let node = try await world.node(token, identity: identity, snapshotPath: path)
            try await node.mesh.put(id, value: "\"master\"", durable: true).get()
            #expect(FileManager.default.fileExists(atPath: path))
            try await node.mesh.put(EntryID("kairos", "later"), value: "\"1\"").get()
            try await node.mesh.shutDown().get()
        }
        try await MeshWorld.run { world in
            let node = try await world.node(token, identity: identity, snapshotPath: path)
            #expect(try await node.value(id) == "\"master\"")
            #expect(try await node.value(EntryID("kairos", "later")) == "\"1\"")
            #expect(Set(node.changes.map(\.id)) == [id, EntryID("kairos", "later")])
        }
        try await MeshWorld.run { world in
            let node = try await world.node(try .generate(), identity: identity, snapshotPath: path)
            #expect(try await node.value(id) == nil)
            let setAside = try await node.mesh.status().get().ledger.setAside
            #expect(setAside?.problem == .otherNetwork)
            #expect(FileManager.default.fileExists(atPath: path + ".set-aside"))
        }
    }

    @Test("a stock node is a member once it writes in the room, and not by sending others' blocks again")
    func provenByWriting() async throws {
        try await MeshWorld.run { world in
            let token = try NetworkToken.generate()
            let window = try RoomSchedule(token).windows(at: SystemTime().wallClock()).current
            let codec = RoomCodec(limit: token.maximumMessageSize)
            let node = try await world.node(token)
            let identity = Identity.generate()
            let (swarm, gossip, received) = try await world.stock(identity)
            gossip.subscribe(to: Topic(window.topic))
            let machine = LedgerText("{\"PeerID\":\"\(node.peer)\"}")
            try await node.mesh.put(EntryID(.machines, "10.1.0.1"), value: machine).get()
            try await swarm.dial(node.peer, addresses: node.swarm.listenAddresses().get()).get()
            func standing() async throws -> Admission.Standing? {
                let mesh = node.mesh
                return try await node.swarm.eventLoop.submit {
                    mesh.members.first { $0.peer == identity.peerID }?.standing
                }.get()
            }
            // It has proven nothing, and gets the room's messages.
            try await eventually("a sealed block for the visitor") { !received.all.isEmpty }
            #expect(try await standing() == .visitor)
            let note = EntryID("kairos", "note")
            let sealed = try codec.encode(
                Block(storage: ["kairos": ["note": Entry(value: "1")]]), key: window.sealKey,
                nonce: Crypto.randomBytes(12))
            for data in received.all + [sealed] {
                try await gossip.publish(data, to: Topic(window.topic)).get()
            }
            try await eventually("the last of what it sent again") { try await node.value(note) == "1" }
            #expect(try await standing() == .visitor)
            let beat = EntryID(.healthcheck, LedgerText(identity.peerID.description))
            var own = Entry(value: "\"2026-01-01T00:00:00Z\"", version: 1)
            own.sign(at: beat, with: identity)
            let data = try codec.encode(
                Block(storage: [.healthcheck: [beat.key: own]]), key: window.sealKey,
                nonce: Crypto.randomBytes(12))
            try await gossip.publish(data, to: Topic(window.topic)).get()
            try await eventually("its standing") { try await standing() == .stock }
        }
    }

    @Test("a stock node in the room gets whole blocks, and what it forges or replays changes nothing")
    func stockNode() async throws {
        try await MeshWorld.run { world in
            let token = try NetworkToken.generate()
            let window = try RoomSchedule(token).windows(at: SystemTime().wallClock()).current
            let codec = RoomCodec(limit: token.maximumMessageSize)
            let node = try await world.node(token)
            let identity = Identity.generate()
            let (swarm, gossip, received) = try await world.stock(identity)
            gossip.subscribe(to: Topic(window.topic))
            let machine = EntryID(.machines, "10.1.0.1")
            let value = LedgerText("{\"PeerID\":\"\(node.peer)\"}")
            try await node.mesh.put(machine, value: value).get()
            try await swarm.dial(node.peer, addresses: node.swarm.listenAddresses().get()).get()
            func heard() -> [Block] {
                received.all.compactMap { try? codec.decode($0, keys: [window.sealKey]) }
            }
            try await eventually("a whole block for the stock node") {
                heard().contains { $0.index > 0 && $0.storage[.machines]?["10.1.0.1"]?.value == value }
            }
            #expect(!node.mesh.isAdmitted(swarm.localPeer))
            #expect(try await node.mesh.status().get().room.stockPeers == 1)
            func publish(_ block: Block) async throws {
                let data = try codec.encode(block, key: window.sealKey, nonce: Crypto.randomBytes(12))
                try await gossip.publish(data, to: Topic(window.topic)).get()
            }
            // What it may write arrives.
            let note = EntryID("kairos", "note")
            try await publish(Block(storage: ["kairos": ["note": Entry(value: "\"hi\"")]]))
            try await eventually("the stock node's entry") { try await node.value(note) == "\"hi\"" }
            // What it may not write does not: over a live owner, in another's name, into an own bucket.
            var stolen = Entry(value: LedgerText("{\"PeerID\":\"\(swarm.localPeer)\"}"), version: .max)
            stolen.sign(at: machine, with: identity)
            var forged = Entry(value: value, version: .max)
            forged.sign(at: machine, with: identity)
            forged.owner = LedgerText(node.peer.description)
            let register = EntryID(.kairosElection, LedgerText(node.peer.description))
            var planted = Entry(value: "{}", version: .max)
            planted.sign(at: register, with: identity)
            let before = node.changes.filter { $0.id.bucket != .healthcheck }
            try await publish(Block(storage: [.machines: ["10.1.0.1": stolen]]))
            try await publish(Block(storage: [.machines: ["10.1.0.1": forged]]))
            try await publish(Block(storage: [.kairosElection: [register.key: planted]]))
            for old in received.all.prefix(3) { try await gossip.publish(old, to: Topic(window.topic)).get() }
            try await publish(Block(storage: ["kairos": ["done": Entry(value: "1")]]))
            try await eventually("the last of them") {
                try await node.value(EntryID("kairos", "done")) == "1"
            }
            let after = node.changes.filter { $0.id.bucket != .healthcheck }
            #expect(after.count == before.count + 1)
            let (held, plantedValue) = (try await node.value(machine), try await node.value(register))
            #expect(held == value && plantedValue == nil)
            let rejected = node.events.withLockedValue { events in
                events.contains {
                    if case .rejected(machine, _, .overwriteOfLiveEntry) = $0 { return true }
                    return false
                }
            }
            #expect(rejected)
            // Garbage on the topic is counted and dropped.
            try await gossip.publish(Array("nonsense".utf8), to: Topic(window.topic)).get()
            try await eventually("the nonsense") { try await node.mesh.status().get().room.unopened > 0 }
        }
    }
}
