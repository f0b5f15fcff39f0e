import Coordination
import HeapModule
import K3s
import Ledger
package import LibP2P
import MeshNetwork
import NodeAgent
package import Timing
import VPN

/// Whole nodes in one process on virtual time: the cores of coordination, replication and K3s'
/// reconciliation, joined by a network that delays, loses, doubles, reorders and cuts, on disks that
/// forget what was not synced, under clocks that are hours off. A scenario gives one run, always the same.
///
/// Left out are sockets, sealing and the router of the room: what a node publishes reaches every machine
/// that packets reach. Signatures are real.
package struct World {
    /// Behind a reference, so that it is cheap to put in order.
    indirect enum Event {
        case boot(Int, life: Int)
        case room(from: Int, to: Int, Block, author: PeerID)
        case frame(from: Int, to: Int, [UInt8])
        case detect(Int, life: Int)
        case written(Int, life: Int, number: Int)
        case deviceUp(Int, life: Int, VirtualAddress)
        case coreTick(Int, life: Int)
        case replicationTick(Int, life: Int)
        case reconcilerTick(Int, life: Int)
        case k3sLook(Int, life: Int)
        case k3sAct(Int, life: Int, K3sSteps)
        case k3sAttempt(Int, start: Int)
        case lease(from: Int, to: Int, LeaseMessage)
        case leaseTick(Int, life: Int)
        case speak(Int, life: Int)
        case probe(Int, life: Int, number: Int)
        case membership(Int, life: Int)
        case promotion(Int, cluster: Int)
        case stalled(String, cluster: Int)
        case removal(Int, life: Int)
        case ownKeyFound(by: Int, at: Int)
        case fault(Int)
        case faultEnds(Int)
        case flap(Int, closed: Bool, left: Int)
        case look

        /// The machine whose slowness delays it.
        var machine: Int? {
            switch self {
            case .room(_, let to, _, _), .frame(_, let to, _), .lease(_, let to, _): to
            case .written(let machine, _, _), .coreTick(let machine, _), .replicationTick(let machine, _),
                .leaseTick(let machine, _):
                machine
            default: nil
            }
        }

        /// The machine whose agent has to run for it.
        var agent: Int? {
            switch self {
            case .detect(let machine, _), .deviceUp(let machine, _, _), .reconcilerTick(let machine, _),
                .k3sLook(let machine, _), .k3sAct(let machine, _, _), .probe(let machine, _, _),
                .membership(let machine, _), .removal(let machine, _):
                machine
            default: machine
            }
        }
    }

    struct Scheduled: Comparable {
        let at: Instant
        let order: Int
        let event: Event
        /// Whether it has waited for a slow machine.
        var isLate = false

        static func == (left: Scheduled, right: Scheduled) -> Bool { left.order == right.order }
        static func < (left: Scheduled, right: Scheduled) -> Bool {
            (left.at, left.order) < (right.at, right.order)
        }
    }

    package let scenario: Scenario
    package let sabotage: Sabotage?
    package internal(set) var now: Instant = .zero
    package internal(set) var violations: [Violation] = []
    /// How many deadlines might have been looked at.
    var deadlineChecks = 0
    /// What happened, for people; empty unless it is recorded.
    package internal(set) var timeline: [String] = []
    /// Over everything that happened: equal for equal runs.
    package internal(set) var fingerprint: UInt64 = 0xcbf2_9ce4_8422_2325
    /// The epochs that an operator has given up.
    var givenUp: Set<UInt64> = []
    /// The names under which Kubernetes knows the members.
    var nodeNames: [PeerID: String] = [:]
    /// The nodes that etcd has ever taken for full members.
    var everVoters: Set<String> = []
    /// Since when each machine has held the API address with an API server that does not work.
    var illSince: [Int: Instant] = [:]
    /// Who was ever certified as the founder, by epoch.
    package internal(set) var founders: [UInt64: Set<PeerID>] = [:]
    /// The decrees that a node has acted on, by number.
    var decrees: [UInt64: Set<Decree>] = [:]
    /// The epochs of which members have agreed that the cluster runs.
    var runningEpochs: Set<UInt64> = []
    package internal(set) var clusters: [ModelledCluster] = []
    /// How many faults began.
    package internal(set) var faultsInjected = 0
    package internal(set) var eventsHandled = 0

    var machines: [Machine] = []
    var events: Heap<Scheduled> = []
    var random: SeededGenerator
    /// The partitions that are in force: who cannot send to whom.
    var cuts: [Int: (from: Set<Int>, to: Set<Int>, bothWays: Bool)] = [:]
    var losses: [Int: Double] = [:]
    var duplications: [Int: Double] = [:]
    var delays: [Int: Duration] = [:]
    /// Blocks that were published, for members that lie.
    var archive: [Block] = []
    /// Since when nothing is wrong with the network, the machines and their disks.
    var wholeSince: Instant = .zero
    /// Addresses that a member has claimed although another one holds them.
    var stolen: Set<String> = []
    var durableVotes: Set<Vote> = []
    var checkedCertificates: Set<DecreeCertificate> = []
    /// What the nodes' ledgers hold is read once for all of them.
    let reader = EntryReader()
    private let records: Bool
    private var order = 0

    /// A vote, as its voter's disk holds it.
    struct Vote: Hashable {
        let voter: PeerID
        let ballot: Ballot
        let decree: Decree
    }

    /// On whose machines an operator has said that the voters are lost.
    var recoveryWords: Set<PeerID> = []

    /// Makes the world of `scenario` before anything has happened in it. With `records` it keeps a
    /// timeline; with a `sabotage` something in it is broken.
    package init(_ scenario: Scenario, records: Bool = false, sabotage: Sabotage? = nil) {
        self.scenario = scenario
        self.records = records
        self.sabotage = sabotage
        random = SeededGenerator(seed: scenario.seed)
        for index in 0..<scenario.count {
            machines.append(
                Machine(
                    identity: Self.identity(machine: index, generation: 0), name: "node-\(index)",
                    uuid: "uuid-\(index)", forced: scenario.forced[index],
                    fixedAddress: scenario.fixedAddresses[index],
                    clockOffset: scenario.clockSkew[index] ?? .zero))
            machines[index].additionalServers = scenario.additionalServers
            machines[index].clockRate = scenario.clockRates[index] ?? 1000
            schedule(.boot(index, life: 0), after: random.duration(in: .zero ... .milliseconds(800)))
        }
        for (index, fault) in scenario.faults.enumerated() { schedule(.fault(index), after: fault.at) }
        schedule(.look, after: .milliseconds(500))
    }

    /// Lets `duration` of virtual time pass.
    package mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = events.min, next.at <= end {
            events.removeMin()
            now = next.at
            if let machine = next.event.agent, machines[machine].frozenUntil > now {
                order += 1
                let at = machines[machine].frozenUntil
                events.insert(Scheduled(at: at, order: order, event: next.event, isLate: next.isLate))
                continue
            }
            if !next.isLate, let machine = next.event.machine, machines[machine].lag > .zero {
                order += 1
                events.insert(
                    Scheduled(
                        at: now + machines[machine].lag, order: order, event: next.event, isLate: true))
                continue
            }
            eventsHandled += 1
            handle(next.event)
        }
        now = end
    }

    // MARK: the machinery

    mutating func note(_ text: @autoclosure () -> String) {
        if records { timeline.append("\(now) \(text())") }
    }

    mutating func violate(_ check: Check, _ what: String) {
        // One of a kind is enough to fail, and a bound on what a broken run keeps.
        guard violations.count < 64, !violations.contains(where: { $0.check == check && $0.what == what })
        else { return }
        let violation = Violation(check: check, at: now, what: what)
        violations.append(violation)
        note("VIOLATED \(check.rawValue): \(what)")
    }

    mutating func trace(_ kind: UInt64, _ machine: Int, _ more: Int = 0) {
        for word in [
            now.nanoseconds, kind, UInt64(bitPattern: Int64(machine)), UInt64(bitPattern: Int64(more)),
        ] {
            fingerprint = (fingerprint ^ word) &* 0x0000_0100_0000_01b3
            fingerprint ^= fingerprint >> 29
        }
    }

    mutating func schedule(_ event: Event, after delay: Duration) {
        order += 1
        events.insert(Scheduled(at: now + delay, order: order, event: event))
    }

    mutating func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &random) < probability
    }

    func moment(_ index: Int) -> Moment {
        let wall = UnixTime(seconds: 1_767_225_600) + (now - .zero) + machines[index].clockOffset
        return Moment(instant: now, wall: wall)
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .boot(let index, let life):
            guard machines[index].life == life, machines[index].agent == nil, !machines[index].isGone else {
                return
            }
            trace(1, index)
            boot(index)
        case .room(let from, let to, let block, let author):
            guard packetsPass(from, to), machines[to].agent != nil, machines[to].peer != author else {
                return
            }
            trace(2, to, block.entryCount)
            receiveRoom(block, author: author, at: to)
        case .frame(let from, let to, let bytes):
            guard packetsPass(from, to), machines[from].life == machines[to].agent?.connections[from] else {
                return
            }
            trace(3, to, bytes.count)
            feed(.frame(machines[from].peer, bytes), to: to)
        case .detect(let index, let life):
            guard isCurrent(index, life) else { return }
            detect(index)
        case .written(let index, let life, let number):
            guard isCurrent(index, life) else { return }
            trace(4, index, number)
            completeWrite(index, number)
        case .deviceUp(let index, let life, let address):
            guard isCurrent(index, life), machines[index].agent?.core.address == address else { return }
            trace(5, index)
            deviceUp(index, address)
        case .coreTick(let index, let life):
            guard isCurrent(index, life) else { return }
            machines[index].agent?.coreTick = nil
            trace(6, index)
            feed(NodeCore.Input.tick, to: index)
        case .replicationTick(let index, let life):
            guard isCurrent(index, life) else { return }
            machines[index].agent?.replicationTick = nil
            trace(7, index)
            feed(Replication.Input.tick, to: index)
        case .reconcilerTick(let index, let life):
            guard isCurrent(index, life) else { return }
            machines[index].agent?.reconcilerTick = nil
            reconcile(.tick, at: index)
        case .k3sLook(let index, let life):
            guard isCurrent(index, life) else { return }
            lookAtK3s(index)
        case .k3sAct(let index, let life, let steps):
            guard isCurrent(index, life) else { return }
            carryOut(steps, at: index)
        case .k3sAttempt(let index, let start): attemptK3s(index, start: start)
        case .lease(let from, let to, let message):
            guard packetsPass(from, to), machines[from].life == machines[to].agent?.connections[from] else {
                return
            }
            trace(12, to, Int(message.kind.rawValue))
            feed(LeaseCore.Input.message(machines[from].peer, message), to: to)
        case .speak(let index, let life):
            guard isCurrent(index, life) else { return }
            speakAgain(index)
        case .leaseTick(let index, let life):
            guard isCurrent(index, life) else { return }
            machines[index].agent?.leaseTick = nil
            feed(LeaseCore.Input.tick, to: index)
        case .probe(let index, let life, let number):
            guard isCurrent(index, life), machines[index].agent?.probes == number else { return }
            probe(index)
        case .membership(let index, let life):
            guard isCurrent(index, life) else { return }
            reconcile(.membership(isVoter: membership(of: index)), at: index)
        case .promotion(let index, let cluster): promote(index, in: cluster)
        case .stalled(let name, let cluster): takeOutStalled(name, of: cluster)
        case .removal(let index, let life):
            guard isCurrent(index, life) else { return }
            machines[index].agent?.removalTick = nil
            removeNext(by: index)
        case .ownKeyFound(let index, let other): meetOwnKey(index, other)
        case .fault(let index): begin(index)
        case .faultEnds(let index): end(index)
        case .flap(let index, let closed, let left): flap(index, closed: closed, left: left)
        case .look:
            lookAround()
            schedule(.look, after: .milliseconds(500))
        }
    }

    private func isCurrent(_ index: Int, _ life: Int) -> Bool {
        machines[index].life == life && machines[index].agent != nil
    }

    /// The identity of the machine after it was installed `generation` times anew.
    static func identity(machine: Int, generation: Int) -> Identity {
        var seed = [UInt8](repeating: UInt8(truncatingIfNeeded: machine + 1), count: 32)
        seed[30] = UInt8(truncatingIfNeeded: generation)
        seed[31] = 9
        // Any 32 bytes are a seed; a failure here is a broken program.
        do { return try Identity(seed: SecretBytes(copying: seed)) } catch { fatalError("\(error)") }
    }
}
