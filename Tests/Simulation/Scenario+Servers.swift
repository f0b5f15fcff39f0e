import Timing

/// Several servers, and what operators say and do.
extension Scenario {
    /// During how long these faults begin: several servers take their time to join.
    private static let troubledServers = Duration.seconds(40)

    /// Adds to half of the scenarios several servers, and to most what happens to servers and what operators
    /// say. From a generator of its own, so that what is drawn without all this stays as it was.
    mutating func addServers() {
        var random = SeededGenerator(seed: seed ^ 0x5345_5256_4552_5321)
        func happens(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }
        func some(_ range: ClosedRange<Int64>) -> Duration {
            .milliseconds(Int64.random(in: range, using: &random))
        }
        for machine in 0..<count where happens(0.2) {
            clockRates[machine] = UInt64.random(in: 880...1140, using: &random)
        }
        let asked = Int.random(in: 1...4, using: &random)
        let hasServers = happens(0.5)
        if hasServers {
            // Two machines with one key hold one lease, and etcd's members keep their addresses: neither is
            // promised anything here (docs/election.md, contract/k3s.md §11.3).
            faults.removeAll { fault in
                switch fault.kind {
                case .clone, .lie(_, .theft): true
                default: false
                }
            }
            if happens(0.2) {
                faults.append(Fault(at: some(3000...15000), .moreServers(asked)))
            } else {
                additionalServers = asked
            }
            if happens(0.15) { replacesServersAfter = some(20_000...40_000) }
            if happens(0.1) { freesRolesAfter = some(25_000...50_000) }
        }
        guard hasServers || happens(0.4) else { return }
        var gone: Set<Int> = []
        for _ in 0..<Int.random(in: 1...5, using: &random) {
            let at = some(500...Int64(Self.troubledServers.inSeconds * 1000))
            let machine = Int.random(in: 0..<count, using: &random)
            let other = (machine + Int.random(in: 1..<count, using: &random)) % count
            switch Int.random(in: 0..<20, using: &random) {
            case 0, 1, 2: faults.append(Fault(at: at, .freeze(machine, lasting: some(500...9000))))
            case 3, 4, 5: faults.append(Fault(at: at, .illAPI(machine, lasting: some(2000...15000))))
            case 6, 7, 8: faults.append(Fault(at: at, .newArguments))
            case 9, 10: faults.append(Fault(at: at, .powerCut(machine, outage: some(2000...20000))))
            case 11, 12:
                faults.append(
                    Fault(at: at, .partition(group: [machine], lasting: some(3000...15000))))
            case 13:
                // A word that was spoken too soon: the machine comes back. Taking it back needs a quorum of
                // those that are left.
                guard allowsToLose(gone.union([machine])) else { continue }
                gone.insert(machine)
                faults.append(Fault(at: at, .powerCut(machine, outage: some(8000...20000))))
                faults.append(Fault(at: at + some(1000...7000), .word(.forget(machine), at: other)))
            case 14: faults.append(Fault(at: at, .word(.resetCluster, at: machine)))
            case 15 where hasServers:
                faults.append(Fault(at: at, .datastoreLost(machine, outage: some(500...5000))))
            case 16, 17:
                guard allowsToLose(gone.union([machine])) else { continue }
                gone.insert(machine)
                faults.append(Fault(at: at, .word(.leave, at: machine)))
            default:
                guard allowsToLose(gone.union([machine])) else { continue }
                gone.insert(machine)
                faults.append(Fault(at: at, .death(machine)))
                if happens(0.5) {
                    faults.append(Fault(at: at + some(2000...9000), .word(.forget(machine), at: other)))
                }
            }
        }
        faults.sort { $0.at < $1.at }
    }

    /// Whether a quorum is left without these machines.
    private func allowsToLose(_ gone: Set<Int>) -> Bool {
        var unfaithful = gone
        for fault in faults {
            switch fault.kind {
            case .clone(let machine, _), .lie(let machine, .amnesia), .lie(let machine, .equivocation):
                unfaithful.insert(machine)
            default: break
            }
        }
        return count - unfaithful.count >= quorum
    }
}
