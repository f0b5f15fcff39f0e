import Coordination
import HeapModule
import LibP2P
import TestSupport
import Testing
import Timing

/// Members of one network on virtual time, each with a register that the others see late, in any
/// order or not at all, and a disk that forgets what was not synced when its member crashes.
struct ElectionWorld {
    struct Faults {
        var longestDelay: Duration = .milliseconds(50)
        /// Chance of losing one delivery, 0 to 1. The ledger repairs it later by sending all again.
        var loss = 0.0
        /// Chance, each 100 ms, that a member crashes; it returns within `longestOutage`.
        var crash = 0.0
        var longestOutage: Duration = .seconds(3)
        /// Chance, each 100 ms, that the network is cut in two at random or healed.
        var partition = 0.0
        /// Chance that one write fails.
        var writeFailure = 0.0
    }

    private enum Event {
        case register(from: Int, to: Int, ElectionRegister)
        case certificate(from: Int, to: Int, DecreeCertificate)
        case persisted(Int, ElectionState, number: UInt64, life: Int, fails: Bool)
        case tick(Int, life: Int)
        case boot(Int)
        case fate
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

    private struct Member {
        let identity: Identity
        let card: MemberCard
        var disk: ElectionState?
        var election: DecreeElection?
        var life = 0
        var register: ElectionRegister?
        var certificate: DecreeCertificate?
        var side = 0
        var nextTick: Instant?
        var wishes = ElectionWishes()
        var quorum: Int?
    }

    let scope: ElectionScope
    private var members: [Member]
    private var events: Heap<Scheduled> = []
    private var order = 0
    private var random: SeededGenerator
    private var faults: Faults
    private var checks = 0
    private(set) var now: Instant = .zero
    /// Every decision that any member ever announced, with who announced it.
    private(set) var decisions: [(member: Int, certificate: DecreeCertificate)] = []
    /// Broken promises of durability: publications that the disk did not hold.
    private(set) var violations: [String] = []
    private(set) var log: [String] = []

    init(count: Int, quorum: Int, seed: UInt64, faults: Faults = Faults(), forced: [Int: ForcedRole] = [:]) {
        scope = ElectionScope(network: "test", quorum: quorum)
        random = SeededGenerator(seed: seed)
        self.faults = faults
        members = (0..<count).map { index in
            var key = [UInt8](repeating: UInt8(index + 1), count: 32)
            key[0] = 7
            return Member(
                identity: testIdentity(seed: key),
                card: MemberCard(uuid: "uuid-\(index)", name: "n\(index)", forcedRole: forced[index]))
        }
        for index in 0..<count {
            schedule(.boot(index), after: random.duration(in: .zero ... .milliseconds(500)))
        }
        schedule(.fate, after: .milliseconds(100))
    }

    mutating func stopFaults() {
        faults.loss = 0
        faults.crash = 0
        faults.partition = 0
        faults.writeFailure = 0
        for index in members.indices { members[index].side = 0 }
        for index in members.indices { updatePresence(of: index) }
        resendAll()
    }

    /// The founders that members hold on their disks now.
    var founders: Set<PeerID> { Set(decrees.map(\.founder.peer)) }
    /// The newest decrees on the members' disks.
    var decrees: [Decree] { members.compactMap { $0.disk?.certificate?.decree } }
    func decree(_ index: Int) -> Decree? { members[index].disk?.certificate?.decree }
    func index(of peer: PeerID) -> Int? { members.firstIndex { $0.identity.peerID == peer } }

    /// What the members want from now on.
    mutating func wish(_ wishes: ElectionWishes, by index: Int) {
        members[index].wishes = wishes
        give(.wishes(wishes), to: index)
    }

    mutating func leave(_ index: Int) { give(.leave, to: index) }
    mutating func recover(_ index: Int) { give(.recover, to: index) }
    /// Somebody tells member `index` something, whatever it is.
    mutating func tell(_ input: DecreeElection.Input, to index: Int) { give(input, to: index) }
    func identity(_ index: Int) -> Identity { members[index].identity }
    func register(_ index: Int) -> ElectionRegister? { members[index].register }
    func election(_ index: Int) -> DecreeElection? { members[index].election }
    func card(_ index: Int) -> MemberCard { members[index].card }
    /// The member starts with this on its disk, as a former life has left it.
    mutating func setDisk(_ state: ElectionState?, of index: Int) { members[index].disk = state }
    var undecided: [Int] { members.indices.filter { members[$0].election?.certificate == nil } }
    func peer(_ index: Int) -> PeerID { members[index].identity.peerID }
    func obstacle(_ index: Int) -> DecreeElection.Obstacle? { members[index].election?.obstacle }

    mutating func cut(_ group: Set<Int>) {
        for index in members.indices { members[index].side = group.contains(index) ? 1 : 0 }
        for index in members.indices { updatePresence(of: index) }
    }

    /// The cloud-config of the member says another quorum at its next start.
    mutating func setQuorum(_ quorum: Int, of index: Int) { members[index].quorum = quorum }

    mutating func crash(_ index: Int, for outage: Duration, loseDisk: Bool = false) {
        members[index].election = nil
        members[index].life += 1
        members[index].nextTick = nil
        if loseDisk { members[index].disk = nil }
        for other in members.indices where other != index { updatePresence(of: other) }
        schedule(.boot(index), after: outage)
    }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = events.min, next.at <= end {
            events.removeMin()
            now = next.at
            handle(next.event)
        }
        now = end
    }

