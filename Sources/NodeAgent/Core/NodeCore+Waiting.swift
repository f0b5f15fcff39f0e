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
        if let obstacle = election.obstacle {
            obstacles.append(.init(step: .election, what: obstacle.what, remedy: obstacle.remedy))
            return obstacles
        }
        switch plan {
        case .undecided:
            break
        case .contradiction(let what, let remedy):
            obstacles.append(.init(step: .role, what: "a role: \(what)", remedy: remedy))
        case .role(.founder, _):
            if joinToken == nil {
                obstacles.append(.init(step: .join, what: "the join token to be written to disk"))
            }
        case .willServe:
            obstacles.append(.init(step: .role, what: "its turn to join as a server: one joins at a time"))
        case .forgotten where isDeparting:
            obstacles.append(
                .init(
                    step: .role, what: "a server that stays to take this one out of etcd",
                    remedy: "keep this node running: without it the others may not have a majority"))
        case .forgotten(let certificate):
            obstacles.append(
                .init(
                    step: .role,
                    what: election.hasLeft
                        ? "nothing: this node has left the cluster"
                        : "\(certificate.decree.quorum) nodes to take this node back: it was taken for gone",
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
        var warnings: [String] = []
        let members = election.members.count
        let quorum = election.scope.quorum
        if configuration.runsK3s, quorum > 1 || members > 1,
            Coordination.RolePlan.quorumsMayMiss(quorum: quorum, members: members)
        {
            warnings.append(
                "p2p.minimum_nodes is \(quorum) for \(members) nodes: should they ever be cut in two"
                    + " both halves could elect a server; set it to \(members / 2 + 1) or more"
            )
        }
        if let decree = election.decree, configuration.scope.quorum < decree.quorum {
            warnings.append(
                "p2p.minimum_nodes is \(configuration.scope.quorum), but the cluster decides by \(decree.quorum) nodes:"
                    + " it is raised by a decree and never lowered; set it to \(decree.quorum) everywhere")
        }
        for (peer, scope) in election.membersOfOtherScopes where scope.quorum != configuration.scope.quorum {
            warnings.append(
                "\(peer) has p2p.minimum_nodes \(scope.quorum), this node \(configuration.scope.quorum):"
                    + " set the same number everywhere")
        }
        for (peer, decree) in election.rivalDecrees.sorted(by: { $0.key < $1.key }).prefix(8) {
            warnings.append(
                "\(peer) belongs to another cluster of this network, founded by \(decree.founder.uuid):"
                    + " set it up anew, or give the two networks different tokens")
        }
        return warnings
    }
}
