import Coordination
import LibP2P
import TestSupport
import Testing
import Timing

/// Servers on virtual time, each with a clock of its own speed, joined by a network that delays, loses
/// and cuts, one way too. Watches that no two of them believe to hold the API address at one instant.
struct LeaseWorld {
    struct Server {
        let peer: PeerID
        var core: LeaseCore?
        /// How fast its clock runs, in thousandths.
        var rate: Int64 = 1000
        var isFrozen = false
        var life = 0
        /// What arrived while it was frozen.
        var inbox: [(PeerID, LeaseMessage)] = []
        var isHealthy = true
    }

    private enum Event {
        case message(from: Int, to: Int, life: Int, LeaseMessage)
    }

    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    var servers: [Server]
    var random: SeededGenerator
    var loss = 0.0
    var longestDelay = Duration.milliseconds(30)
    /// Pairs that are cut: (from, to).
    var cuts: Set<[Int]> = []
    private(set) var violations: [String] = []
    /// Each time that the holder changed to another server.
    private(set) var moves: [(at: Instant, to: Int)] = []
    private var events: [(at: Instant, order: Int, event: Event)] = []
    private var order = 0
    private var set: LeaseServers
    private let step = Duration.milliseconds(40)

    init(_ count: Int, seed: UInt64) {
        random = SeededGenerator(seed: seed)
        servers = (0..<count).map { index in
            let seed = [UInt8](repeating: UInt8(index + 1), count: 32)
            return Server(peer: testIdentity(seed: seed).peerID)
        }
        set = LeaseServers(number: 2, epoch: 1, members: servers.map(\.peer))
        for index in servers.indices { start(index) }
    }

    // MARK: time

    /// Each server's clock, by its own speed.
    func clock(_ index: Int) -> Instant {
        Instant(nanoseconds: UInt64(Int64(now.nanoseconds / 1000) * servers[index].rate))
    }

    mutating func run(_ duration: Duration, until done: (LeaseWorld) -> Bool = { _ in false }) {
        let end = now + duration
        while now < end, !done(self) {
            now += step
            let due =
                events.isEmpty
                ? [] : events.filter { $0.at <= now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
            events.removeAll { $0.at <= now }
            for item in due { deliver(item.event) }
            for index in servers.indices where !servers[index].isFrozen {
                guard let deadline = servers[index].core?.nextDeadline, deadline <= clock(index) else {
                    continue
                }
                feed(.tick, to: index)
            }
        }
    }

    // MARK: what happens to servers

    mutating func start(_ index: Int) {
        servers[index].life += 1
        servers[index].isFrozen = false
        servers[index].inbox = []
        servers[index].core = LeaseCore(
            localPeer: servers[index].peer, incarnation: random.next(), at: clock(index))
        feed(.servers(set), to: index)
        feed(.healthy(servers[index].isHealthy), to: index)
    }

    mutating func kill(_ index: Int) {
        servers[index].core = nil
        servers[index].life += 1
    }

    mutating func freeze(_ index: Int) { servers[index].isFrozen = true }

    mutating func thaw(_ index: Int) {
        servers[index].isFrozen = false
        let inbox = servers[index].inbox
        servers[index].inbox = []
        for (peer, message) in inbox { feed(.message(peer, message), to: index) }
        feed(.tick, to: index)
    }

    mutating func setHealth(_ index: Int, _ healthy: Bool) {
        servers[index].isHealthy = healthy
        feed(.healthy(healthy), to: index)
    }

    /// Cuts the server off, in one direction or in both.
    mutating func cutOff(_ index: Int, sending: Bool = true, receiving: Bool = true) {
        for other in servers.indices where other != index {
            if sending { cuts.insert([index, other]) }
            if receiving { cuts.insert([other, index]) }
        }
    }

    mutating func heal() { cuts = [] }

    /// The decree of this number has these servers; each of `telling` learns of it now.
    mutating func decree(_ number: UInt64, _ members: [Int], telling: [Int]) {
        set = LeaseServers(number: number, epoch: 1, members: members.map { servers[$0].peer })
        for index in telling { feed(.servers(set), to: index) }
    }

    // MARK: what is seen

    func holds(_ index: Int, _ resource: LeaseResource = .api) -> Bool {
        // A frozen server carries no packet, but what it would believe right after thawing counts.
        servers[index].core?.holds(resource, at: clock(index)) ?? false
    }

    var holder: Int? { servers.indices.first { holds($0) } }

    mutating func feed(_ input: LeaseCore.Input, to index: Int) {
        guard var core = servers[index].core else { return }
        let effects = core.receive(input, at: clock(index))
        servers[index].core = core
        for effect in effects {
            switch effect {
            case .send(let peer, let message):
                guard let other = servers.firstIndex(where: { $0.peer == peer }) else { continue }
                send(message, from: index, to: other)
            case .acquired(.api, _):
                if moves.last?.to != index { moves.append((now, index)) }
            case .acquired, .lost: break
            }
        }
        if let fault = DeadlineCheck.fault(
            of: core, at: clock(index), deadline: { $0.nextDeadline }, tick: { _ = $0.receive(.tick, at: $1) }
        ) {
            Issue.record("\(fault)")
        }
        check()
    }

    private mutating func send(_ message: LeaseMessage, from: Int, to: Int) {
        guard !cuts.contains([from, to]) else { return }
        if loss > 0, Double.random(in: 0..<1, using: &random) < loss { return }
        order += 1
        let delay = random.duration(in: .milliseconds(1)...longestDelay)
        events.append((now + delay, order, .message(from: from, to: to, life: servers[to].life, message)))
    }

    private mutating func deliver(_ event: Event) {
        switch event {
        case .message(let from, let to, let life, let message):
            // What was sent to a former life was sent over a connection that ended with it.
            guard servers[to].life == life, servers[to].core != nil, !cuts.contains([from, to]) else {
                return
            }
            guard !servers[to].isFrozen else {
                if servers[to].inbox.count < 200 { servers[to].inbox.append((servers[from].peer, message)) }
                return
            }
            // Through the codec, as on the wire.
            guard let read = LeaseMessage(message.bytes) else {
                violations.append("a message does not survive its bytes: \(message)")
                return
            }
            feed(.message(servers[from].peer, read), to: to)
        }
    }

    private mutating func check() {
        for resource in LeaseResource.allCases {
            guard servers.count(where: { $0.core?.holding(resource) != nil }) > 1 else { continue }
            let holders = servers.indices.filter { holds($0, resource) }
            if holders.count > 1 { violations.append("\(now): \(holders) hold \(resource)") }
        }
    }
}
