import Ledger
import LibP2P
import MeshNetwork
import TestSupport
import Testing
import Timing

/// Nodes whose replication runs on virtual time. The room reaches everybody that is linked; links can
/// be cut, and the room can lose messages.
struct ReplicationWorld {
    struct Node {
        let identity: Identity
        var core: Replication
        var changes: [EntryChange] = []
        var refusals: [LedgerError] = []
        var rejected: [EntryID] = []
        var caughtUp = 0
        var snapshots: [Block] = []
        /// Bytes of frames and of room messages sent, the latter once for each receiver.
        var sentBytes = 0
        /// Whether it is a stock node: it neither admits nor is admitted, and broadcasts blocks.
        var isStock = false
        var published = 0
    }

    private struct InFlight {
        let at: Instant
        let order: Int
        let to: Int
        let from: Int
        let payload: Payload
    }

    private enum Payload {
        case block(Block)
        case frame([UInt8])
    }

    var nodes: [Node] = []
    var now = Instant.zero
    let epoch = UnixTime(seconds: 1_767_225_600)
    var generator: SeededGenerator
    var loss = 0.0
    /// Each node's wall clock is wrong by so much.
    var skew: [Duration] = []
    private var links: Set<Set<Int>> = []
    private var inFlight: [InFlight] = []
    private var order = 0

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    func moment(_ node: Int) -> Moment {
        Moment(instant: now, wall: epoch + (now - .zero) + skew[node])
    }

    @discardableResult
    mutating func add(
        stored: Block? = nil, identity: Identity? = nil, configuration: Replication.Configuration = .init()
    ) -> Int {
        let bytes = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let own = identity ?? (try? Identity(seed: SecretBytes(copying: bytes))) ?? Identity.generate()
        nodes.append(
            Node(
                identity: own,
                core: Replication(
                    identity: own, stored: stored, configuration: configuration,
                    generator: SeededGenerator(seed: generator.next()), at: now)))
        skew.append(.zero)
        return nodes.count - 1
    }

    func peer(_ node: Int) -> PeerID { nodes[node].identity.peerID }
    func owner(_ node: Int) -> LedgerText { LedgerText(peer(node).description) }

    mutating func link(_ first: Int, _ second: Int) {
        guard links.insert([first, second]).inserted else { return }
        guard !nodes[first].isStock, !nodes[second].isStock else { return }
        feed(.peerAdmitted(peer(second)), to: first)
        feed(.peerAdmitted(peer(first)), to: second)
        tellPresent()
    }

    /// Tells each of our own nodes which of them it reaches.
    private mutating func tellPresent() {
        for node in nodes.indices where !nodes[node].isStock {
            let present = reach(from: node).filter { !nodes[$0].isStock }.map { peer($0) }
            feed(.present(Set(present)), to: node)
        }
    }

    mutating func linkAll() {
        for first in nodes.indices {
            for second in nodes.indices where first < second { link(first, second) }
        }
    }

    mutating func unlink(_ first: Int, _ second: Int) {
        guard links.remove([first, second]) != nil else { return }
        inFlight.removeAll { Set([$0.from, $0.to]) == [first, second] }
        feed(.peerLeft(peer(second)), to: first)
        feed(.peerLeft(peer(first)), to: second)
        tellPresent()
    }

    /// Cuts every link between two groups.
    mutating func partition(_ left: [Int], _ right: [Int]) {
        for first in left { for second in right { unlink(first, second) } }
    }

    mutating func feed(_ input: Replication.Input, to node: Int) {
        for effect in nodes[node].core.receive(input, at: moment(node)) { perform(effect, of: node) }
        let wall = moment(node).wall
        if let fault = DeadlineCheck.fault(
            of: nodes[node].core, at: now, deadline: { $0.nextDeadline },
            tick: { _ = $0.receive(.tick, at: Moment(instant: $1, wall: wall)) })
        {
            Issue.record("\(fault)")
        }
    }

    mutating func put(_ node: Int, _ id: EntryID, _ value: LedgerText, durable: Bool = false) {
        feed(.write([.put(id, value: value)], durable: durable), to: node)
    }

