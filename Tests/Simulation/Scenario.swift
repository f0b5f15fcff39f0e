package import Coordination
import Timing
package import VPN

/// One run, completely: who takes part, and what goes wrong when. With its seed it is the same run every
/// time.
package struct Scenario: Hashable, Sendable {
    /// Feeds everything that is left to chance during the run: delays, losses, jitter.
    package let seed: UInt64
    package var count: Int
    /// `p2p.minimum_nodes`.
    package var quorum: Int
    package var subnet = VirtualSubnet.standard
    package var forced: [Int: ForcedRole] = [:]
    package var fixedAddresses: [Int: VirtualAddress] = [:]
    /// Offsets of the machines' wall clocks.
    package var clockSkew: [Int: Duration] = [:]
    /// How fast the machines' monotonic clocks run, in thousandths; 1000 where nothing is said.
    package var clockRates: [Int: UInt64] = [:]
    /// `p2p.auto.ha.master_nodes`: how many servers there are to be besides the founder; nil without.
    package var additionalServers: Int?
    /// How long a server may be away until another takes its place; nil: for ever.
    package var replacesServersAfter: Duration?
    /// How long any node may be away until its role is freed; nil: for ever.
    package var freesRolesAfter: Duration?
    package var faults: [Fault] = []

    package init(seed: UInt64, count: Int = 3, quorum: Int = 3) {
        self.seed = seed
        self.count = count
        self.quorum = quorum
    }

    /// When the last fault is over.
    package var faultsEnd: Duration { faults.map(\.end).max() ?? .zero }

    /// During how long faults begin.
    private static let troubled = Duration.seconds(18)

    /// The run that `seed` draws: 3 to 9 machines and 1 to 14 faults.
    ///
    /// The quorum is as large as the argument for one founder asks: two quorums share one more member
    /// than there are that may break their word. A re-imaged machine is a new member in addition to the
    /// one it was; the two holders of a cloned key, or a member that denies its own votes, count as one
    /// member that may break its word.
    package static func drawn(seed: UInt64) -> Scenario {
        // Apart from the generator of the run, so that a scenario with fewer faults is not another one.
        var random = SeededGenerator(seed: seed ^ 0x5343_454E_4152_494F)
        var scenario = Scenario(seed: seed, count: Int.random(in: 3...9, using: &random), quorum: 1)
        let count = scenario.count
        for machine in 0..<count where Double.random(in: 0..<1, using: &random) < 0.12 {
            let hours = Int64.random(in: -5...5, using: &random)
            scenario.clockSkew[machine] = .seconds(hours * 3600 + 17)
        }
        if Double.random(in: 0..<1, using: &random) < 0.15 {
            scenario.forced[Int.random(in: 0..<count, using: &random)] =
                Bool.random(using: &random)
                ? .master : .worker
        }
        var budget = Budget(count: count)
        let many = Int.random(in: 1...14, using: &random)
        for _ in 0..<many {
            let at = random.duration(in: .zero...troubled)
            if let kind = kind(count: count, budget: &budget, &random) {
                scenario.faults.append(Fault(at: .milliseconds(Int64(at.inSeconds * 1000)), kind))
            }
        }
        scenario.faults.sort { $0.at < $1.at }
        let smallest = budget.smallestQuorum
        scenario.quorum = Int.random(in: smallest...max(smallest, min(count, smallest + 1)), using: &random)
        scenario.addServers()
        return scenario
    }

    /// How many members there may be, and how many of them may break their word.
    private struct Budget {
        let count: Int
        var reimaged = 0
        var faithless: Set<Int> = []

        var smallestQuorum: Int { (count + reimaged + faithless.count) / 2 + 1 }

        /// Whether another one leaves a quorum that the machines can still form.
        func allows(reimaged more: Int = 0, faithless machine: Int? = nil) -> Bool {
            let faithless = machine.map { self.faithless.union([$0]) } ?? self.faithless
            return (count + reimaged + more + faithless.count) / 2 + 1 <= count - faithless.count
        }
    }

    private static func kind(
        count: Int, budget: inout Budget, _ random: inout SeededGenerator
    ) -> Fault.Kind? {
        func some(_ range: ClosedRange<Int64>, _ random: inout SeededGenerator) -> Duration {
            .milliseconds(Int64.random(in: range, using: &random))
        }
        let machine = Int.random(in: 0..<count, using: &random)
        let size = Int.random(in: 1...max(1, count / 2), using: &random)
        let group = Set((0..<count).shuffled(using: &random).prefix(size))
        switch Int.random(in: 0..<23, using: &random) {
        case 0, 1: return .powerCut(machine, outage: some(200...6000, &random))
        case 2: return .kill(machine, outage: some(100...3000, &random))
        case 3, 4, 5, 6:
            let step = Int.random(in: 1...24, using: &random)
            return .powerCutAtStep(machine, step: step, outage: some(200...5000, &random))
        case 7, 8: return .partition(group: group, lasting: some(500...9000, &random))
        case 9, 10: return .oneWay(from: group, lasting: some(500...8000, &random))
        case 11:
            return .flapping(
                group: group, period: some(150...1200, &random), times: .random(in: 2...5, using: &random))
        case 12, 13:
            return .loss(Double.random(in: 0.05...0.5, using: &random), lasting: some(1000...12000, &random))
        case 14:
            return .duplication(
                Double.random(in: 0.1...0.6, using: &random), lasting: some(1000...12000, &random))
        case 15: return .delay(longest: some(200...2500, &random), lasting: some(1000...10000, &random))
        case 16: return .fullDisk(machine, lasting: some(300...8000, &random))
        case 17:
            let hours = Int64.random(in: -6...6, using: &random)
            return .clockJump(
                machine, by: .seconds(hours * 3600 + Int64.random(in: -90...90, using: &random)))
        case 18: return .slow(machine, by: some(50...1500, &random), lasting: some(1000...9000, &random))
        case 19:
            guard budget.allows(reimaged: 1) else { return nil }
            budget.reimaged += 1
            return .reimage(machine)
        case 20:
            guard budget.allows(faithless: machine) else { return nil }
            budget.faithless.insert(machine)
            return .clone(machine, lasting: some(1000...9000, &random))
        default:
            guard let lie = Fault.Lie.allCases.randomElement(using: &random) else { return nil }
            if lie == .amnesia || lie == .equivocation {
                guard budget.allows(faithless: machine) else { return nil }
                budget.faithless.insert(machine)
            }
            return .lie(machine, lie)
        }
    }
}
