import Coordination
import Ledger
import LibP2P
import MeshNetwork
import TestSupport
import Testing
import Timing
import VPN

@testable import NodeAgent

/// One node's decisions in a cluster of its own making: what the others say is put into its ledger.
struct TestNode {
    let me: Identity
    let ann: Identity
    let bob: Identity
    let scope = ElectionScope(network: "test/kairos", quorum: 2)
    private(set) var core: NodeCore
    private(set) var effects: [NodeCore.Effect] = []
    private var now = Instant.zero
    /// What the disk says of a lease, at once; it takes its time where this says nothing.
    var lease: (VirtualAddress) -> NodeCore.Input? = { .leaseWritten($0) }

    /// `decree` is on the node's disk: of servers by name, and of forgotten nodes; without servers nothing is.
    init(
        servers: [String], forgotten: [String] = [], additionalServers: Int? = nil, hasLeft: Bool = false,
        k3s: K3sCondition = K3sCondition(epoch: 1, hasData: true), fixedAddress: VirtualAddress? = nil,
        addressing: NodeAddressing = .vpn, serverName: String? = nil, joinToken: String? = "token",
        configure: (inout NodeCore.Configuration) -> Void = { _ in }
    ) throws {
        me = try Self.identity(1)
        ann = try Self.identity(2)
        bob = try Self.identity(3)
        let people = ["me": me, "ann": ann, "bob": bob]
        let decree = Self.decree(
            servers.isEmpty ? [ann] : servers.compactMap { people[$0] },
            forgotten.compactMap { people[$0]?.peerID })
        let state = ElectionState(
            scope: scope, owner: me.peerID, certificate: Self.certificate(decree, by: [ann, bob], in: scope),
            hasLeft: hasLeft)
        let address = try VirtualSubnet(containing: VirtualAddress(rawValue: 0x0A01_0000), prefixLength: 24)
        var configuration = NodeCore.Configuration(
            identity: me, uuid: "me-uuid", name: "me", networkID: "kairos", scope: scope, forcedRole: nil,
            highAvailability: additionalServers != nil, additionalServers: additionalServers ?? 0,
            apiAddress: addressing.hasVPN ? address.standardAPIAddress : nil, addressing: addressing,
            serverName: serverName, fixedToken: nil, runsK3s: true)
        configure(&configuration)
        core = NodeCore(
            configuration: configuration,
            claim: try AddressClaim(
                configuration: .init(
                    subnet: address, fixedAddress: fixedAddress, minimumNodes: fixedAddress == nil ? 1 : 2),
                description: MachineEntry(
                    peerID: me.peerID.description, hostname: "me", address: address.network, version: "test"),
                lease: nil),
            election: DecreeElection(
                configuration: .init(
                    scope: scope, identity: me, card: MemberCard(uuid: "me-uuid", name: "me", forcedRole: nil)
                ),
                restored: servers.isEmpty ? nil : state, random: SeededGenerator(seed: 1), at: .zero),
            joinToken: joinToken, k3s: k3s)
    }

    private static func identity(_ number: UInt8) throws -> Identity {
        try Identity(seed: SecretBytes(copying: [UInt8](repeating: number, count: 32)))
    }

    /// Those who have decided, and decide what comes next where they are not forgotten.
    static var everybody: [Identity] { (1...3).compactMap { try? identity($0) } }

    static func decree(
        _ servers: [Identity], _ forgotten: [PeerID], number: UInt64 = 5, founder: Identity? = nil
    ) -> Decree {
        let elected = servers.map { ElectedServer(peer: $0.peerID, uuid: "uuid") }
        let first = founder.map { ElectedServer(peer: $0.peerID, uuid: "uuid") }
        return Decree(
            number: number, epoch: 1, founder: first ?? elected[0], isRunning: true, servers: elected,
            forgotten: forgotten,
            voters: Voters.odd(everybody.map(\.peerID).filter { !forgotten.contains($0) }))
    }

