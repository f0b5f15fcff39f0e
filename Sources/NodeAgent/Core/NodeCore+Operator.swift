internal import AgentAPI
internal import Coordination
package import LibP2P

extension NodeCore {
    /// An operator's word, as the core takes it.
    package enum OperatorWord: Hashable, Sendable {
        case leave
        case forget(PeerID)
        case refound
        case recover
    }

    /// What the word is to the core, now.
    package func input(for word: OperatorWord) -> Input {
        switch word {
        case .leave: .leave
        case .forget(let peer): .forget([peer])
        case .refound: .refound(epoch: election.decree?.epoch ?? 0)
        case .recover: .recover
        }
    }

    /// Whether the word can be carried out, as things stand.
    package func accepts(_ word: OperatorWord) -> Bool { refusal(of: word) == nil }

    /// Why the word cannot be carried out; nil when it can.
    func refusal(of word: OperatorWord) -> OperatorRefusal? {
        guard configuration.runsK3s, let decree = election.decree else {
            return OperatorRefusal(
                .noCluster, what: "no cluster has been founded yet",
                remedy: "see `kairos-agent p2p status` for what the nodes are waiting for")
        }
        if word != .leave, decree.isForgotten(localPeer) {
            // Its vote does not count, so nothing would ever come of it.
            return OperatorRefusal(
                .alreadyGone, what: "this node is no part of the cluster",
                remedy: "say it on a node that is")
        }
        // An acceptor signs only what it has reason for itself, and only voters are acceptors.
        if word != .leave, word != .recover, let refusal = refusalWithoutVote { return refusal }
        switch word {
        case .recover:
            guard election.electorsHere == (election.electorate.named ?? []).count else { return nil }
            return OperatorRefusal(
                .busy, what: "all voters are here, so nothing has to be recovered",
                remedy: "see `kairos-agent p2p status` for what the nodes are waiting for")
        case .leave where !decree.isRunning, .forget where !decree.isRunning,
            .refound where !decree.isRunning:
            return OperatorRefusal(
                .noCluster, what: "the cluster does not run yet",
                remedy:
                    "wait for the server, or stop this node: who is away is waited for no longer than 15 s")
        case .refound:
            return nil
        case .leave:
            if decree.isForgotten(localPeer) {
                return OperatorRefusal(
                    .alreadyGone, what: "this node is no part of the cluster", remedy: "nothing is left to do"
                )
            }
            if decree.isServer(localPeer), decree.servers.count == 2, !k3s.isReady {
                // Of two members of an etcd the one that stays cannot take the other out by itself.
                return OperatorRefusal(
                    .busy, what: "this node is one of two servers, and its K3s is not ready to hand over",
                    remedy: "wait until `kairos-agent p2p status` shows K3s as active, then repeat")
            }
            guard decree.forgetting([localPeer]) != nil else { return Self.lastServer }
            return election.mayLeave(localPeer)
                ? nil
                : OperatorRefusal(
                    .busy,
                    what: "most of the servers that stay are away or not ready, so they could not go on",
                    remedy:
                        "wait until they are; for one that is gone for good say `kairos-agent p2p forget NODE`"
                )
        case .forget(let peer):
            if decree.isForgotten(peer) {
                return OperatorRefusal(
                    .alreadyGone, what: "the node was forgotten already", remedy: "nothing is left to do")
            }
            guard decree.forgetting([peer]) != nil else { return Self.lastServer }
            return election.mayForget([peer])
                ? nil
                : OperatorRefusal(
                    .lastServer,
                    what: "no other server has ever been ready, so the cluster's data are on that one",
                    remedy:
                        "bring it back, or give the cluster up with `kairos-agent p2p reset-cluster --i-know`"
                )
        }
    }

    private static var lastServer: OperatorRefusal {
        OperatorRefusal(
            .lastServer, what: "it is the only server, and the cluster is its data",
            remedy:
                "add a server first (p2p.auto.ha), or give the cluster up with `kairos-agent p2p reset-cluster --i-know`"
        )
    }

    private var refusalWithoutVote: OperatorRefusal? {
        guard !election.isElector else { return nil }
        let names = (election.electorate.named ?? []).map(name(of:))
        return OperatorRefusal(
            .busy, what: "this node has no vote, so its word would change nothing",
            remedy: "say it on a node that has: \(names.joined(separator: ", "))")
    }

    /// What an operator knows `peer` by.
    func name(of peer: PeerID) -> String { election.card(of: peer)?.name ?? peer.description }

    /// How the word stands; nil when it was not given.
    func standing(of word: OperatorWord) -> OperatorOutcome? {
        guard let decree = election.decree else { return nil }
        switch word {
        case .leave:
            guard election.isLeaving else { return nil }
            return decree.isForgotten(localPeer)
                ? .done("this node has left the cluster; its K3s is stopped and its data are set aside")
                : wait(for: election.acknowledgers)
        case .forget(let peer):
            guard given.contains(word) else { return nil }
            return decree.isForgotten(peer)
                ? .done("the node is forgotten, and what it held is free")
                : wait(for: election.acknowledgers)
        case .refound:
            guard let epoch = operatorRefounds else { return nil }
            return decree.epoch > epoch
                ? .done("epoch \(decree.epoch) of the cluster is founded by \(decree.founder.uuid)")
                : wait(for: election.givingUp)
        case .recover:
            guard let number = operatorRecovers else { return nil }
            if decree.number > number {
                let names = decree.voters.map(name(of:))
                return .done("the voters are \(names.joined(separator: ", "))")
            }
            return recoveryWait
        }
    }

    private var recoveryWait: OperatorOutcome {
        let missing = election.recoveryMissing
        let deciding = election.recovering
        return .waitingForQuorum(
            QuorumWait(
                needed: deciding.count,
                acknowledged: deciding.filter { !missing.contains($0) }.map(name(of:)).sorted(),
                missing: missing.map(name(of:)).sorted()))
    }

    private func wait(for acknowledged: Set<PeerID>) -> OperatorOutcome {
        let voters = election.electorate.named ?? []
        let names = voters.map { (peer: $0, name: name(of: $0)) }
        return .waitingForQuorum(
            QuorumWait(
                needed: election.electorate.needed,
                acknowledged: names.filter { acknowledged.contains($0.peer) }.map(\.name).sorted(),
                missing: names.filter { !acknowledged.contains($0.peer) }.map(\.name).sorted()))
    }
}