    private mutating func schedule(_ event: Event, after delay: Duration) {
        order += 1
        events.insert(Scheduled(at: now + delay, order: order, event: event))
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .boot(let index): boot(index)
        case .register(let from, let to, let register):
            guard members[from].side == members[to].side else { return }
            give(.register(members[from].identity.peerID, register), to: to)
        case .certificate(let from, let to, let certificate):
            guard members[from].side == members[to].side else { return }
            give(.certificate(certificate, holder: members[from].identity.peerID), to: to)
        case .persisted(let index, let state, let number, let life, let fails):
            guard members[index].life == life else { return }
            if fails {
                give(.persistFailed(number, reason: "no space left"), to: index)
            } else {
                members[index].disk = state
                give(.persisted(number), to: index)
            }
        case .tick(let index, let life):
            guard members[index].life == life else { return }
            give(.tick, to: index)
        case .fate:
            playFate()
            schedule(.fate, after: .milliseconds(100))
        }
    }

    private mutating func playFate() {
        for index in members.indices where members[index].election != nil && chance(faults.crash) {
            crash(index, for: random.duration(in: .milliseconds(10)...faults.longestOutage))
        }
        if chance(faults.partition) {
            let heal = Bool.random(using: &random)
            for index in members.indices {
                members[index].side = heal ? 0 : Int.random(in: 0...1, using: &random)
            }
            for index in members.indices { updatePresence(of: index) }
        }
        if now.nanoseconds / 100_000_000 % 5 == 0 { resendAll() }
    }

    /// What the ledger's digests do: everyone who can talk ends up with the same entries.
    private mutating func resendAll() {
        for from in members.indices {
            for to in members.indices where to != from || members[to].life > 0 { send(from: from, to: to) }
        }
    }

    private mutating func send(from: Int, to: Int) {
        guard !chance(faults.loss) else { return }
        if let register = members[from].register {
            schedule(
                .register(from: from, to: to, register),
                after: random.duration(in: .milliseconds(1)...faults.longestDelay)
            )
        }
        if let certificate = members[from].certificate {
            schedule(
                .certificate(from: from, to: to, certificate),
                after: random.duration(in: .milliseconds(1)...faults.longestDelay))
        }
    }

    private mutating func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &random) < probability
    }

    private mutating func boot(_ index: Int) {
        let member = members[index]
        members[index].election = DecreeElection(
            configuration: .init(
                scope: ElectionScope(network: scope.network, quorum: member.quorum ?? scope.quorum),
                identity: member.identity, card: member.card),
            restored: member.disk, random: SeededGenerator(seed: random.next()), at: now)
        give(.wishes(member.wishes), to: index)
        for other in members.indices { updatePresence(of: other) }
        for other in members.indices { send(from: other, to: index) }
    }

    private mutating func updatePresence(of index: Int) {
        guard members[index].election != nil else { return }
        let peers = members.indices.filter {
            $0 != index && members[$0].election != nil && members[$0].side == members[index].side
        }.map { members[$0].identity.peerID }
        give(.present(Set(peers)), to: index)
    }

    private mutating func give(_ input: DecreeElection.Input, to index: Int) {
        guard var election = members[index].election else { return }
        let effects = election.receive(input, at: now)
        members[index].election = election
        for effect in effects { perform(effect, of: index) }
        checkDeadline(of: election)
        if let deadline = members[index].election?.nextDeadline {
            let at = max(deadline, now + .milliseconds(1))
            if let planned = members[index].nextTick, planned > now, planned <= at { return }
            members[index].nextTick = at
            schedule(.tick(index, life: members[index].life), after: at - now)
        }
    }

    /// In whatever state an input leaves an election, and even if its disk never answers again.
    private mutating func checkDeadline(of election: DecreeElection) {
        checks += 1
        guard checks % 4 == 0,
            let fault = DeadlineCheck.fault(
                of: election, at: now, deadline: { $0.nextDeadline }, tick: { _ = $0.receive(.tick, at: $1) })
        else { return }
        violations.append(fault)
        Issue.record("\(fault)")
    }

    private mutating func perform(_ effect: DecreeElection.Effect, of index: Int) {
        switch effect {
        case .persist(let state, let number):
            schedule(
                .persisted(
                    index, state, number: number, life: members[index].life,
                    fails: chance(faults.writeFailure)),
                after: random.duration(in: .milliseconds(1) ... .milliseconds(20)))
        case .publish(let register):
            if register.promised != nil || register.accepted != nil {
                let disk = members[index].disk
                if disk?.promised != register.promised || disk?.accepted != register.accepted {
                    violations.append("\(now): n\(index) published what its disk does not hold")
                }
            }
            members[index].register = register
            for to in members.indices where to != index { send(from: index, to: to) }
        case .publishCertificate(let certificate):
            members[index].certificate = certificate
            for to in members.indices where to != index { send(from: index, to: to) }
        case .decided(let certificate):
            if members[index].disk?.certificate != certificate {
                violations.append("\(now): n\(index) acts on a decision that its disk does not hold")
            }
            decisions.append((index, certificate))
            log.append(
                "\(now): n\(index) knows decree \(certificate.decree.number) of \(certificate.decree.founder.uuid)"
                    + " at round \(certificate.ballot.round)")
        }
    }
}