    static func certificate(
        _ decree: Decree, by voters: [Identity], in scope: ElectionScope
    ) -> DecreeCertificate? {
        let ballot = Ballot(round: 1, proposer: voters[0].peerID)
        let electorate = Electorate.voters(everybody.map(\.peerID))
        let statement = AcceptStatement(
            network: scope.network, electorate: electorate, ballot: ballot, decree: decree)
        let accepts = voters.map { voter in
            SignedAccept(
                acceptor: voter.peerID, ballot: ballot, decree: decree,
                signature: voter.sign(statement.bytes(acceptor: voter.peerID)))
        }
        return DecreeCertificate(
            network: scope.network, electorate: electorate, ballot: ballot, decree: decree, accepts: accepts)
    }

    /// Gives one input at a time of the test's, and carries out what a device and a disk would.
    mutating func put(_ input: NodeCore.Input, at seconds: Int64? = nil) {
        if let seconds { now = .zero + .seconds(seconds) }
        effects = []
        var inputs = [input]
        while !inputs.isEmpty {
            let moment = Moment(instant: now, wall: UnixTime(seconds: 1_800_000_000) + (now - .zero))
            let done = core.receive(inputs.removeFirst(), at: moment)
            effects += done
            for effect in done {
                switch effect {
                case .writeLease(let address): if let answer = lease(address) { inputs.append(answer) }
                case .configureDevice(let address): inputs.append(.device(.up(address)))
                case .releaseDevice: inputs.append(.device(.down))
                case .persistElection(_, let number): inputs.append(.electionPersisted(number))
                default: break
                }
            }
            let fault = DeadlineCheck.fault(of: core, at: now, wakeUps: 4, deadline: { $0.nextDeadline }) {
                let wall = UnixTime(seconds: 1_800_000_000) + ($1 - .zero)
                _ = $0.receive(.tick, at: Moment(instant: $1, wall: wall))
            }
            if let fault { Issue.record("\(fault)") }
        }
    }

    /// `other` says who it is, and as a server what others join it with.
    mutating func introduce(_ other: Identity, name: String, serves: Bool = false, isDeparting: Bool = false)
    {
        let register = ElectionRegister(
            scope: scope, card: MemberCard(uuid: "\(name)-uuid", name: name, forcedRole: nil),
            number: (core.election.decree?.number ?? 0) + 1, hasLeft: isDeparting)
        var said: [(EntryID, String)] = [
            (
                EntryID(
                    bucket: LedgerKeys.electionBucket,
                    key: LedgerKeys.register(of: other.peerID, networkID: "kairos")),
                ElectionCodec.encode(register)
            )
        ]
        if serves {
            let facts = JoinFacts(epoch: 1, address: "10.1.0.77", token: "token")
            let key = LedgerKeys.joinFacts(of: other.peerID, networkID: "kairos")
            said.append((EntryID(bucket: LedgerKeys.joinBucket, key: key), facts.text))
        }
        put(.entries(said.map { (id: $0.0, entry: entry($0.1, of: other)) }))
    }

    /// The members have decided.
    mutating func decide(_ decree: Decree) {
        guard let certificate = Self.certificate(decree, by: Self.everybody, in: scope) else { return }
        let key = LedgerKeys.certificate(of: ann.peerID, networkID: "kairos")
        let id = EntryID(bucket: LedgerKeys.electionBucket, key: key)
        put(.entries([(id: id, entry: entry(ElectionCodec.encode(certificate), of: ann))]))
    }

    /// `other` holds an address, and may have said when it lived.
    mutating func give(_ address: VirtualAddress, to other: Identity, heartbeat seconds: Int64? = nil) {
        let machine = MachineEntry(
            peerID: other.peerID.description, hostname: "x", address: address, version: "test")
        var said: [(EntryID, String)] = [
            (EntryID(bucket: "machines", key: address.description), machine.value)
        ]
        if let seconds {
            let time = GoTime.rfc3339(UnixTime(seconds: 1_800_000_000 + seconds))
            said.append((EntryID(.healthcheck, LedgerText(other.peerID.description)), "\"\(time)\""))
        }
        put(.entries(said.map { (id: $0.0, entry: entry($0.1, of: other)) }))
    }

