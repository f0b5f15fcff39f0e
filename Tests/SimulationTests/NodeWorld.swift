import Coordination
import HeapModule
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing
import VPN

/// Whole nodes in one process on virtual time: the decisions of `NodeCore` over real ledgers, joined
/// by a network that delays, loses and cuts, on disks that forget what was not synced. One seed gives
/// one run.
struct NodeWorld {
    struct Faults {
        var longestDelay: Duration = .milliseconds(30)
        /// Chance of losing one delivery.
        var loss = 0.0
        /// Chance, each 100 ms and node, of a crash.
        var crash = 0.0
        var longestOutage: Duration = .seconds(4)
        /// Chance, each 100 ms, that the network is cut in two at random or healed.
        var partition = 0.0
        var diskFailure = 0.0
    }

    struct Options {
        var count = 3
        var quorum = 3
        var subnet = VirtualSubnet.standard
        var forced: [Int: ForcedRole] = [:]
        var fixedAddresses: [Int: VirtualAddress] = [:]
        /// Offsets of the nodes' wall clocks.
        var clockSkew: [Int: Duration] = [:]
    }

    private enum Event {
        case boot(Int)
        case block(from: Int, to: Int, Block, generation: Int?)
        case electionWritten(Int, ElectionState, number: UInt64, life: Int, fails: Bool)
        case deviceUp(Int, VirtualAddress, life: Int)
        case tokenWritten(Int, String, life: Int)
        case tick(Int, life: Int)
        case heartbeat(Int, life: Int)
        case fate
        case sync
    }

    private struct Scheduled: Comparable {
        let at: Instant
        let order: Int
        let event: Event

        static func == (left: Scheduled, right: Scheduled) -> Bool { left.order == right.order }
        static func < (left: Scheduled, right: Scheduled) -> Bool {
            (left.at, left.order) < (right.at, right.order)
        }
    }

    struct Node {
        let identity: Identity
        let name: String
        var disk = Disk()
        var ledger = Ledger()
        var core: NodeCore?
        var life = 0
        var side = 0
        var nextTick: Instant?
        /// Counts the changes of the ledger.
        var generation = 0
        /// Of each peer's ledger, the generation that was merged whole in this life.
        var merged: [Int: Int] = [:]
        /// The peers whose ledger was merged in this life.
        var heardFrom: Set<PeerID> = []
        /// What its K3s runs with.
        var k3s: K3sAssignment?
        var restartsOfK3s = 0
        var device: VirtualAddress?
        var routes: [VirtualAddress: PeerID] = [:]

        struct Disk {
            var election: ElectionState?
            var lease: VirtualAddress?
            var token: String?
            var ledger: Block?
        }
    }

    private(set) var nodes: [Node]
    private(set) var now: Instant = .zero
    private(set) var violations: [String] = []
    private(set) var timeline: [String] = []
    /// Everyone who ever was made the founder.
    private(set) var founders: Set<PeerID> = []
    private let options: Options
    private var events: Heap<Scheduled> = []
    private var order = 0
    private var random: SeededGenerator
    private var faults: Faults

    init(_ options: Options = Options(), seed: UInt64, faults: Faults = Faults()) {
        self.options = options
        self.faults = faults
        random = SeededGenerator(seed: seed)
        nodes = (0..<options.count).map { index in
            var key = [UInt8](repeating: UInt8(index + 1), count: 32)
            key[31] = 9
            return Node(identity: identity(seed: key), name: "node-\(index)")
        }
        for index in nodes.indices {
            schedule(.boot(index), after: random.duration(in: .zero ... .milliseconds(800)))
        }
        schedule(.fate, after: .milliseconds(100))
        schedule(.sync, after: .milliseconds(500))
    }