    private mutating func perform(_ effect: Replication.Effect, of node: Int) {
        switch effect {
        case .publish(let block):
            nodes[node].published += 1
            for other in reach(from: node) {
                deliver(.block(block), from: node, to: other, size: 600 + block.encoded().count)
            }
        case .send(let peer, let bytes):
            guard let other = nodes.firstIndex(where: { $0.identity.peerID == peer }),
                links.contains([node, other])
            else { return }
            deliver(.frame(bytes), from: node, to: other, size: bytes.count + 60)
        case .changed(let changes): nodes[node].changes += changes
        case .persist(let block):
            nodes[node].snapshots.append(block)
            feed(.persisted(succeeded: true), to: node)
        case .refused(_, let error): nodes[node].refusals.append(error)
        case .rejected(let id, _, _): nodes[node].rejected.append(id)
        case .caughtUp: nodes[node].caughtUp += 1
        }
    }

    /// Whom the room reaches: everybody on the same side of every cut.
    private func reach(from node: Int) -> [Int] {
        var reached: Set<Int> = [node]
        var pending = [node]
        while let next = pending.popLast() {
            for other in nodes.indices where links.contains([next, other]) && reached.insert(other).inserted {
                pending.append(other)
            }
        }
        return reached.subtracting([node]).sorted()
    }

    private mutating func deliver(_ payload: Payload, from: Int, to: Int, size: Int) {
        nodes[from].sentBytes += size
        if case .block = payload, Double.random(in: 0..<1, using: &generator) < loss { return }
        order += 1
        let delay = generator.duration(in: .milliseconds(1) ... .milliseconds(20))
        inFlight.append(InFlight(at: now + delay, order: order, to: to, from: from, payload: payload))
    }

    /// Lets time pass, doing everything that falls due.
    mutating func advance(_ duration: Duration) {
        let end = now + duration
        while true {
            let packet = inFlight.indices.min {
                (inFlight[$0].at, inFlight[$0].order) < (inFlight[$1].at, inFlight[$1].order)
            }
            let timer = nodes.indices.compactMap { node in nodes[node].core.nextDeadline.map { (node, $0) } }
                .min { $0.1 < $1.1 }
            let packetAt = packet.map { inFlight[$0].at }
            guard let next = [packetAt, timer?.1].compactMap({ $0 }).min(), next <= end else { break }
            now = max(now, next)
            if let packet, packetAt == next {
                let arrival = inFlight.remove(at: packet)
                switch arrival.payload {
                case .block(let block): feed(.roomBlock(block, author: peer(arrival.from)), to: arrival.to)
                case .frame(let bytes): feed(.frame(peer(arrival.from), bytes), to: arrival.to)
                }
            } else if let (node, _) = timer {
                feed(.tick, to: node)
            }
        }
        now = end
    }

    /// Whether all ledgers show the same live entries.
    var agree: Bool { disagreement == nil }

    /// Where the first two ledgers that differ do so, for readable failures.
    var disagreement: String? {
        func live(_ node: Int) -> [EntryID: Entry] {
            let entries = Block(storage: nodes[node].core.ledger.storage).entries.filter {
                !$0.entry.isDeleted
            }
            return Dictionary(uniqueKeysWithValues: entries.map { ($0.id, $0.entry) })
        }
        let first = live(0)
        for node in nodes.indices.dropFirst() {
            let other = live(node)
            guard first != other else { continue }
            let ids = Set(first.keys).union(other.keys).filter { first[$0] != other[$0] }.sorted()
            let shown = ids.map { id in
                "\(id): \(first[id]?.version ?? 0) and \(other[id]?.version ?? 0),"
                    + " held as \(nodes[0].core.ledger.entry(id)?.version ?? 0)"
                    + " and \(nodes[node].core.ledger.entry(id)?.version ?? 0)"
            }
            return "nodes 0 and \(node) differ: \(shown.joined(separator: "; "))"
        }
        return nil
    }
}