    private func entry(_ text: String, of owner: Identity) -> Entry {
        Entry(value: LedgerText(text), owner: LedgerText(owner.peerID.description))
    }

    // MARK: what was done

    /// The nodes to take out of Kubernetes, each time that was said.
    var removals: [[PeerID: String]] {
        effects.compactMap { if case .removeNodes(let nodes, _) = $0 { nodes } else { nil } }
    }

    var removalDelay: Duration? {
        for case .removeNodes(_, let delay) in effects { return delay }
        return nil
    }

    var assignment: K3sAssignment? {
        for case .assign(let assignment) in effects { return assignment }
        return nil
    }

    var leaves: Bool { does { if case .leaveCluster = $0 { true } else { false } } }

    var assignedRole: NodeRole? { assignment?.role }

    /// What was written under the stock key.
    func value(_ key: String) -> String? {
        for case .put(let id, let value, _) in effects where id.key.string == key {
            return KairosValue.decodeString(value)
        }
        return nil
    }

    var deleted: [String] {
        effects.compactMap { if case .delete(let id) = $0 { id.key.string } else { nil } }
    }

    var written: [String] {
        effects.compactMap { if case .put(let id, _, _) = $0 { id.key.string } else { nil } }
    }

    func does(_ isIt: (NodeCore.Effect) -> Bool) -> Bool { effects.contains(where: isIt) }
}

@Suite("What one node decides")
struct NodeCoreTests {
    private let ready = K3sCondition(epoch: 1, isReady: true, token: "K10::server:token", hasRun: true)

    // MARK: nodes that are gone

    @Test(
        "a server takes forgotten nodes out of Kubernetes until it is done, and again when they are forgotten again"
    )
    func removal() throws {
        var node = try TestNode(servers: ["me"], forgotten: ["bob"])
        node.put(.start, at: 0)
        node.introduce(node.bob, name: "bob")
        #expect(node.removals.isEmpty, "its K3s does not run yet")
        node.put(.k3s(ready))
        #expect(node.removals == [[node.bob.peerID: "bob"]])
        #expect(node.removalDelay == .zero)
        node.put(.tick, at: 1000)
        #expect(node.removals.isEmpty, "it is said once")
        node.put(.nodeRemoved(node.bob.peerID))
        #expect(node.removals == [[:]])
        node.decide(TestNode.decree([node.me], [], number: 6))
        #expect(node.removals.isEmpty)
        node.decide(TestNode.decree([node.me], [node.bob.peerID], number: 7))
        #expect(node.removals == [[node.bob.peerID: "bob"]])
    }

    @Test("a forgotten node that says it is not out of etcd is taken out again")
    func removalAgain() throws {
        var node = try TestNode(servers: ["me"], forgotten: ["bob"])
        node.put(.start, at: 0)
        node.introduce(node.bob, name: "bob")
        node.put(.k3s(ready))
        node.put(.nodeRemoved(node.bob.peerID))
        #expect(node.removals == [[:]])
        node.introduce(node.bob, name: "bob", isDeparting: true)
        #expect(node.removals == [[node.bob.peerID: "bob"]])
    }

    @Test("what was ready as an agent is no server yet")
    func readyAsAgent() throws {
        var node = try TestNode(servers: ["ann"], additionalServers: 1)
        node.put(.start, at: 0)
        node.introduce(node.ann, name: "ann", serves: true)
        node.put(.k3s(K3sCondition(epoch: 1, isServer: false, isReady: true, hasRun: true)))
        node.decide(TestNode.decree([node.ann, node.me], [], number: 6))
        #expect(node.assignedRole == .server)
        #expect(!node.written.contains { $0.contains("/join") })
        node.put(.k3s(member))
        #expect(node.written.contains { $0.contains("/join") })
    }

