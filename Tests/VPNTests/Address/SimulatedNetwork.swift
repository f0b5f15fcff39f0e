import TestSupport
import Testing
import Timing

@testable import VPN

/// Nodes with an address claim and a model ledger each, on virtual time, joined by a network that
/// delays, loses and partitions.
struct SimulatedNetwork {
    struct Node {
        let name: String
        var claim: AddressClaim
        var ledger = ModelLedger()
        var lease: VirtualAddress?
        var device: VirtualAddress?
        var island = 0
        var isUp = true
        /// The node's clock minus the true time.
        var skew: Duration
        /// Every address the device has had, in order.
        var history: [VirtualAddress] = []
    }

    private(set) var nodes: [Node] = []
    private(set) var now = Instant.zero
    var generator: SeededGenerator
    let configuration: AddressClaim.Configuration
    /// What is published without being stored, on its way.
    private var broadcasts: [(from: Int, message: ModelLedger)] = []
    private var nextHeartbeat = Instant.zero

    init(
        count: Int, seed: UInt64, configuration: AddressClaim.Configuration = AddressClaim.Configuration(),
        maximumSkew: Duration = .zero
    ) throws {
        self.configuration = configuration
        self.generator = SeededGenerator(seed: seed)
        for index in 0..<count {
            let name = "12D3KooW\(generator.next())-\(index)"
            let node = Node(
                name: name, claim: try Self.claim(name, configuration, lease: nil),
                skew: generator.duration(in: .zero - maximumSkew...maximumSkew))
            nodes.append(node)
        }
    }

    private static func claim(
        _ name: String, _ configuration: AddressClaim.Configuration, lease: VirtualAddress?
    ) throws -> AddressClaim {
        try AddressClaim(
            configuration: configuration,
            description: MachineEntry(
                peerID: name, hostname: "h", address: VirtualAddress(rawValue: 0), version: "kairos-agent/1"),
            lease: lease)
    }

    func wall(_ index: Int) -> UnixTime {
        UnixTime(seconds: 1_767_225_600) + (now - .zero) + nodes[index].skew
    }

    mutating func start() {
        for index in nodes.indices { start(index) }
    }

    mutating func start(_ index: Int) {
        beat(index)
        give(.start(wall(index)), to: index)
        give(.machines(nodes[index].ledger.view(at: wall(index))), to: index)
    }

    mutating func give(_ input: AddressClaim.Input, to index: Int) {
        let effects = nodes[index].claim.receive(input, at: now)
        if let fault = DeadlineCheck.fault(
            of: nodes[index].claim, at: now, deadline: { $0.nextDeadline },
            tick: { _ = $0.receive(.tick, at: $1) })
        {
            Issue.record("\(fault)")
        }
        for effect in effects { perform(effect, on: index) }
        if !effects.isEmpty {
            // The ledger changed under the claim: it sees the new view, as in the composition.
            let wrote = effects.contains {
                switch $0 {
                case .put, .delete: true
                default: false
                }
            }
            if wrote { give(.machines(nodes[index].ledger.view(at: wall(index))), to: index) }
        }
    }

    private mutating func perform(_ effect: AddressClaim.Effect, on index: Int) {
        let time = wall(index)
        switch effect {
        case .put(_, let key, let value, let above):
            guard let address = VirtualAddress(key) else { return }
            nodes[index].ledger.put(address, value: value, owner: nodes[index].name, above: above, at: time)
        case .delete(_, let key):
            guard let address = VirtualAddress(key) else { return }
            nodes[index].ledger.delete(address, owner: nodes[index].name, at: time)
        case .retract(_, let key, let version):
            guard let address = VirtualAddress(key) else { return }
            var message = ModelLedger()
            message.entries[address] = ModelLedger.Entry(
                value: "", owner: nodes[index].name, version: version + 1, isDeleted: true)
            broadcasts.append((from: index, message: message))
        case .writeLease(let address): nodes[index].lease = address
        case .removeLease: nodes[index].lease = nil
        case .settled(let address):
            nodes[index].device = address
            nodes[index].history.append(address)
        case .withdrawn: nodes[index].device = nil
        }
    }

    private mutating func beat(_ index: Int) {
        nodes[index].ledger.heartbeats[nodes[index].name] = wall(index)
    }