    // MARK: what a test does and asks

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = events.min, next.at <= end {
            events.removeMin()
            now = next.at
            handle(next.event)
        }
        now = end
    }

    mutating func stopFaults() {
        faults = Faults()
        for index in nodes.indices { nodes[index].side = 0 }
        presenceChanged()
        note("faults stop")
    }

    mutating func cut(_ group: Set<Int>) {
        for index in nodes.indices { nodes[index].side = group.contains(index) ? 1 : 0 }
        presenceChanged()
        note("cut \(group.sorted())")
    }

    mutating func crash(_ index: Int, for outage: Duration) {
        nodes[index].core = nil
        nodes[index].life += 1
        nodes[index].nextTick = nil
        nodes[index].heardFrom = []
        nodes[index].merged = [:]
        presenceChanged()
        note("n\(index) crashes")
        schedule(.boot(index), after: outage)
    }

    func address(_ index: Int) -> VirtualAddress? { nodes[index].core?.address }
    func role(_ index: Int) -> NodeRole? { nodes[index].k3s?.role }
    func waiting(_ index: Int) -> [Waiting] { nodes[index].core?.waiting ?? [] }

    /// What is wrong now that should be right once faults have stopped for a while.
    var disorder: [String] {
        var disorder: [String] = []
        var holders: [VirtualAddress: [String]] = [:]
        for node in nodes {
            if let address = node.core?.address { holders[address, default: []].append(node.name) }
            if let k3s = node.k3s {
                if k3s.address != node.core?.address {
                    disorder.append("\(node.name): K3s has an old address")
                }
            } else {
                disorder.append("\(node.name): no K3s; waits for \(node.core?.waiting.map(\.what) ?? [])")
            }
        }
        for (address, names) in holders where names.count > 1 {
            disorder.append("\(address) is held by \(names)")
        }
        let tokens = Set(nodes.compactMap { $0.k3s?.token })
        if tokens.count > 1 { disorder.append("several join tokens") }
        if nodes.filter({ $0.k3s?.role == .founder }).count != 1 { disorder.append("not one founder") }
        return disorder
    }

    // MARK: the machinery

    private mutating func note(_ text: String) { timeline.append("\(now) \(text)") }

    private mutating func schedule(_ event: Event, after delay: Duration) {
        order += 1
        events.insert(Scheduled(at: now + delay, order: order, event: event))
    }

    private mutating func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &random) < probability
    }

    private func wall(_ index: Int) -> UnixTime {
        UnixTime(seconds: 1_767_225_600) + (now - .zero) + (options.clockSkew[index] ?? .zero)
    }

    private func moment(_ index: Int) -> Moment { Moment(instant: now, wall: wall(index)) }

    private mutating func handle(_ event: Event) {
        switch event {
        case .boot(let index): boot(index)
        case .block(let from, let to, let block, let generation):
            guard nodes[from].side == nodes[to].side, nodes[to].core != nil else { return }
            if let generation { nodes[to].merged[from] = generation }
            merge(block, from: from, into: to)
        case .electionWritten(let index, let state, let number, let life, let fails):
            guard nodes[index].life == life else { return }
            if fails {
                give(.electionPersistFailed(number, reason: "no space left on device"), to: index)
            } else {
                nodes[index].disk.election = state
                give(.electionPersisted(number), to: index)
            }
        case .deviceUp(let index, let address, let life):
            guard nodes[index].life == life, nodes[index].core?.address == address else { return }
            nodes[index].device = address
            give(.device(.up(address)), to: index)
        case .tokenWritten(let index, let token, let life):
            guard nodes[index].life == life else { return }
            nodes[index].disk.token = token
            give(.joinToken(token), to: index)
        case .tick(let index, let life):
            guard nodes[index].life == life else { return }
            give(.tick, to: index)
        case .heartbeat(let index, let life):
            guard nodes[index].life == life else { return }
            beat(index)
            schedule(.heartbeat(index, life: life), after: .seconds(120))
        case .fate: playFate()
        case .sync:
            for from in nodes.indices where nodes[from].core != nil {
                // The snapshot is written in the background, not before an entry is published.
                nodes[from].disk.ledger = Block(storage: nodes[from].ledger.storage)
                broadcast(
                    Block(storage: nodes[from].ledger.storage), from: from, generation: nodes[from].generation
                )
            }
            schedule(.sync, after: .milliseconds(500))
        }
    }

    private mutating func playFate() {
        for index in nodes.indices where nodes[index].core != nil && chance(faults.crash) {
            crash(index, for: random.duration(in: .milliseconds(10)...faults.longestOutage))
        }
        if chance(faults.partition) {
            let heal = Bool.random(using: &random)
            for index in nodes.indices {
                nodes[index].side = heal ? 0 : Int.random(in: 0...1, using: &random)
            }
            note("sides \(nodes.map(\.side))")
            presenceChanged()
        }
        schedule(.fate, after: .milliseconds(100))
    }

    private mutating func boot(_ index: Int) {
        let node = nodes[index]
        if let block = node.disk.ledger {
            nodes[index].ledger = Ledger(restoring: block, configuration: .init())
        } else {
            nodes[index].ledger = Ledger()
        }
        let scope = ElectionScope(network: "sim", epoch: 1, quorum: options.quorum)
        let forced = options.forced[index]
        let card = MemberCard(uuid: "uuid-\(index)", name: node.name, forcedRole: forced)
        do {
            let claim = try AddressClaim(
                configuration: .init(
                    subnet: options.subnet, fixedAddress: options.fixedAddresses[index],
                    minimumNodes: options.quorum),
                description: MachineEntry(
                    peerID: node.identity.peerID.description, hostname: node.name,
                    address: VirtualAddress(rawValue: 0), version: MachineEntry.implementation + "test"),
                lease: node.disk.lease)
            let election = FoundingElection(
                configuration: .init(scope: scope, identity: node.identity, card: card),
                restored: node.disk.election, random: SeededGenerator(seed: random.next()), at: now)
            nodes[index].core = NodeCore(
                configuration: .init(
                    identity: node.identity, uuid: card.uuid, name: node.name, networkID: "kairos",
                    scope: scope,
                    forcedRole: forced, highAvailability: false,
                    apiAddress: options.subnet.standardAPIAddress,
                    fixedToken: nil, runsK3s: true),
                claim: claim, election: election, joinToken: node.disk.token)
        } catch {
            violations.append("\(node.name) cannot start: \(error)")
            return
        }
        note("n\(index) boots")
        beat(index)
        schedule(.heartbeat(index, life: node.life), after: .seconds(120))
        give(.start, to: index)
        let restored = nodes[index].ledger.storage
        give(.entries(Block(storage: restored).entries), to: index)
        if let election = node.disk.election, election.certificate != nil { give(.tick, to: index) }
        presenceChanged()
    }

    private mutating func presenceChanged() {
        for index in nodes.indices where nodes[index].core != nil {
            give(
                .members(connected: reachable(from: index), roomAnswered: !nodes[index].heardFrom.isEmpty),
                to: index)
        }
    }

    private func reachable(from index: Int) -> Set<PeerID> {
        Set(
            nodes.indices.filter {
                $0 != index && nodes[$0].core != nil && nodes[$0].side == nodes[index].side
            }
            .map { nodes[$0].identity.peerID })
    }

    private mutating func merge(_ block: Block, from: Int, into to: Int) {
        let report = nodes[to].ledger.merge(block, at: wall(to))
        if !report.changes.isEmpty { nodes[to].generation += 1 }
        if nodes[to].heardFrom.insert(nodes[from].identity.peerID).inserted {
            give(.members(connected: reachable(from: to), roomAnswered: true), to: to)
        }
        let changes = report.changes.compactMap { change in change.new.map { (change.id, $0) } }
        if !changes.isEmpty { give(.entries(changes), to: to) }
        for (id, _) in report.rejections where id.bucket == LedgerText.machines {
            guard let entry = block.storage[id.bucket]?[id.key],
                let refused = RefusedClaim(
                    key: id.key.string, value: entry.value.string, owner: entry.owner.string,
                    version: entry.version,
                    isDeleted: entry.isDeleted)
            else { continue }
            give(.refused(refused), to: to)
        }
    }

    /// Sends a block to everyone who can be reached. A whole ledger, which has a generation, goes only
    /// to those who have not merged it yet, as a digest exchange would find.
    private mutating func broadcast(_ block: Block, from: Int, generation: Int? = nil) {
        for to in nodes.indices
        where to != from && nodes[to].core != nil && nodes[to].side == nodes[from].side {
            if let generation, nodes[to].merged[from] == generation { continue }
            guard !chance(faults.loss) else { continue }
            schedule(
                .block(from: from, to: to, block, generation: generation),
                after: random.duration(in: .milliseconds(1)...max(.milliseconds(1), faults.longestDelay)))
        }
    }

    private mutating func give(_ input: NodeCore.Input, to index: Int) {
        guard var core = nodes[index].core else { return }
        let effects = core.receive(input, at: moment(index))
        nodes[index].core = core
        for effect in effects { perform(effect, of: index) }
        guard let deadline = nodes[index].core?.nextDeadline else { return }
        let at = max(deadline, now + .milliseconds(1))
        if let planned = nodes[index].nextTick, planned > now, planned <= at { return }
        nodes[index].nextTick = at
        schedule(.tick(index, life: nodes[index].life), after: at - now)
    }

    /// The heartbeat entry, which the replication renews.
    private mutating func beat(_ index: Int) {
        let id = EntryID(bucket: "healthcheck", key: nodes[index].identity.peerID.description)
        perform(.put(id, value: "\"\(GoTime.rfc3339(wall(index)))\"", above: 0), of: index)
    }

    private mutating func perform(_ effect: NodeCore.Effect, of index: Int) {
        let life = nodes[index].life
        switch effect {
        case .put(let id, let value, let above):
            let identity = nodes[index].identity
            guard
                let change = try? nodes[index].ledger.put(
                    id, value: LedgerText(value), above: above, by: identity, at: wall(index)),
                let entry = change.new
            else { return }
            nodes[index].generation += 1
            broadcast(Block(storage: [id.bucket: [id.key: entry]]), from: index)
            give(.entries([(id, entry)]), to: index)
        case .delete(let id):
            guard
                let change = try? nodes[index].ledger.delete(id, by: nodes[index].identity, at: wall(index)),
                let entry = change.new
            else { return }
            nodes[index].generation += 1
            broadcast(Block(storage: [id.bucket: [id.key: entry]]), from: index)
            give(.entries([(id, entry)]), to: index)
        case .retract(let id, let version):
            guard
                let entry = nodes[index].ledger.retraction(
                    of: id, version: version, by: nodes[index].identity, at: wall(index))
            else { return }
            broadcast(Block(storage: [id.bucket: [id.key: entry]]), from: index)
        case .persistElection(let state, let number):
            schedule(
                .electionWritten(index, state, number: number, life: life, fails: chance(faults.diskFailure)),
                after: random.duration(in: .milliseconds(1) ... .milliseconds(15)))
        case .writeLease(let address): nodes[index].disk.lease = address
        case .removeLease: nodes[index].disk.lease = nil
        case .configureDevice(let address):
            schedule(.deviceUp(index, address, life: life), after: .milliseconds(5))
        case .releaseDevice:
            nodes[index].device = nil
            give(.device(.down), to: index)
        case .routes(let routes): nodes[index].routes = routes
        case .makeJoinToken:
            let token = nodes[index].disk.token ?? "token-of-\(index)"
            schedule(.tokenWritten(index, token, life: life), after: .milliseconds(3))
        case .assign(let assignment):
            if nodes[index].k3s != assignment { nodes[index].restartsOfK3s += 1 }
            nodes[index].k3s = assignment
            note("n\(index) runs K3s as \(assignment.role) at \(assignment.address)")
            if assignment.role == .founder { founders.insert(nodes[index].identity.peerID) }
            if founders.count > 1 { violations.append("\(now): a second cluster is founded by n\(index)") }
            if nodes[index].disk.election?.certificate == nil {
                violations.append("\(now): n\(index) obeys a role without a certificate on disk")
            }
        case .founded(let certificate):
            note("n\(index) knows the founder \(certificate.value.uuid)")
        }
    }
}

/// The identity that follows from a 32-byte seed.
private func identity(seed: [UInt8]) -> Identity {
    // Any 32 bytes are a seed; a failure here is a broken test.
    do { return try Identity(seed: SecretBytes(copying: seed)) } catch { fatalError("\(error)") }
}
