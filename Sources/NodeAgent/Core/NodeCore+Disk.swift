internal import Coordination
internal import K3s
internal import MeshNetwork

// What this node's disk says, held against what the members have decided: where the two contradict each other the
// node waits, says so and changes nothing. A cluster that runs is never founded again without an operator's word.
extension NodeCore {
    /// Whether the founder's K3s may start as one. Of a cluster that runs it must have the data: without them it
    /// would found a second one. Before that it has the data, or was asked to found a moment ago: one that was
    /// away in between may have been given up for another, so it has the members decide again.
    func mayFound(_ decree: Decree) -> Bool {
        guard decree.isRunning else {
            return election.foundsFreshly || k3s.hasData == true && k3s.epoch == decree.epoch
        }
        // What an external database holds cannot be seen here.
        return configuration.keepsDataElsewhere || k3s.holdsData(of: decree.epoch)
    }

    /// Whether the founder takes part as a server that joins the others: its data were gone. What it once joined as
    /// it stays until the agent starts again, since another role would restart K3s.
    func rejoins(_ decree: Decree) -> Bool {
        decree.isRunning
            && (!mayFound(decree) || assignment?.role == .server && assignment?.epoch == decree.epoch)
    }

    /// How the founder, which has no join token on its disk, gets one; nil while there is none. That of a cluster
    /// that runs is never made anew: K3s ends with any other.
    var tokenSource: Effect? {
        guard let decree = election.decree, decree.isRunning else { return .makeJoinToken }
        let ofDisk = k3s.holdsData(of: decree.epoch) ? k3s.token : nil
        let own = board.joinFacts[localPeer].flatMap { $0.epoch == decree.epoch ? $0.token : nil }
        return (ofDisk ?? own ?? serverFacts.first?.token).flatMap(ClusterToken.password(in:))
            .map(Effect.keepJoinToken)
    }

    /// Whether the disk remembers a cluster and nothing of what was decided. What founds then is what the members
    /// say, except where this node's data are the cluster and it needs nobody else.
    var forgotCluster: Bool {
        guard configuration.hasForgotten, election.decree == nil, let epoch = k3s.epoch else { return false }
        return configuration.scope.quorum > 1 || !k3s.isServer || !k3s.holdsData(of: epoch)
    }

    /// Whether this node's votes may count.
    var mayVote: Bool { !forgotCluster && !keepsStill }

    /// What keeps the founder from going on.
    func founderObstacle(_ decree: Decree) -> WaitLog.Obstacle? {
        guard decree.isRunning else {
            return joinToken == nil ? .init(step: .join, what: "the join token to be written to disk") : nil
        }
        if assignment?.epoch == decree.epoch { return nil }
        if !mayFound(decree) { return serverFacts.isEmpty ? lostData(decree) : nil }
        guard joinToken == nil else { return nil }
        return .init(
            step: .join,
            what: "the token of the cluster, which runs: it is neither on this disk nor in the ledger",
            remedy: "restore join.token in /usr/local/.kairos/p2p from a copy and restart the agent")
    }

    private func lostData(_ decree: Decree) -> WaitLog.Obstacle {
        if let epoch = k3s.epoch, epoch > decree.epoch {
            return .init(
                step: .k3s,
                what: "news of epoch \(epoch), to which K3s' data belong: what this node knows is of epoch"
                    + " \(decree.epoch)", remedy: "connect the node to the others")
        }
        let remedy =
            "restore K3s' data folder and /usr/local/.kairos/p2p/k3s.cluster from a backup and restart the agent; if"
            + " they are gone for good, give the cluster up: kairos-agent p2p reset-cluster --i-know"
        if k3s.hasUnrecordedData {
            return .init(
                step: .k3s,
                what:
                    "to know whose data K3s has on this node: k3s.cluster is gone, and the cluster that runs is of"
                    + " epoch \(decree.epoch)", remedy: remedy)
        }
        return .init(
            step: .k3s,
            what:
                "the data of the cluster that this node founded and that runs, which are gone from its disk:"
                + " K3s would found a second, empty one", remedy: remedy)
    }

    /// Why a node that remembers a cluster does not vote.
    var forgottenObstacle: WaitLog.Obstacle? {
        guard forgotCluster, let epoch = k3s.epoch else { return nil }
        return .init(
            step: .election,
            what:
                "a member to say what was decided: this node's K3s was part of a cluster (k3s.cluster, epoch"
                + " \(epoch)), and its election.state is gone",
            remedy:
                "connect it to the others, or restore /usr/local/.kairos/p2p/election.state from a copy and"
                + " restart the agent; to set it up anew remove /usr/local/.kairos/p2p")
    }
}
