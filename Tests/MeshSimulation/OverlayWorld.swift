internal import GossipSub
internal import Ledger
package import LibP2P
package import MeshNetwork
internal import Multiformats
import TestSupport
package import Timing

/// Many overlays on virtual time, with connections that come about, break loudly or silently, and carry
/// frames in order; and the ledgers above them, once `openLedgers` was called. One seed gives one run.
package struct OverlayWorld {
    /// A node's overlay that a tick did not get on; nil while there is none.
    package private(set) var deadlineFault: String?
    private var deadlineChecks = 0
    /// A node: its overlay while it runs, and what it has sent.
    package struct Node {
        let identity: Identity
        package var overlay: Overlay?
        /// Its ledger and the room, once ledgers are open.
        var member: LedgerMember?
        var life = 0
        var kept: Set<PeerID> = []
        var tries: [PeerID: Int] = [:]
        /// The numbers of its connections by peer.
        var connections: [PeerID: Int] = [:]
        var timers: [Part: Instant] = [:]
        package var frames = 0
        package var bytes = 0
        package var dials = 0
        /// The most connections at once.
        package var mostConnections = 0
        package var peer: PeerID { identity.peerID }
        package var connectionCount: Int { connections.count }
    }

    /// What of a node a timer or a frame is for.
    enum Part: Hashable {
        case overlay
        case ledger
        case room
    }

    struct Connection {
        /// The dialling node, and the other one.
        let ends: [Int]
        /// Which ends still hold it.
        var held: [Bool] = [true, true]
        var lastArrival: [Instant] = [.zero, .zero]
    }

    private enum Event {
        case timer(Int, life: Int, Part)
        case dial(Int, life: Int, PeerID)
        case connected(Int, life: Int, Int, otherLife: Int)
        case failed(Int, life: Int, PeerID)
        case frame(connection: Int, end: Int, Part, [UInt8])
        case broken(connection: Int, end: Int)
        case discover(Int, life: Int, Int)
    }

    /// How long a silent break takes to be noticed: the keep-alive of the muxer.
    package var silence: ClosedRange<Duration> = .seconds(10) ... .seconds(25)
    package private(set) var now = Instant(nanoseconds: 1_000_000_000)
    package internal(set) var nodes: [Node] = []
    private(set) var indices: [PeerID: Int] = [:]
    private(set) var connections: [Int: Connection] = [:]
    private var lastConnection = 0
    var random: SeededGenerator
    /// What nodes have stored when they open their ledgers; nil while there are none.
    var stored: Block?
    private var queue = EventQueue<Event>()
    /// The group of each node; those of different groups do not hear each other.
    private var groups: [Int]
    private let configuration: Overlay.Configuration
    private static let scope: [UInt8] = [1, 2, 3]

    package init(count: Int, seed: UInt64, configuration: Overlay.Configuration = .init()) {
        random = SeededGenerator(seed: seed)
        self.configuration = configuration
        groups = Array(repeating: 0, count: count)
        for index in 0..<count {
            let seedBytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            guard let identity = try? Identity(seed: SecretBytes(copying: seedBytes)) else { continue }
            nodes.append(Node(identity: identity))
            indices[identity.peerID] = index
        }
    }

    // MARK: what tests do

    /// Starts a node; the others hear of it, and it of them, within `spread`.
    package mutating func start(_ index: Int, hearing: Bool = true, spread: Duration = .milliseconds(500)) {
        nodes[index].life += 1
        nodes[index].overlay = Overlay(
            identity: nodes[index].identity, scope: Self.scope, version: 1000 * UInt64(nodes[index].life),
            configuration: configuration, generator: SeededGenerator(seed: random.next()), at: now)
        openLedger(index)
        feed(index, .listening(addresses(of: index)))
        guard hearing else { return }
        for other in nodes.indices where other != index && nodes[other].overlay != nil {
            let delay = random.duration(in: .zero...spread)
            queue.add(.discover(index, life: nodes[index].life, other), at: now + delay)
            queue.add(.discover(other, life: nodes[other].life, index), at: now + delay)
        }
    }

    /// Lets one node hear of another.
    package mutating func introduce(_ index: Int, to other: Int) {
        queue.add(.discover(other, life: nodes[other].life, index), at: now)
    }

    /// Ends a node. A silent end is noticed by the silence alone.
    package mutating func stop(_ index: Int, silently: Bool) {
        nodes[index].overlay = nil
        nodes[index].member = nil
        nodes[index].timers = [:]
        nodes[index].kept = []
        nodes[index].connections = [:]
        for number in connections.keys.sorted() {
            guard let end = connections[number]?.ends.firstIndex(of: index) else { continue }
            connections[number]?.held[end] = false
            let delay =
                silently ? random.duration(in: silence) : random.duration(in: .zero ... .milliseconds(2))
            queue.add(.broken(connection: number, end: 1 - end), at: now + delay)
        }
    }

    /// Splits the network: nodes hear only those of their own group. What is between breaks silently.
    package mutating func partition(_ group: (Int) -> Int) {
        groups = nodes.indices.map(group)
        for number in connections.keys.sorted() {
            guard let ends = connections[number]?.ends, groups[ends[0]] != groups[ends[1]] else { continue }
            for end in 0...1 {
                queue.add(.broken(connection: number, end: end), at: now + random.duration(in: silence))
            }
        }
    }

    package mutating func request(_ index: Int, _ other: Int) {
        feed(index, .request(nodes[other].peer))
    }

    package mutating func pin(_ isPinned: Bool, _ index: Int, _ other: Int) {
        feed(index, .pin(isPinned, nodes[other].peer, [], .configuration))
    }

    package mutating func send(_ bytes: [UInt8], from index: Int, to other: Int) {
        transmit(index, to: nodes[other].peer, .overlay, bytes)
    }

    package func isConnected(_ index: Int, _ other: Int) -> Bool {
        nodes[index].connections[nodes[other].peer] != nil
    }

    /// Whether every running node sees exactly the running ones of its group.
    package var isSettled: Bool {
        nodes.indices.allSatisfy { index in
            guard let overlay = nodes[index].overlay else { return true }
            return overlay.present == expected(index)
        }
    }

    package func expected(_ index: Int) -> Set<PeerID> {
        Set(
            nodes.indices.filter { $0 != index && nodes[$0].overlay != nil && groups[$0] == groups[index] }
                .map { nodes[$0].peer })
    }

    /// Goes on for `duration`.
    package mutating func run(for duration: Duration) {
        let end = now + duration
        while step(until: end) {}
        now = end
    }

    /// Goes on until `condition` holds; nil when it does not within `limit`.
    package mutating func run(within limit: Duration, until condition: (OverlayWorld) -> Bool) -> Duration? {
        let (begin, end) = (now, now + limit)
        var checked = Instant.zero
        while true {
            // Looking costs more than a step.
            if now - checked >= .milliseconds(5) {
                checked = now
                if condition(self) { return now - begin }
            }
            guard step(until: end) else { break }
        }
        now = end
        return condition(self) ? limit : nil
    }

    package mutating func resetCounts() {
        for index in nodes.indices {
            nodes[index].frames = 0
            nodes[index].bytes = 0
            nodes[index].dials = 0
            nodes[index].mostConnections = nodes[index].connections.count
        }
    }

    private func addresses(of index: Int) -> [Multiaddr] {
        [try? Multiaddr("/ip4/10.0.\(index / 250).\(index % 250 + 1)/tcp/4001")].compactMap { $0 }
    }

    // MARK: the machinery

    private mutating func step(until end: Instant) -> Bool {
        guard let (time, event) = queue.next(before: end) else { return false }
        now = max(now, time)
        handle(event)
        return true
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .timer(let index, let life, let part):
            guard nodes[index].life == life, nodes[index].timers[part] == now else { return }
            nodes[index].timers[part] = nil
            switch part {
            case .overlay: feed(index, .tick)
            case .ledger: feed(index, ledger: .tick)
            case .room: feed(index, room: .tick)
            }
        case .discover(let index, let life, let other):
            guard nodes[index].life == life, nodes[other].overlay != nil, groups[index] == groups[other]
            else { return }
            feed(index, .discovered(nodes[other].peer, addresses(of: other), isProven: true))
        case .dial(let index, let life, let peer):
            guard nodes[index].life == life else { return }
            dial(index, peer)
        case .connected(let index, let life, let other, let otherLife):
            connect(index, life, other, otherLife)
        case .failed(let index, let life, let peer):
            guard nodes[index].life == life else { return }
            feed(index, .dialFailed(peer))
            redial(index, peer)
        case .frame(let number, let end, let part, let bytes):
            guard let connection = connections[number], connection.held[end] else { return }
            let (index, other) = (connection.ends[end], connection.ends[1 - end])
            guard groups[index] == groups[other] else { return }
            switch part {
            case .overlay: feed(index, .frame(nodes[other].peer, bytes))
            case .ledger: feed(index, ledger: .frame(nodes[other].peer, bytes))
            case .room: feed(index, room: .frame(bytes, from: nodes[other].peer))
            }
        case .broken(let number, let end): broken(number, end)
        }
    }

    private mutating func dial(_ index: Int, _ peer: PeerID) {
        guard nodes[index].overlay != nil, nodes[index].connections[peer] == nil else { return }
        nodes[index].dials += 1
        let life = nodes[index].life
        guard let other = indices[peer], nodes[other].overlay != nil, groups[other] == groups[index] else {
            queue.add(
                .failed(index, life: life, peer),
                at: now + random.duration(in: .milliseconds(1) ... .seconds(5)))
            return
        }
        // TCP, TLS, identify and admission.
        let delay = random.duration(in: .milliseconds(2) ... .milliseconds(12))
        queue.add(
            .connected(index, life: life, other, otherLife: nodes[other].life), at: now + delay)
    }

    private mutating func connect(_ index: Int, _ life: Int, _ other: Int, _ otherLife: Int) {
        guard nodes[index].life == life, nodes[other].life == otherLife, nodes[index].overlay != nil,
            nodes[other].overlay != nil, groups[index] == groups[other],
            nodes[index].connections[nodes[other].peer] == nil,
            nodes[other].connections[nodes[index].peer] == nil
        else { return }
        lastConnection += 1
        connections[lastConnection] = Connection(ends: [index, other])
        for (mine, theirs) in [(index, other), (other, index)] {
            nodes[mine].connections[nodes[theirs].peer] = lastConnection
            nodes[mine].tries[nodes[theirs].peer] = nil
            nodes[mine].mostConnections = max(nodes[mine].mostConnections, nodes[mine].connections.count)
        }
        feed(index, .linkUp(nodes[other].peer))
        feed(other, .linkUp(nodes[index].peer))
        admit(index, nodes[other].peer, .outbound)
        admit(other, nodes[index].peer, .inbound)
    }

    private mutating func broken(_ number: Int, _ end: Int) {
        guard let connection = connections[number], connection.held[end] else { return }
        connections[number]?.held[end] = false
        let (index, peer) = (connection.ends[end], nodes[connection.ends[1 - end]].peer)
        if connections[number]?.held == [false, false] { connections[number] = nil }
        guard nodes[index].connections[peer] == number else { return }
        nodes[index].connections[peer] = nil
        guard nodes[index].overlay != nil else { return }
        feed(index, .linkDown(peer))
        dismiss(index, peer)
        redial(index, peer)
    }

    private mutating func redial(_ index: Int, _ peer: PeerID) {
        guard nodes[index].kept.contains(peer), nodes[index].connections[peer] == nil else { return }
        let tries = nodes[index].tries[peer, default: 0]
        nodes[index].tries[peer] = tries + 1
        let delay: Duration =
            tries < 4 ? .milliseconds(200 << tries) : min(.seconds(5 + tries * tries), .seconds(300))
        queue.add(.dial(index, life: nodes[index].life, peer), at: now + delay)
    }

    /// Gives `input` to the node, sees once in a while that a tick gets it on, and carries out what it asks for.
    package mutating func feed(_ index: Int, _ input: Overlay.Input) {
        guard let effects = nodes[index].overlay?.receive(input, at: now) else { return }
        for effect in effects { perform(index, effect) }
        deadlineChecks += 1
        if deadlineChecks % 64 == 0, let overlay = nodes[index].overlay {
            let fault = DeadlineCheck.fault(of: overlay, at: now, deadline: { $0.nextDeadline }) {
                _ = $0.receive(.tick, at: $1)
            }
            deadlineFault = deadlineFault ?? fault
        }
        setTimer(index, .overlay, nodes[index].overlay?.nextDeadline)
    }

    mutating func setTimer(_ index: Int, _ part: Part, _ deadline: Instant?) {
        guard let deadline, deadline != .distantFuture else { return }
        if let timer = nodes[index].timers[part], timer <= deadline, timer > now { return }
        let due = max(deadline, now + .nanoseconds(1))
        nodes[index].timers[part] = due
        queue.add(.timer(index, life: nodes[index].life, part), at: due)
    }

    /// Puts a frame on the connection to `peer`; frames of one connection arrive in order.
    mutating func transmit(_ index: Int, to peer: PeerID, _ part: Part, _ bytes: [UInt8]) {
        nodes[index].frames += 1
        nodes[index].bytes += bytes.count
        guard let number = nodes[index].connections[peer],
            let from = connections[number]?.ends.firstIndex(of: index)
        else { return }
        let earliest = now + random.duration(in: .microseconds(200) ... .milliseconds(3))
        let arrival = max(earliest, connections[number]?.lastArrival[from] ?? .zero)
        connections[number]?.lastArrival[from] = arrival
        queue.add(.frame(connection: number, end: 1 - from, part, bytes), at: arrival)
    }

    private mutating func perform(_ index: Int, _ effect: Overlay.Effect) {
        switch effect {
        case .keep(true, let peer, _):
            nodes[index].kept.insert(peer)
            queue.add(.dial(index, life: nodes[index].life, peer), at: now)
        case .keep(false, let peer, _): nodes[index].kept.remove(peer)
        case .dial(let peer, _): queue.add(.dial(index, life: nodes[index].life, peer), at: now)
        case .send(let peer, let bytes): transmit(index, to: peer, .overlay, bytes)
        case .closeUnlessUsed(let peer), .disconnect(let peer): close(index, peer)
        case .present: feed(index, ledger: .present(nodes[index].overlay?.present ?? []))
        }
    }

    private mutating func close(_ index: Int, _ peer: PeerID) {
        guard let number = nodes[index].connections[peer],
            let end = connections[number]?.ends.firstIndex(of: index)
        else { return }
        queue.add(.broken(connection: number, end: end), at: now)
        guard let ends = connections[number]?.ends, groups[ends[0]] == groups[ends[1]] else { return }
        queue.add(.broken(connection: number, end: 1 - end), at: now + .milliseconds(1))
    }
}
