import Coordination
import Foundation
import K3s
import LibP2P
import MeshNetwork
import Testing
import Timing

@testable import NodeAgent

@Suite("What the disk says, held against what was decided")
struct DiskMemoryTests {
    private let empty = K3sCondition(found: .missing, datastore: nil, isTakenOut: false, token: nil)
    private let data = K3sCondition(
        found: .known(ClusterRecord(epoch: 1, role: .server)), datastore: .sqlite, isTakenOut: false,
        token: "K10aa::server:secret")

    private func waits(_ node: TestNode, for text: String, _ step: Waiting.Step = .k3s) -> Bool {
        node.core.waiting.contains { $0.step == step && $0.what.contains(text) && $0.remedy != nil }
    }

    // MARK: the founder of a cluster that runs

    @Test("without its data it founds nothing, says so, and makes no token, whatever else is missing")
    func lostData() throws {
        let lost: [K3sCondition] = [
            empty,
            K3sCondition(
                found: .known(ClusterRecord(epoch: 1, role: .server)), datastore: nil, isTakenOut: false,
                token: nil),
            K3sCondition(
                found: .known(ClusterRecord(epoch: 7, role: .server)), datastore: .etcd, isTakenOut: false,
                token: nil),
            K3sCondition(
                found: .known(ClusterRecord(epoch: 1, role: .agent)), datastore: .etcd, isTakenOut: false,
                token: nil),
            K3sCondition(found: .unreadable, datastore: .etcd, isTakenOut: false, token: nil),
        ]
        for (number, k3s) in lost.enumerated() {
            for token in [nil, "token"] {
                var node = try TestNode(servers: ["me"], k3s: k3s, joinToken: token)
                node.put(.start, at: 0)
                node.put(.members(connected: [node.ann.peerID, node.bob.peerID], roomAnswered: true))
                node.put(.tick, at: 1000)
                #expect(node.assignment == nil, "\(number)")
                #expect(!node.does { if case .makeJoinToken = $0 { true } else { false } }, "\(number)")
                #expect(waits(node, for: number == 2 ? "epoch 7" : "data"), "\(number): \(node.core.waiting)")
                #expect(node.core.wishes().refoundAfter == nil)
            }
        }
    }

    @Test("with its data it goes on, and its token is that of the data when the file is lost")
    func token() throws {
        var node = try TestNode(servers: ["me"], k3s: data, joinToken: nil)
        node.put(.start, at: 0)
        #expect(node.does { if case .keepJoinToken("secret") = $0 { true } else { false } })
        node.put(.joinToken("secret"))
        #expect(node.assignment?.role == .founder && node.assignment?.token == "secret")
        #expect(node.core.waiting.isEmpty)
    }

    @Test("data without a record are the first founding's, and no other's")
    func unrecorded() throws {
        let found = K3sCondition(found: .missing, datastore: .sqlite, isTakenOut: false, token: "secret")
        var node = try TestNode(servers: ["me"], k3s: found)
        node.put(.start, at: 0)
        #expect(node.assignment?.role == .founder)
        // The reconciler has looked and not yet recorded.
        node.put(.k3s(K3sCondition(epoch: 1, hasData: false)))
        #expect(node.core.waiting.isEmpty)

        var later = try TestNode(servers: ["ann"], k3s: found)
        later.put(.start, at: 0)
        let me = ElectedServer(peer: later.me.peerID, uuid: "uuid")
        later.decide(TestNode.decree([later.ann], []).refounded(by: me).running)
        #expect(later.assignment == nil)
        #expect(waits(later, for: "whose data"))
    }

    @Test("where another server runs it joins that one, with the token that the ledger has")
    func rejoin() throws {
        var node = try TestNode(servers: ["me", "ann"], additionalServers: 1, k3s: empty, joinToken: "old")
        node.put(.start, at: 0)
        #expect(node.assignment == nil && waits(node, for: "gone"))
        node.introduce(node.ann, name: "ann", serves: true)
        let joined = try #require(node.assignment)
        #expect(joined.role == .server && joined.token == "token" && joined.joinURL != nil)
        #expect(node.core.waiting.isEmpty)
        // It stays what it joined as, and others can join it.
        node.put(
            .k3s(
                K3sCondition(
                    epoch: 1, hasData: true, isReady: true, isVoter: true, isMember: true, hasRun: true)))
        #expect(node.assignment == nil)
        #expect(node.written.contains { $0.contains("\(node.me.peerID)/kairos/join") })
    }