    @Test("a server whose cluster was given up stops it, also where the new one has no role for it")
    func overruled() throws {
        var node = try TestNode(servers: ["me"], k3s: K3sCondition(epoch: 1, hasData: true))
        node.put(.start, at: 0)
        #expect(node.assignedRole == .founder)
        node.put(.settings(.init(forcedRole: .master, quorum: 2)))
        let former = TestNode.decree([node.me], [])
        node.decide(former.refounded(by: ElectedServer(peer: node.ann.peerID, uuid: "uuid")))
        #expect(node.leaves)
        node.put(.k3s(K3sCondition(epoch: 2)), at: 10)
        #expect(!node.leaves && node.assignment == nil, "once is enough")
    }

    @Test("a node that is a member again is not taken out any more")
    func recalled() throws {
        var node = try TestNode(servers: ["me"], forgotten: ["bob"])
        node.put(.start, at: 0)
        node.introduce(node.bob, name: "bob")
        node.put(.k3s(ready))
        node.decide(TestNode.decree([node.me], [], number: 6))
        #expect(node.removals == [[:]])
    }

    @Test("a server leaves removals to those before it, as long as they are there, and then does them")
    func turn() throws {
        var node = try TestNode(servers: ["ann", "me"], forgotten: ["bob"], additionalServers: 1)
        node.put(.start, at: 0)
        node.introduce(node.ann, name: "ann", serves: true)
        node.introduce(node.bob, name: "bob")
        node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
        node.put(.k3s(ready))
        #expect(node.removals == [[node.bob.peerID: "bob"]])
        #expect(node.removalDelay == .seconds(120))
    }

    // MARK: leaving

    @Test(
        "a node that left gives its address up, with its names in the network, and takes none in a later life"
    )
    func leaving() throws {
        var node = try TestNode(servers: ["ann"])
        node.put(.start, at: 0)
        let address = try #require(node.core.address)
        #expect(node.written.contains(address.description))
        node.put(.leave, at: 1)
        #expect(node.core.address == address, "the others have not agreed yet")
        node.decide(TestNode.decree([node.ann], [node.me.peerID], number: 6))
        #expect(node.core.address == nil)
        #expect(
            Set(node.deleted) == [
                address.description, "me-uuid-ip", "me-uuid-role", "me-uuid-uuid", node.me.peerID.description,
            ])
        #expect(node.does { if case .releaseDevice(address) = $0 { true } else { false } })
        #expect(node.does { if case .removeLease = $0 { true } else { false } })
        #expect(node.does { if case .leaveCluster = $0 { true } else { false } })
        node.put(.tick, at: 1000)
        #expect(node.written.isEmpty && node.deleted.isEmpty)