    /// One step of `duration`: timers fire, then random pairs of one island exchange ledgers, each
    /// direction lost with the given probability.
    mutating func step(_ duration: Duration, exchanges: Int, loss: Double = 0) {
        now += duration
        if now >= nextHeartbeat {
            nextHeartbeat = now + .seconds(60)
            for index in nodes.indices where nodes[index].isUp { beat(index) }
        }
        for index in nodes.indices where nodes[index].isUp {
            if let deadline = nodes[index].claim.nextDeadline, deadline <= now { give(.tick, to: index) }
        }
        flush()
        for _ in 0..<exchanges {
            let from = Int.random(in: nodes.indices, using: &generator)
            let to = Int.random(in: nodes.indices, using: &generator)
            guard from != to, nodes[from].island == nodes[to].island, nodes[from].isUp, nodes[to].isUp else {
                continue
            }
            if Double.random(in: 0..<1, using: &generator) < loss { continue }
            deliver(nodes[from].ledger, to: to)
        }
    }

    /// Delivers what is on its way to everybody whom the sender reaches.
    private mutating func flush() {
        let sent = broadcasts
        broadcasts = []
        for (from, message) in sent {
            for to in nodes.indices
            where to != from && nodes[to].isUp && nodes[to].island == nodes[from].island {
                deliver(message, to: to)
            }
        }
    }

    private mutating func deliver(_ ledger: ModelLedger, to index: Int) {
        let refused = nodes[index].ledger.merge(ledger, at: wall(index))
        for claim in refused { give(.refused(claim), to: index) }
        give(.machines(nodes[index].ledger.view(at: wall(index))), to: index)
        give(.room(answered: true), to: index)
    }

    mutating func partition(into islands: Int) {
        for index in nodes.indices { nodes[index].island = Int.random(in: 0..<islands, using: &generator) }
    }

    mutating func heal() {
        for index in nodes.indices { nodes[index].island = 0 }
    }

    /// Everybody exchanges with everybody until nothing can be in flight any more.
    mutating func quiesce(rounds: Int = 6) {
        for _ in 0..<rounds {
            step(.milliseconds(600), exchanges: 0)
            for from in nodes.indices where nodes[from].isUp {
                for to in nodes.indices
                where to != from && nodes[to].isUp && nodes[to].island == nodes[from].island {
                    deliver(nodes[from].ledger, to: to)
                }
            }
        }
    }

    /// The node's process ends; its device, lease and ledger stay.
    mutating func crash(_ index: Int) { nodes[index].isUp = false }

    /// The node's process starts again, with or without its saved ledger and lease.
    mutating func restart(_ index: Int, keepingLedger: Bool, keepingLease: Bool = true) throws {
        if !keepingLease { nodes[index].lease = nil }
        nodes[index].isUp = true
        nodes[index].device = nil
        if !keepingLedger { nodes[index].ledger = ModelLedger() }
        nodes[index].claim = try Self.claim(nodes[index].name, configuration, lease: nodes[index].lease)
        start(index)
    }

    mutating func setSubnetAddress(of index: Int, _ address: VirtualAddress) throws {
        var fixed = configuration
        fixed.fixedAddress = address
        nodes[index].claim = try Self.claim(nodes[index].name, fixed, lease: nil)
    }

    mutating func putRaw(_ key: VirtualAddress, value: String, of index: Int) {
        nodes[index].ledger.put(key, value: value, owner: nodes[index].name, above: 0, at: wall(index))
    }

    /// What is wrong with the addresses of the nodes that are up; nil when every one has its own and
    /// every ledger knows it.
    var disagreement: String? {
        var holders: [VirtualAddress: String] = [:]
        for node in nodes where node.isUp {
            guard let device = node.device else {
                return "\(node.name) has no address: \(String(describing: node.claim.waiting))"
            }
            guard node.claim.address == device else { return "\(node.name): device and claim differ" }
            guard node.lease == device else { return "\(node.name): lease and device differ" }
            if let other = holders[device] { return "\(node.name) and \(other) both hold \(device)" }
            guard configuration.subnet.isHost(device), device != configuration.apiAddress else {
                return "\(node.name) holds \(device)"
            }
            holders[device] = node.name
        }
        for node in nodes where node.isUp {
            for (address, holder) in holders {
                let entry = node.ledger.entries[address]
                if entry?.owner != holder || entry?.isDeleted != false {
                    return "\(node.name) thinks \(address) of \(holder) is \(String(describing: entry))"
                }
            }
            for (address, entry) in node.ledger.entries where !entry.isDeleted {
                let isUp = nodes.contains { $0.name == entry.owner && $0.isUp }
                if isUp && holders[address] != entry.owner {
                    return "\(node.name) still has \(address) of \(entry.owner)"
                }
            }
        }
        return nil
    }
}
