import Timing

/// One thing that goes wrong: a value, drawn up before the run, so that a run can be repeated with fewer.
package struct Fault: Hashable, Sendable, CustomStringConvertible {
    /// What goes wrong. Machines are numbered from 0; a fault of a machine that is not there does nothing.
    package enum Kind: Hashable, Sendable {
        /// The machine loses power and starts again `outage` later.
        case powerCut(Int, outage: Duration)
        /// The agent alone is killed and starts again; K3s goes on.
        case kill(Int, outage: Duration)
        /// The machine loses power in the middle of its work: before its `step`th effect from now, and so
        /// also between a write to disk and what was to follow it.
        case powerCutAtStep(Int, step: Int, outage: Duration)
        /// No packet passes between `group` and the others.
        case partition(group: Set<Int>, lasting: Duration)
        /// No packet passes from `group` to the others; the other way they pass.
        case oneWay(from: Set<Int>, lasting: Duration)
        /// The partition comes and goes, `period` each.
        case flapping(group: Set<Int>, period: Duration, times: Int)
        /// Each message is lost with this probability.
        case loss(Double, lasting: Duration)
        /// Each message is delivered twice with this probability.
        case duplication(Double, lasting: Duration)
        /// Messages take up to `longest`, so they overtake each other.
        case delay(longest: Duration, lasting: Duration)
        /// Every write to the machine's disk fails.
        case fullDisk(Int, lasting: Duration)
        /// The machine's clock is set forwards or back.
        case clockJump(Int, by: Duration)
        /// Everything that reaches the machine is handled `by` later.
        case slow(Int, by: Duration, lasting: Duration)
        /// The machine is installed anew: the same name, a new key, an empty disk.
        case reimage(Int)
        /// A copy of the machine's disk, key and all, runs as a machine of its own for a while.
        case clone(Int, lasting: Duration)
        /// The machine tells the others something untrue.
        case lie(Int, Lie)
        /// The agent stands still, as if it were stopped by a signal, and goes on.
        case freeze(Int, lasting: Duration)
        /// K3s of the machine runs, and its API server does not answer.
        case illAPI(Int, lasting: Duration)
        /// The machine loses power, and K3s' data with it.
        case datastoreLost(Int, outage: Duration)
        /// The machine loses power, and K3s' data with their record, or more.
        case diskLost(Int, Loss, outage: Duration)
        /// The machine is switched off for good.
        case death(Int)
        /// An operator says something on a machine.
        case word(OperatorWord, at: Int)
        /// Every machine gets another cloud-config, one after the other: other arguments for K3s.
        case newArguments
        /// The same: so many servers besides the founder.
        case moreServers(Int)
    }

    /// What a disk loses.
    package enum Loss: Hashable, Sendable, CaseIterable {
        /// K3s' data and what says whose they are.
        case k3s
        case allButKey
        /// It goes back to an image from before the founding.
        case sinceFounding
    }

    /// What a member that lies says.
    package enum Lie: Hashable, Sendable, CaseIterable {
        /// Another member's address entry, heartbeat and register, with a signature that is not its own.
        case forgery
        /// Entries that were true once.
        case replay
        /// Two entries of one version, one to each half of the network.
        case equivocation
        /// Its own register, without the promises and accepts that it has given.
        case amnesia
        /// Its own entry at another member's address.
        case theft
    }

    /// When it begins, from the start of the run.
    package let at: Duration
    package let kind: Kind

    package init(at: Duration, _ kind: Kind) {
        self.at = at
        self.kind = kind
    }

    /// When nothing of it is left.
    package var end: Duration {
        switch kind {
        case .powerCut(_, let outage), .kill(_, let outage): at + outage
        // The step comes when it comes; nothing waits for it longer than this.
        case .powerCutAtStep(_, _, let outage): at + Self.longestWaitForStep + outage
        case .partition(_, let time), .oneWay(_, let time), .loss(_, let time), .duplication(_, let time),
            .delay(_, let time), .fullDisk(_, let time), .slow(_, _, let time), .clone(_, let time),
            .freeze(_, let time), .illAPI(_, let time), .datastoreLost(_, let time),
            .diskLost(_, _, let time):
            at + time
        case .flapping(_, let period, let times): at + period * times * 2
        case .clockJump, .reimage, .lie, .death, .word: at
        case .newArguments, .moreServers: at + .seconds(5)
        }
    }

    /// How long `powerCutAtStep` waits for its step.
    package static let longestWaitForStep = Duration.seconds(3)

    /// The kind's name, for counting.
    package var name: String {
        switch kind {
        case .powerCut: "power cut"
        case .kill: "agent killed"
        case .powerCutAtStep: "power cut between two steps"
        case .partition: "partition"
        case .oneWay: "one-way partition"
        case .flapping: "flapping partition"
        case .loss: "loss"
        case .duplication: "duplication"
        case .delay: "delay"
        case .fullDisk: "full disk"
        case .clockJump: "clock jump"
        case .slow: "slow machine"
        case .reimage: "re-imaged machine"
        case .clone: "cloned machine"
        case .lie(_, let lie): "lie: \(lie)"
        case .freeze: "agent stands still"
        case .illAPI: "ill API server"
        case .datastoreLost: "K3s' data lost"
        case .diskLost(_, let loss, _): "disk lost: \(loss)"
        case .death: "machine gone for good"
        case .word(.leave, _): "word: leave"
        case .word(.forget, _): "word: forget"
        case .word(.resetCluster, _): "word: reset-cluster"
        case .newArguments: "other arguments"
        case .moreServers: "more servers asked for"
        }
    }

    package var description: String {
        let what: String =
            switch kind {
            case .powerCut(let machine, let outage), .kill(let machine, let outage):
                "n\(machine), for \(outage)"
            case .powerCutAtStep(let machine, let step, let outage):
                "n\(machine), before effect \(step), for \(outage)"
            case .partition(let group, let time): "\(group.sorted()), for \(time)"
            case .oneWay(let group, let time): "from \(group.sorted()), for \(time)"
            case .flapping(let group, let period, let times):
                "\(group.sorted()), \(times) times, \(period) each"
            case .loss(let share, let time), .duplication(let share, let time):
                "\(Int(share * 100)) %, for \(time)"
            case .delay(let longest, let time): "up to \(longest), for \(time)"
            case .fullDisk(let machine, let time): "n\(machine), for \(time)"
            case .clockJump(let machine, let jump): "n\(machine), by \(jump)"
            case .slow(let machine, let lag, let time): "n\(machine), by \(lag), for \(time)"
            case .reimage(let machine), .death(let machine): "n\(machine)"
            case .freeze(let machine, let time), .illAPI(let machine, let time),
                .datastoreLost(let machine, let time), .diskLost(let machine, _, let time):
                "n\(machine), for \(time)"
            case .word(.forget(let other), let machine): "n\(other), on n\(machine)"
            case .word(_, let machine): "on n\(machine)"
            case .newArguments: "on all machines"
            case .moreServers(let count): "\(count) besides the founder"
            case .clone(let machine, let time): "n\(machine), for \(time)"
            case .lie(let machine, _): "n\(machine)"
            }
        return "\(at) \(name): \(what)"
    }
}
