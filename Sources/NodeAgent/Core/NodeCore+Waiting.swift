internal import Coordination
package import MeshNetwork
internal import VPN

extension NodeCore {
    /// What this node is waiting for, and since when; empty when everything it decides is decided.
    package var waiting: [Waiting] { waits.waiting }

    /// The obstacles of the steps that this core decides. A step that has not begun because an
    /// earlier one waits is left out: the first cause is what an operator needs.
    var obstacles: [WaitLog.Obstacle] {
        var obstacles: [WaitLog.Obstacle] = []
        if let obstacle = hostAddressObstacle { obstacles.append(obstacle) }
        if !configuration.addressing.hasVPN {
            // Neither an address to claim nor a device to bring up.
        } else if let wait = claim.waiting {
            obstacles.append(.init(step: .address, what: wait.what, remedy: wait.remedy))
        } else if !deviceIsReady, claim.address != nil {
            switch device {
            case .failed(let what, let remedy):
                obstacles.append(.init(step: .device, what: what, remedy: remedy))
            case .down, .up:
                obstacles.append(.init(step: .device, what: "the VPN device to carry the address"))
            }
        }
        guard configuration.runsK3s else { return obstacles }
        if let obstacle = forgottenObstacle ?? cloneObstacle { return obstacles + [obstacle] }
        if let obstacle = election.obstacle {
            obstacles.append(.init(step: .election, what: obstacle.what, remedy: obstacle.remedy))
            return obstacles
        }
        switch plan {
        case .undecided:
            break
        case .contradiction(let what, let remedy):
            obstacles.append(.init(step: .role, what: "a role: \(what)", remedy: remedy))
        case .role(.founder, let certificate):
            if let obstacle = founderObstacle(certificate.decree) { obstacles.append(obstacle) }
        case .willServe:
            obstacles.append(.init(step: .role, what: "its turn to join as a server: one joins at a time"))
        case .forgotten where isDeparting:
            obstacles.append(
                .init(
                    step: .role, what: "a server that stays to take this one out of etcd",
                    remedy: "keep this node running: without it the others may not have a majority"))
        case .forgotten:
            obstacles.append(
                .init(
                    step: .role,
                    what: election.hasLeft
                        ? "nothing: this node has left the cluster"
                        : "the voters to take this node back: it was taken for gone",
                    remedy: election.hasLeft
                        ? "to join again, remove /usr/local/.kairos/p2p and restart the agent" : nil))
        case .role(_, let certificate):
            if !certificate.decree.isRunning {
                obstacles.append(
                    .init(
                        step: .join, what: "K3s of \(certificate.decree.founder.uuid) to be ready",
                        remedy: "check `kairos-agent p2p status` on the server"))
            } else if serverFacts.isEmpty {
                obstacles.append(
                    .init(
                        step: .join, what: "a server to publish its address and token",
                        remedy: "check `kairos-agent p2p status` on the servers"))
            } else if assignment == nil, isReserved {
                obstacles.append(
                    .init(step: .role, what: "its turn to join as a server: one joins at a time"))
            }
        }
        return obstacles
    }

    /// Contradictions that do not stop anything but that an operator should know of.
    package var warnings: [String] {
        var warnings = [cloneWarning].compactMap(\.self)
        let members = election.metMembers.count
        let quorum = configuration.scope.quorum
        if configuration.runsK3s, election.decree == nil, quorum > 1 || members > 1,
            Coordination.RolePlan.quorumsMayMiss(quorum: quorum, members: members)
        {
            warnings.append(
                "p2p.minimum_nodes is \(quorum) for \(members) nodes: should they be cut in two before the cluster"
                    + " is founded, both halves could found one; set it to \(members / 2 + 1) or more until then"
            )
        }
        if let warning = votersWarning { warnings.append(warning) }
        for (peer, scope) in election.membersOfOtherScopes where scope.quorum != configuration.scope.quorum {
            warnings.append(
                "\(peer) has p2p.minimum_nodes \(scope.quorum), this node \(configuration.scope.quorum):"
                    + " set the same number everywhere")
        }
        for (peer, decree) in election.rivalDecrees.sorted(by: { $0.key < $1.key }).prefix(8) {
            warnings.append(
                "\(peer) holds revision \(decree.number) of a cluster founded by \(decree.founder.uuid), which the"
                    + " voters that this node knows have not accepted: set it up anew; where the voters were lost"
                    + " and recovered without this node, say `kairos-agent p2p recover --i-know` here")
        }
        return warnings
    }

    /// What an operator must know of the voters: nothing that is decided changes while most of them are away.
    private var votersWarning: String? {
        guard configuration.runsK3s, election.decree != nil, case .voters(let voters) = election.electorate,
            election.electorsHere < election.electorate.needed
        else { return nil }
        let away = voters.filter { $0 != localPeer && !connected.contains($0) }.map(name(of:))
        return
            "\(away.count) of the \(voters.count) voters are away (\(away.joined(separator: ", "))): K3s goes on,"
            + " but no server or member changes until most are back; if they are gone for good say"
            + " `kairos-agent p2p recover --i-know` on each node that stays"
    }
}
