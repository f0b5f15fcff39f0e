import Coordination
import K3s
import LibP2P
import NodeAgent
import Timing

/// What operators do: words to a node, and another cloud-config.
extension World {
    /// The newest decree on any machine's disk.
    var newestDecree: Decree? {
        machines.compactMap { $0.isGone ? nil : $0.disk.election?.certificate?.decree }
            .max { $0.number < $1.number }
    }

    mutating func hear(_ word: OperatorWord, at index: Int) {
        guard let agent = machines[index].agent else { return }
        switch word {
        case .leave: give(.leave, to: index)
        case .forget(let other):
            guard other < machines.count, machines[other].peer != machines[index].peer else { return }
            give(.forget(machines[other].peer), to: index)
        case .resetCluster:
            guard agent.core.accepts(.refound) else { return }
            // It is said on each node that has a vote, and means the cluster that this one knows.
            for other in machines.indices where machines[other].agent?.core.accepts(.refound) == true {
                if let decree = machines[other].disk.election?.certificate?.decree {
                    givenUp.insert(decree.epoch)
                }
                give(.refound, to: other)
            }
        }
    }

    private mutating func give(_ word: NodeCore.OperatorWord, to index: Int) {
        guard let agent = machines[index].agent, agent.core.accepts(word) else {
            return note("n\(index) refuses: \(word)")
        }
        trace(15, index)
        note("n\(index) is told: \(word)")
        feed(agent.core.input(for: word), to: index)
    }

    /// What a diligent operator does at the end: gives the word for servers whose machines are no more.
    package mutating func tidyUp() {
        guard let decree = newestDecree else { return }
        recoverVoters(of: decree)
        guard decree.isRunning else { return }
        let lost = decree.servers.map(\.peer).filter { peer in
            !machines.contains { $0.peer == peer && !$0.isGone }
        }
        guard !lost.isEmpty, decree.forgetting(Set(lost)) != nil,
            let index = machines.indices.first(where: {
                machines[$0].agent != nil && decree.isVoter(machines[$0].peer)
                    && machines[$0].disk.election?.certificate?.decree == decree
            })
        else { return }
        for peer in lost { give(.forget(peer), to: index) }
    }

    /// Where most of the voters' machines are no more: the word on each one that is left.
    private mutating func recoverVoters(of decree: Decree) {
        let left = machines.indices.filter { !machines[$0].isGone && decree.isVoter(machines[$0].peer) }
        guard Set(left.map { machines[$0].peer }).count * 2 < decree.voters.count else { return }
        // What only the lost ones knew is given up with them.
        for number in decrees.keys where number > decree.number { decrees[number] = nil }
        for epoch in founders.keys where epoch > decree.epoch { founders[epoch] = nil }
        if !decree.isRunning { givenUp.insert(decree.epoch) }
        givenUp.formUnion(runningEpochs.filter { $0 > decree.epoch })
        for index in machines.indices
        where !machines[index].isGone && machines[index].agent?.core.accepts(.recover) == true {
            recoveryWords.insert(machines[index].peer)
            give(.recover, to: index)
        }
    }

    /// The agent of every machine starts again with another cloud-config, one machine after the other.
    mutating func changeCloudConfig(_ change: (Machine) -> Void) {
        for index in machines.indices where !machines[index].isGone {
            change(machines[index])
            kill(index, outage: random.duration(in: .milliseconds(300) ... .milliseconds(4000)))
        }
    }
}
