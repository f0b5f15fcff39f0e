import Coordination
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Testing
import Timing
import VPN

@Suite("What a node tells the network")
struct KeyPublisherTests {
    let peer: PeerID
    let stranger = "stock-uuid"

    init() throws {
        peer = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 4, count: 32))).peerID
    }

    private func moment(_ seconds: Int64) -> Moment {
        Moment(instant: .zero + .seconds(seconds), wall: UnixTime(seconds: 1_800_000_000 + seconds))
    }

    private func publication(
        watchers: KeyPublisher.Watchers = .none, founder: Bool = true, kubeconfig: String? = nil,
        publishes: Bool = true
    ) -> KeyPublisher.Publication {
        KeyPublisher.Publication(
            peer: peer, role: founder ? "master" : "worker", isLeader: founder,
            address: VirtualAddress("10.1.0.7"),
            join: founder ? JoinFacts(epoch: 1, address: "10.1.0.7", token: "secret") : nil,
            nodeToken: "secret", kubeconfig: kubeconfig, publishesKubeconfig: publishes,
            watchers: watchers, ownMembers: ["me"])
    }

    private func apply(_ writes: [KeyPublisher.Write], to board: inout LedgerBoard) {
        for write in writes {
            _ = board.take(
                Entry(
                    value: LedgerText(write.value ?? ""), owner: LedgerText(peer.description),
                    isDeleted: write.value == nil), at: write.id)
        }
    }

    @Test("the founder publishes join facts before any key that says it is one")
    func founder() {
        var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
        var board = LedgerBoard(networkID: "kairos")
        let writes = publisher.writes(publication(), board: board, at: moment(0))
        let keys = writes.map(\.id.key.string)
        #expect(keys.first == "me-uuid")
        #expect(keys.dropFirst().first == "\(peer)/kairos/join")
        #expect(
            Set(keys.dropFirst(2)) == ["me-ip", "me-role", "leader-auto", "ip-master", "token-nodetoken"])
        apply(writes, to: &board)
        #expect(KairosValue.decodeString(board.stock["ip-master"] ?? "") == "10.1.0.7")
        #expect(KairosValue.decodeString(board.stock["token-nodetoken"] ?? "") == "secret")
        #expect(
            publisher.writes(publication(), board: board, at: moment(1)).isEmpty, "nothing is written twice")
    }

    @Test(
        "the kubeconfig is published by the founder alone, stays while it is not known, and goes where it is unwanted"
    )
    func kubeconfig() {
        var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
        var board = LedgerBoard(networkID: "kairos")
        func published() -> String? { board.stock["master-kubeconfig"].flatMap(KairosValue.decodeString) }
        apply(publisher.writes(publication(), board: board, at: moment(0)), to: &board)
        #expect(published() == nil)
        apply(publisher.writes(publication(kubeconfig: "YQ"), board: board, at: moment(1)), to: &board)
        #expect(published() == "YQ")
        #expect(publisher.writes(publication(), board: board, at: moment(20)).isEmpty, "K3s restarts")
        apply(publisher.writes(publication(kubeconfig: "Yg"), board: board, at: moment(21)), to: &board)
        #expect(published() == "Yg", "a changed one replaces it")
        var agent = KeyPublisher(uuid: "other", networkID: "kairos")
        let others = agent.writes(
            publication(founder: false, kubeconfig: "YQ", publishes: false), board: board, at: moment(30))
        #expect(!others.contains { $0.id.key.string == "master-kubeconfig" })
        apply(
            publisher.writes(publication(kubeconfig: "Yg", publishes: false), board: board, at: moment(40)),
            to: &board)
        #expect(published() == nil)
        #expect(
            publisher.writes(publication(kubeconfig: "Yg", publishes: false), board: board, at: moment(60))
                .isEmpty,
            "it is deleted once")
    }

    @Test("an agent publishes its own keys and nothing of the server's")
    func agent() {
        var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
        let writes = publisher.writes(
            publication(founder: false), board: LedgerBoard(networkID: "kairos"), at: moment(0))
        #expect(Set(writes.map(\.id.key.string)) == ["me-uuid", "me-ip", "me-role"])
    }

    @Test("a key that somebody overwrites comes back, but not faster than every ten seconds")
    func contest() {
        var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
        var board = LedgerBoard(networkID: "kairos")
        apply(publisher.writes(publication(), board: board, at: moment(0)), to: &board)
        let usurped = KeyPublisher.Write(
            id: EntryID(bucket: "kairos", key: "leader-auto"), value: KairosValue.encode("other"))
        apply([usurped], to: &board)
        #expect(publisher.writes(publication(), board: board, at: moment(5)).isEmpty)
        #expect(publisher.nextDeadline == .zero + .seconds(10))
        let again = publisher.writes(publication(), board: board, at: moment(10))
        #expect(again.map(\.id.key.string) == ["leader-auto"])
    }

    @Test("advertisements are renewed as often as stock nodes need it, and for nobody else")
    func advertisements() {
        for (watchers, interval) in [(KeyPublisher.Watchers.distant, Int64(300)), (.inRoom, 20)] {
            var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
            var board = LedgerBoard(networkID: "kairos")
            apply(publisher.writes(publication(watchers: watchers), board: board, at: moment(0)), to: &board)
            let early = publisher.writes(
                publication(watchers: watchers), board: board, at: moment(interval - 1))
            #expect(!early.contains { $0.id.key == "me-uuid" })
            #expect(publisher.nextDeadline == .zero + .seconds(interval))
            let due = publisher.writes(publication(watchers: watchers), board: board, at: moment(interval))
            #expect(due.contains { $0.id.key == "me-uuid" })
        }
        var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
        var board = LedgerBoard(networkID: "kairos")
        apply(publisher.writes(publication(), board: board, at: moment(0)), to: &board)
        #expect(publisher.nextDeadline == nil)
        #expect(publisher.writes(publication(), board: board, at: moment(100_000)).isEmpty)
        // The first stock node that comes finds it new.
        let renewed = publisher.writes(publication(watchers: .inRoom), board: board, at: moment(100_001))
        #expect(renewed.map(\.id.key.string) == ["me-uuid"])
    }

    @Test("the founder assigns stock nodes that have no role, and leaves the others alone")
    func stockNodes() {
        var publisher = KeyPublisher(uuid: "me", networkID: "kairos")
        var board = LedgerBoard(networkID: "kairos")
        for (uuid, role) in [("stock-new", nil), ("stock-old", "master"), ("stock-none", "none")]
            as [(String, String?)]
        {
            apply(
                [
                    .init(
                        id: EntryID(bucket: "kairos", key: "\(uuid)-uuid"),
                        value: KairosValue.encode(advertisedAt: "2026-01-01T00:00:00Z"))
                ],
                to: &board)
            if let role {
                apply(
                    [
                        .init(
                            id: EntryID(bucket: "kairos", key: "\(uuid)-role"),
                            value: KairosValue.encode(role))
                    ], to: &board)
            }
        }
        let writes = publisher.writes(publication(), board: board, at: moment(0))
        let assigned = Set(writes.map(\.id.key.string).filter { $0.hasPrefix("stock") })
        #expect(assigned == ["stock-new-role", "stock-none-role"])
    }
}

@Suite("How long each step has been waiting")
struct WaitLogTests {
    @Test("a wait keeps its beginning while its words change, and begins anew after it was over")
    func since() {
        var log = WaitLog()
        log.update([.init(step: .election, what: "2 more nodes")], at: UnixTime(seconds: 10))
        log.update([.init(step: .election, what: "1 more node")], at: UnixTime(seconds: 20))
        #expect(log.waiting.map(\.what) == ["1 more node"])
        #expect(log.waiting.map(\.since) == [UnixTime(seconds: 10)])
        log.update([], at: UnixTime(seconds: 30))
        #expect(log.waiting.isEmpty)
        log.update([.init(step: .election, what: "1 more node")], at: UnixTime(seconds: 40))
        #expect(log.waiting.map(\.since) == [UnixTime(seconds: 40)])
    }

    @Test("waits are told in the order of the boot, one a step")
    func order() {
        var log = WaitLog()
        log.update(
            [
                .init(step: .k3s, what: "b"), .init(step: .address, what: "a"), .init(step: .k3s, what: "c"),
            ], at: UnixTime(seconds: 0))
        #expect(log.waiting.map(\.what) == ["a", "b"])
    }
}
