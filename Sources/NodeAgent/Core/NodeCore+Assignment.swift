internal import Coordination
internal import LibP2P
internal import VPN

// What this node's K3s is to be, as what is known now makes it.
extension NodeCore {
    /// Has K3s be what it is to be now, or be no part of the cluster, where either is news.
    mutating func settleAssignment(_ effects: inout [Effect]) {
        var (next, left): (K3sAssignment?, UInt64?)
        if case .forgotten(let certificate) = plan {
            if isDeparting { next = departingAssignment } else { left = certificate.decree.epoch }
        } else if let epoch = overruledEpoch {
            left = epoch
        } else {
            next = nextAssignment
        }
        if let left, left != leftEpoch {
            (leftEpoch, assignment) = (left, nil)
            effects.append(.leaveCluster(epoch: left))
        } else if let next, next != assignment, assignment != nil || !keepsStill {
            (leftEpoch, assignment) = (nil, next)
            effects.append(.assign(next))
        }
    }

    /// Whether the device carries this node's address.
    var deviceIsReady: Bool {
        guard let address = claim.address, case .up(let carried) = device else { return false }
        return carried == address
    }

    /// What the servers of the newest decree offer to those who join them: the founder's offer first, then
    /// those of the others in their order.
    var serverFacts: [JoinFacts] {
        guard let decree = election.decree, decree.isRunning else { return [] }
        return decree.servers.compactMap { server in
            guard server.peer != localPeer, let facts = board.joinFacts[server.peer],
                facts.epoch == decree.epoch
            else { return nil }
            return facts
        }
    }

    /// What this node offers or could offer as a member of the cluster's etcd. Where no other server offers
    /// anything it goes on with that: its K3s has its data, and asks nobody for them.
    var ownFacts: JoinFacts? {
        guard let decree = election.decree, let address = reachableAddress, k3s.isMember == true,
            k3s.epoch == decree.epoch
        else { return nil }
        if let said = board.joinFacts[localPeer], said.epoch == decree.epoch { return said }
        return (k3s.token ?? joinToken).map {
            JoinFacts(epoch: decree.epoch, address: address.description, token: $0)
        }
    }

    /// The servers of the newest decree that can be joined.
    var readyServers: Set<PeerID> {
        guard let decree = election.decree, decree.isRunning else { return [] }
        return Set(decree.servers.map(\.peer).filter { board.joinFacts[$0]?.epoch == decree.epoch })
    }

    /// Whether this node's K3s takes part as a server that others can join.
    var serves: Bool {
        guard case .role(let role, let certificate) = plan, role != .agent, let assignment,
            assignment.role == role || role == .founder && assignment.role == .server,
            k3s.epoch == certificate.decree.epoch
        else { return false }
        return k3s.isServer && k3s.isReady && k3s.isVoter != false
    }

    /// Whether this node is among those that will be asked to serve next, so that it does not start as an
    /// agent first: turning an agent into a server costs a restart of all it runs (contract/k3s.md §13).
    var isReserved: Bool {
        guard configuration.highAvailability, configuration.forcedRole == nil, let decree = election.decree,
            !decree.isServer(localPeer)
        else { return false }
        let open = 1 + configuration.additionalServers - decree.servers.count
        guard open > 0 else { return false }
        return CandidateOrder.candidates(among: election.presentMembers)
            .filter { !decree.isServer($0) }.prefix(open).contains(localPeer)
    }

    private var nextAssignment: K3sAssignment? {
        guard configuration.runsK3s, let (address, hostInterface) = kubernetesAddress,
            case .role(var role, let certificate) = plan
        else { return nil }
        if role == .founder, rejoins(certificate.decree) { role = .server }
        let token: String
        var joinURL: String?
        let facts = serverFacts
        switch role {
        case .founder:
            guard let joinToken, mayFound(certificate.decree) else { return nil }
            token = joinToken
            joinURL = facts.first.map { self.joinURL(through: $0) }
        case .server, .agent:
            guard let first = facts.first ?? (role == .server ? ownFacts : nil) else { return nil }
            // What already runs as an agent goes on as one until a decree says otherwise.
            if role == .agent, isReserved, !reservationIsOver, assignment == nil, !k3s.hasRun { return nil }
            token = first.token
            joinURL = self.joinURL(through: first)
        }
        return K3sAssignment(
            role: role, epoch: certificate.decree.epoch, address: address, hostInterface: hostInterface,
            apiAddress: configuration.apiAddress,
            joinURL: joinURL, token: token, highAvailability: configuration.highAvailability)
    }

    /// The epoch of the newest decree, where this node can have no role in it and its K3s is of an earlier one: that
    /// cluster was given up, and must not go on beside the new one.
    private var overruledEpoch: UInt64? {
        guard case .contradiction = plan, let decree = election.decree,
            let epoch = assignment?.epoch ?? k3s.epoch, epoch < decree.epoch
        else { return nil }
        return decree.epoch
    }
}
