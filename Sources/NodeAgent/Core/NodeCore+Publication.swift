internal import Coordination
internal import Timing
internal import VPN

// What this node says of itself in the ledger.
extension NodeCore {
    func publication(at now: UnixTime) -> KeyPublisher.Publication {
        var join: JoinFacts?
        var isLeader = false
        if case .role(let role, let certificate) = plan, role != .agent, let address = reachableAddress {
            isLeader = certificate.decree.servers.first?.peer == localPeer
            // Nobody joins before the members have agreed that the cluster runs.
            if certificate.decree.isRunning, serves, let token = k3s.token ?? joinToken {
                join = JoinFacts(epoch: certificate.decree.epoch, address: address.description, token: token)
            } else if let said = board.joinFacts[localPeer], said.epoch == certificate.decree.epoch {
                // What was said stands while K3s restarts.
                join = said
            }
        }
        return KeyPublisher.Publication(
            peer: localPeer, role: plan.role?.stockName(highAvailability: configuration.highAvailability),
            isLeader: isLeader, address: reachableAddress, join: join,
            serverAddress: configuration.serverName,
            nodeToken: k3s.token ?? joinToken, kubeconfig: k3s.kubeconfig,
            publishesKubeconfig: configuration.publishesKubeconfig, watchers: watchers(at: now),
            // Only the leader assigns roles to others.
            ownMembers: isLeader ? Set(election.members.values.map(\.uuid)) : [])
    }

    func watchers(at now: UnixTime) -> KeyPublisher.Watchers {
        if stockPeersPresent { return .inRoom }
        return strangersStay.map { now < $0 } ?? false ? .distant : .none
    }
}