        var later = try TestNode(servers: ["ann"], forgotten: ["me"], hasLeft: true)
        later.put(.start, at: 0)
        #expect(later.core.address == nil)
        #expect(!later.written.contains { VirtualAddress($0) != nil || $0.hasPrefix("me-uuid") })
        #expect(later.core.waiting.map(\.step) == [.role], "and nothing is waited for but a word")
    }

    @Test("a node that was taken for gone and is back keeps its address until it is called back")
    func back() throws {
        var node = try TestNode(servers: ["ann"], forgotten: ["me"])
        node.put(.start, at: 0)
        let address = try #require(node.core.address)
        node.decide(TestNode.decree([node.ann], [], number: 6))
        #expect(node.core.address == address)
        #expect(node.core.forgotten.isEmpty)
    }

    private let member = K3sCondition(epoch: 1, isReady: true, isVoter: true, isMember: true, hasRun: true)

    @Test("of two servers the one that goes serves on until it is out of etcd, however long that takes")
    func departure() throws {
        var node = try TestNode(servers: ["me", "ann"], additionalServers: 1)
        node.put(.start, at: 0)
        node.introduce(node.ann, name: "ann", serves: true)
        node.put(.k3s(member))
        node.put(.leave, at: 1)
        node.decide(TestNode.decree([node.ann], [node.me.peerID], number: 6, founder: node.me))
        #expect(node.assignment?.isDeparting == true && node.assignment?.role == .founder)
        #expect(!node.leaves && node.core.address != nil)
        // The other one is away, so there is no majority either.
        var ill = member
        ill.isReady = false
        node.put(.k3s(ill), at: 10)
        node.put(.tick, at: 100_000)
        #expect(!node.leaves && node.core.address != nil)
        #expect(node.core.waiting.contains { $0.what.contains("take this one out") })
        node.put(.k3s(K3sCondition(epoch: 1, isMember: false)))
        #expect(node.leaves && node.core.address == nil)
    }

    @Test("a restart of its agent changes nothing, whatever the other servers have said")
    func departureAfterRestart() throws {
        let known = K3sCondition(epoch: 1, isMember: true, token: "K10::server:token")
        var node = try TestNode(servers: ["ann"], forgotten: ["me"], hasLeft: true, k3s: known)
        node.put(.start, at: 0)
        #expect(node.core.address != nil && !node.leaves)
        let assignment = try #require(node.assignment)
        #expect(assignment.isDeparting && assignment.role == .server && assignment.token == known.token)
        node.put(.k3s(K3sCondition(epoch: 1, isMember: false)), at: 1)
        #expect(node.leaves && node.core.address == nil)

        let former = K3sCondition(epoch: 7, isMember: true)
        var late = try TestNode(servers: ["ann"], forgotten: ["me"], hasLeft: true, k3s: former)
        late.put(.start, at: 0)
        #expect(late.leaves && late.core.address == nil, "its data are of another cluster")
    }

    @Test("where the others can go on without it, a server that goes serves on for two minutes at most")
    func longestDeparture() throws {
        var node = try TestNode(servers: ["ann", "bob"], forgotten: ["me"], hasLeft: true, k3s: member)
        node.put(.start, at: 0)
        node.put(.tick, at: 119)
        #expect(!node.leaves)
        #expect(try #require(node.core.nextDeadline) <= .zero + .seconds(120))
        node.put(.tick, at: 120)
        #expect(node.leaves && node.core.address == nil)
        node.put(.k3s(member), at: 121)
        #expect(!node.leaves && node.core.address == nil, "once is enough")
    }

    @Test("the last server goes on after a restart although nobody offers to be joined")
    func lastServer() throws {
        let known = K3sCondition(epoch: 1, isMember: true, token: "K10::server:token")
        var node = try TestNode(servers: ["ann", "me"], additionalServers: 1, k3s: known)
        node.decide(TestNode.decree([node.me], [node.ann.peerID], number: 6, founder: node.ann))
        node.put(.start, at: 0)
        let assignment = try #require(node.assignment)
        #expect(assignment.role == .server && assignment.token == known.token && !assignment.isDeparting)
        #expect(assignment.joinURL == "https://\(try #require(assignment.apiAddress)):6443")
        node.put(.k3s(member))
        #expect(node.written.contains { $0.contains(node.me.peerID.description) }, "it can be joined")
    }

    @Test("a server leaves only where most of the others are here and have been ready")
    func refusedLeave() throws {
        var node = try TestNode(servers: ["me", "ann"], additionalServers: 1)
        node.put(.start, at: 0)
        node.put(.k3s(member))
        #expect(!node.core.accepts(.leave), "nothing is known of the other")
        node.introduce(node.ann, name: "ann", serves: true)
        #expect(!node.core.accepts(.leave), "it is away")
        node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
        #expect(node.core.accepts(.leave))
    }

    // MARK: an address that becomes free

    @Test("the device has an address only once its lease is on disk, or cannot be")
    func leaseFirst() throws {
        for isFull in [false, true] {
            var node = try TestNode(servers: ["ann"])
            node.lease = { _ in nil }
            node.put(.start, at: 0)
            let address = try #require(node.core.address)
            let isConfigured: (NodeCore.Effect) -> Bool = {
                if case .configureDevice(address) = $0 { true } else { false }
            }
            #expect(node.does { if case .writeLease(address) = $0 { true } else { false } })
            #expect(!node.does(isConfigured))
            node.put(.tick, at: 5)
            #expect(!node.does(isConfigured))
            node.put(isFull ? .leaseFailed(address) : .leaseWritten(address), at: 6)
            #expect(node.does(isConfigured))
            node.put(.leaseWritten(address), at: 7)
            #expect(!node.does(isConfigured), "once is enough")
        }
    }

    @Test("an address is free some seconds after the eight minutes for which its owner has been away")
    func freedAddress() throws {
        let address = try #require(VirtualAddress("10.1.0.9"))
        var node = try TestNode(servers: ["ann"], fixedAddress: address)
        node.put(.start, at: 0)
        node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
        node.give(address, to: node.ann, heartbeat: 0)
        #expect(node.core.address == nil)
        // It is here for an hour, and writes nothing.
        node.put(.tick, at: 3600)
        #expect(node.core.address == nil)
        node.put(.members(connected: [], roomAnswered: true))
        node.put(.tick, at: 4089)
        #expect(node.core.address == nil)
        #expect(try #require(node.core.nextDeadline) <= .zero + .seconds(4090))
        node.put(.tick, at: 4090)
        node.put(.tick, at: 4091)
        #expect(node.core.address == address)
        #expect(node.core.presence.absentSince.isEmpty)
    }

    @Test("an owner that was never seen may be here for the first minute, and as long as its heartbeat says")
    func unseenOwner() throws {
        let address = try #require(VirtualAddress("10.1.0.9"))
        for (heartbeat, free) in [(Int64(-10_000), Int64(60)), (-100, 380)] {
            var node = try TestNode(servers: ["ann"], fixedAddress: address)
            node.put(.start, at: 0)
            node.give(address, to: node.ann, heartbeat: heartbeat)
            node.put(.members(connected: [node.bob.peerID], roomAnswered: true))
            node.put(.tick, at: free - 1)
            #expect(node.core.address == nil)
            #expect(try #require(node.core.nextDeadline) <= .zero + .seconds(free))
            node.put(.tick, at: free)
            node.put(.tick, at: free + 1)
            #expect(node.core.address == address)
        }
    }

    // MARK: a place that is kept free

    @Test("a node that will be asked to serve waits for it, but no longer than two minutes")
    func reservation() throws {
        var node = try TestNode(servers: ["ann"], additionalServers: 1)
        node.put(.start, at: 0)
        node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
        node.introduce(node.ann, name: "ann", serves: true)
        #expect(node.assignedRole == nil)
        #expect(node.core.waiting.map(\.step) == [.role])
        node.put(.tick, at: 119)
        #expect(node.assignedRole == nil)
        #expect(try #require(node.core.nextDeadline) <= .zero + .seconds(120))
        node.put(.tick, at: 120)
        #expect(node.assignedRole == .agent)
    }

    @Test("what already runs as an agent goes on as one meanwhile")
    func running() throws {
        var node = try TestNode(servers: ["ann"], additionalServers: 1)
        node.put(.k3s(K3sCondition(hasRun: true)), at: 0)
        node.put(.start)
        node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
        node.introduce(node.ann, name: "ann", serves: true)
        #expect(node.assignedRole == .agent)
    }

    // MARK: another cloud-config

    @Test("a cloud-config that asks for more servers is taken up, and minimum_nodes counts no more")
    func settings() throws {
        var node = try TestNode(servers: ["me"])
        node.put(.start, at: 0)
        node.put(.settings(.init(quorum: 1, highAvailability: true, additionalServers: 2)))
        #expect(node.does { if case .assign(let it) = $0 { it.highAvailability } else { false } })
        #expect(node.core.election.electorate == .voters(TestNode.everybody.map(\.peerID)))
        #expect(!node.core.warnings.contains { $0.contains("minimum_nodes") })
    }

    // MARK: addresses outside the VPN

    private let host = HostAddress(address: VirtualAddress(rawValue: 0xC0A8_0115), interface: "ens18")

    @Test("without a VPN a node claims nothing, and founds by the host's own address once there is one")
    func withoutVPN() throws {
        var node = try TestNode(servers: ["me"], addressing: .host)
        node.put(.start, at: 0)
        node.put(.members(connected: [node.ann.peerID], roomAnswered: true))
        #expect(node.core.address == nil)
        #expect(node.assignment == nil)
        #expect(node.core.waiting.map(\.step) == [.address])
        #expect(node.core.waiting.first?.remedy?.contains("kubevip.interface") == true)
        node.put(.tick, at: 100)
        #expect(!node.written.contains { VirtualAddress($0) != nil }, "nothing is claimed")
        node.put(.hostAddress(host))
        #expect(node.core.waiting.isEmpty)
        let assigned = try #require(node.assignment)
        #expect(assigned.role == .founder)
        #expect(assigned.address == host.address)
        #expect(assigned.hostInterface == "ens18")
        #expect(assigned.apiAddress == nil)
        #expect(assigned.joinURL == nil)
        #expect(node.value("me-uuid-ip") == "192.168.1.21")
        node.put(.k3s(ready))
        #expect(node.value("ip-master") == "192.168.1.21")
        node.put(.hostAddress(nil))
        #expect(node.assignment == nil)
        #expect(node.core.waiting.isEmpty, "the last address stands while the interface has none")
    }

    @Test("without a VPN a node joins the first server's own address, or what leads to whichever works")
    func joiningWithoutVPN() throws {
        for (name, url) in [
            (nil, "https://10.1.0.77:6443"), ("192.168.1.110", "https://192.168.1.110:6443"),
            ("fd00::1", "https://[fd00::1]:6443"), ("k3s.lan", "https://k3s.lan:6443"),
        ] {
            var node = try TestNode(servers: ["ann"], addressing: .host, serverName: name)
            node.put(.start, at: 0)
            node.put(.hostAddress(host))
            node.introduce(node.ann, name: "ann", serves: true)
            #expect(node.assignment?.joinURL == url)
        }
    }

    @Test("a founder without an address that moves learns which server to join should it lose its data")
    func standbyWithoutVPN() throws {
        var node = try TestNode(servers: ["me", "ann"], additionalServers: 1, addressing: .host)
        node.put(.start, at: 0)
        node.put(.hostAddress(host))
        #expect(node.assignment?.joinURL == nil)
        node.introduce(node.ann, name: "ann", serves: true)
        #expect(node.assignment?.joinURL == "https://10.1.0.77:6443")
    }

    @Test("what leads to a server outside the VPN is what stock nodes are told")
    func serverName() throws {
        var node = try TestNode(servers: ["me"], addressing: .host, serverName: "192.168.1.110")
        node.put(.start, at: 0)
        node.put(.hostAddress(host))
        #expect(node.value("me-uuid-ip") == "192.168.1.21")
        node.put(.k3s(ready))
        #expect(node.value("ip-master") == "192.168.1.110")
    }

    @Test("beside the VPN Kubernetes uses the host's address, and servers are joined through the VPN")
    func besideVPN() throws {
        var node = try TestNode(servers: ["ann"], addressing: .besideVPN)
        node.put(.start, at: 0)
        node.introduce(node.ann, name: "ann", serves: true)
        #expect(node.assignment == nil, "the host's address is not known yet")
        #expect(node.core.waiting.map(\.step) == [.address])
        node.put(.hostAddress(host))
        let assigned = try #require(node.assignment)
        #expect(assigned.address == host.address)
        #expect(assigned.hostInterface == "ens18")
        #expect(assigned.joinURL == "https://\(try #require(assigned.apiAddress)):6443")
        #expect(node.core.address != nil && node.core.address != host.address)
    }
}