    @Test(
        "an external database keeps the data elsewhere: the disk says nothing of them, and the token is no new one"
    )
    func external() throws {
        var node = try TestNode(servers: ["me"], k3s: empty) { $0.keepsDataElsewhere = true }
        node.put(.start, at: 0)
        #expect(node.assignment?.role == .founder)
        var poor = try TestNode(servers: ["me"], k3s: empty, joinToken: nil) { $0.keepsDataElsewhere = true }
        poor.put(.start, at: 0)
        #expect(poor.assignment == nil)
        #expect(waits(poor, for: "token", .join))
        #expect(!poor.does { if case .makeJoinToken = $0 { true } else { false } })
    }

    // MARK: an election that was forgotten

    @Test(
        "a node that was in a cluster and has lost what was decided votes on nothing until a member tells it")
    func forgotten() throws {
        let agent = K3sCondition(
            found: .known(ClusterRecord(epoch: 1, role: .agent)), datastore: nil, isTakenOut: false,
            token: nil)
        for (k3s, votes) in [(agent, false), (data, false), (empty, true)] {
            var node = try TestNode(servers: [], k3s: k3s) { $0.hasForgotten = true }
            node.put(.start, at: 0)
            node.introduce(node.ann, name: "ann")
            node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
            var driven = false
            for second in 1...400 {
                node.put(.tick, at: Int64(second))
                if node.does({ if case .persistElection = $0 { true } else { false } }) { driven = true }
            }
            #expect(driven == votes)
            #expect(waits(node, for: "election.state", .election) == !votes)
            node.decide(TestNode.decree([node.ann], []))
            #expect(node.core.election.decree != nil && !waits(node, for: "election.state", .election))
        }
    }

    // MARK: the files

    @Test("what a node with a key has left is found, and what others leave is not taken for it")
    func traces() throws {
        let scratch = try Scratch()
        let paths = NodePaths(root: scratch.path)
        let traces = NodeTraces(
            paths: paths, leaseDirectory: paths.leaseDirectory, layout: K3sLayout(root: scratch.path))
        func make(_ path: String, _ text: String = "x") throws {
            try DurableFile.write(Array(text.utf8), to: path)
        }
        #expect(traces.found(keyFileExists: false).isEmpty)
        // A first start that ended early, an image with a stock lease, K3s by the cloud-config alone.
        try make(paths.identity + ".new")
        try DurableFile.makeFolder(paths.stateDirectory + "/empty")
        try make(paths.leaseDirectory + "/0123")
        try make(scratch.path + "/usr/local/.kairos/p2p/k3s.cluster")
        try make(scratch.path + "/var/lib/rancher/k3s/server/db/state.db")
        #expect(traces.found(keyFileExists: false).isEmpty)
        // Somebody has emptied the key.
        #expect(traces.found(keyFileExists: true).count == 2)
        try make(scratch.path + "/etc/rancher/k3s/config.yaml.d/90-kairos-p2p.yaml", "token: \"secret\"\n")
        #expect(traces.found(keyFileExists: false).contains { $0.hasSuffix("/var/lib/rancher/k3s") })
        for file in [paths.electionState, paths.ledgerSnapshot, paths.joinToken] {
            try make(file)
            #expect(traces.found(keyFileExists: false).contains(file))
        }
    }

    @Test("the disk tells whose K3s' data are, with what a server wrote beside them")
    func condition() throws {
        let scratch = try Scratch()
        let layout = K3sLayout(root: scratch.path)
        let disk = NodeDisk(paths: NodePaths(root: scratch.path))
        #expect(disk.k3sCondition(in: layout).hasData == false)
        try DurableFile.write([1], to: layout.sqliteData)
        try DurableFile.write(Array("K10aa::server:secret\n".utf8), to: layout.dataFolder + "/server/token")
        #expect(disk.k3sCondition(in: layout).hasUnrecordedData)
        #expect(disk.k3sCondition(in: layout).token == "K10aa::server:secret")
        try DurableFile.write(
            Array(ClusterRecord(epoch: 3, role: .server).rendered().utf8), to: layout.clusterRecord)
        let known = disk.k3sCondition(in: layout)
        #expect(known.holdsData(of: 3) && !known.holdsData(of: 1) && !known.hasUnrecordedData)
        #expect(known.isServer && known.isMember == false)
        try DurableFile.write([1], to: layout.clusterRecord)
        #expect(!disk.k3sCondition(in: layout).holdsData(of: 1))
    }
}
