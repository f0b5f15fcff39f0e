internal import Coordination
internal import LibP2P
internal import Timing

// What this node would have the members decide, and what follows for those who are gone.
extension NodeCore {
    func wishes() -> ElectionWishes {
        guard let decree = election.decree else { return ElectionWishes() }
        var forget = operatorForgets
        for peer in absences.absent where mayBeForgotten(peer, decree) { forget.insert(peer) }
        return ElectionWishes(
            founderIsReady: plan.role == .founder && serves,
            founderLostData: plan.role == .founder
                && (k3s.hasLostData && k3s.epoch == decree.epoch || !mayFound(decree)),
            additionalServers: configuration.highAvailability ? configuration.additionalServers : nil,
            readyServers: readyServers, forget: forget,
            refoundAfter: operatorRefounds == decree.epoch ? decree.epoch : nil,
            isDeparting: isDeparting)
    }

    /// Whether a node that is away too long may be forgotten without an operator: a server only while the
    /// others of a majority of servers are here, so that none is forgotten by those who are cut off.
    func mayBeForgotten(_ peer: PeerID, _ decree: Decree) -> Bool {
        guard !decree.isForgotten(peer), decree.isRunning else { return false }
        guard decree.isServer(peer) else { return true }
        let here = decree.servers.filter { $0.peer == localPeer || connected.contains($0.peer) }.count
        return here * 2 > decree.servers.count
    }

    var watchedForAbsence: Set<PeerID> {
        guard configuration.replacesServersAfter != nil || configuration.freesRolesAfter != nil,
            let decree = election.decree
        else { return [] }
        let servers = Set(decree.servers.map(\.peer))
        // Keys that nobody has met are no members: anybody can make them, to fill the list of those that are forgotten.
        let all =
            configuration.freesRolesAfter == nil
            ? servers : servers.union(election.metMembers).union(decree.voters)
        return all.subtracting(decree.forgotten).subtracting([localPeer])
    }

    func absenceLimits(_ peer: PeerID) -> Duration? {
        let isServer = election.decree?.isServer(peer) ?? false
        return [isServer ? configuration.replacesServersAfter : nil, configuration.freesRolesAfter]
            .compactMap { $0 }.min()
    }

    /// The forgotten nodes that are still to be taken out of Kubernetes by this server, and how many of the
    /// servers that are here go before it. Those may fail, so all of them see to it in the end.
    var nodesToRemove: (nodes: [PeerID: String], turn: Int) {
        guard serves, !keepsStill, let decree = election.decree, !decree.forgotten.isEmpty else {
            return ([:], 0)
        }
        let here = decree.servers.filter { $0.peer == localPeer || connected.contains($0.peer) }
        var nodes: [PeerID: String] = [:]
        for peer in decree.forgotten where !removed.contains(peer) {
            nodes[peer] = election.card(of: peer)?.name
        }
        return (nodes, here.firstIndex { $0.peer == localPeer } ?? 0)
    }
}
