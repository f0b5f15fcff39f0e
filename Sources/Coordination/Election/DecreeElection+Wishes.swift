package import LibP2P
internal import Timing

// What this node would have decided next, and when it may begin.
extension DecreeElection {
    /// The decree that this node would have next, if any.
    func wishedDecree(at now: Instant) -> Decree? {
        guard isElector, mayVote else { return nil }
        // Who is here is asked for where it matters: this is worked out at every step.
        guard let decree = state.certificate?.decree else {
            guard !foundingIsOver, contradiction.isEmpty else { return nil }
            let present = presentMembers
            return preferredFounder(among: present).map { founder in
                .founding(founder, voters: Self.foundingVoters(founder, among: present))
            }
        }
        if state.recovers { return decreeOfRecovery(after: decree) }
        if let founding = decreeOfFounding(after: decree) { return founding }
        guard decree.isRunning else { return nil }
        guard let change = changeOfMembers(after: decree) else {
            let voters = chosenVoters(for: decree, at: now)
            let names = Set(voters) != Set(decree.voters) || decree.formerQuorum != nil
            return names ? decree.naming(voters: voters) : nil
        }
        return change.with(voters: chosenVoters(for: change, at: now))
    }

    /// Those who are to decide what comes after the founding: the founder, then whoever is here, an odd number.
    private static func foundingVoters(_ founder: ElectedServer, among present: [PeerID: MemberCard])
        -> [PeerID]
    {
        Voters.odd([founder.peer] + CandidateOrder.proposers(among: present).filter { $0 != founder.peer })
    }

    /// The cluster runs, or is founded anew: by its founder's word before it runs, for want of the founder, or by an
    /// operator's word.
    private func decreeOfFounding(after decree: Decree) -> Decree? {
        let anew =
            !decree.isRunning && decree.founder.peer != localPeer || wishes.refoundAfter == decree.epoch
        // Nothing is driven that too few would accept.
        if anew, missesFounder, givingUp.count >= electorate.needed {
            return preferredFounder(among: presentMembers).map { decree.refounded(by: $0) }
        }
        guard !decree.isRunning, decree.founder.peer == localPeer else { return nil }
        if wishes.founderIsReady { return decree.running }
        // Nobody has joined it, or the network knows that it runs: one of the two is decided.
        guard wishes.founderLostData else { return nil }
        return preferredFounder(among: presentMembers).map { decree.refounded(by: $0) }
    }

    /// Those who decide, are here, and would accept another founding, this node among them.
    package var givingUp: Set<PeerID> {
        let others = votes.filter { $0.value.missesFounder && self.present.contains($0.key) }.keys
        return Set(others).union(missesFounder && isElector ? [localPeer] : [])
    }

    /// A node that is gone or back, or a server more.
    private func changeOfMembers(after decree: Decree) -> Decree? {
        var gone = wishes.forget.filter(isGone)
        if state.hasLeft, mayLeave(localPeer) { gone.insert(localPeer) }
        // Whoever has no vote asks to leave by its register. It is here to do so: of all others anybody can make as
        // many as the list of those that are forgotten holds.
        for peer in present {
            guard let register = registers[peer], register.hasLeft, register.number == state.number else {
                continue
            }
            if mayLeave(peer) { gone.insert(peer) }
        }
        gone.subtract(decree.forgotten)
        if !gone.isEmpty, mayForget(gone), let next = decree.forgetting(gone) { return next }
        let back = decree.forgotten.filter { isBack($0) && !wishes.forget.contains($0) }
        if let back = back.min() { return decree.recalling(back) }
        return wishes.additionalServers == nil
            ? nil : decreeForMoreServers(after: decree, present: presentMembers)
    }

    /// The nodes that are here go on without the lost voters, once an operator has said so on each of them.
    private func decreeOfRecovery(after decree: Decree) -> Decree? {
        guard recoveryMissing.isEmpty else { return nil }
        let left = recovering
        let servers = decree.servers.map(\.peer).filter(left.contains)
        let others = CandidateOrder.proposers(among: presentMembers).filter {
            left.contains($0) && !servers.contains($0)
        }
        return decree.naming(voters: Voters.odd(servers + others))
    }

    /// Those of `recovering` on which an operator has not yet said that the voters are lost.
    package var recoveryMissing: [PeerID] {
        let ready = votes
        return recovering.filter { $0 != localPeer && ready[$0] == nil }
    }

    /// Whether these nodes may be forgotten: a server only while another one is left that has been ready. One that
    /// never was has none of the cluster's data, and nobody to get them from.
    package func mayForget(_ gone: Set<PeerID>) -> Bool {
        guard let servers = state.certificate?.decree.servers,
            servers.contains(where: { gone.contains($0.peer) })
        else { return true }
        return servers.contains { !gone.contains($0.peer) && wishes.readyServers.contains($0.peer) }
    }

    /// Whether `peer` may go: the servers that stay keep the cluster's data without it, so a majority of
    /// them are here and have been ready (contract/k3s.md §11.2).
    package func mayLeave(_ peer: PeerID) -> Bool {
        guard let decree = state.certificate?.decree, decree.isServer(peer) else { return true }
        let others = decree.servers.filter { $0.peer != peer }
        let ready = others.filter {
            ($0.peer == localPeer || present.contains($0.peer)) && wishes.readyServers.contains($0.peer)
        }
        return ready.count * 2 > others.count
    }

    func preferredFounder(among present: [PeerID: MemberCard]) -> ElectedServer? {
        guard let peer = CandidateOrder.candidates(among: present).first, let card = present[peer] else {
            return nil
        }
        return ElectedServer(peer: peer, uuid: card.uuid)
    }

    /// One server more, when more are asked for and all there are can be reached and are ready: etcd takes
    /// one new member at a time (contract/k3s.md §11.1). All of them must have shown that they know this
    /// decree: leases count on it that the sets of servers that two of them know are at most one apart.
    func decreeForMoreServers(after decree: Decree, present: [PeerID: MemberCard]) -> Decree? {
        guard let additional = wishes.additionalServers, decree.servers.count < Decree.mostServers,
            decree.servers.allSatisfy({ present[$0.peer] != nil && wishes.readyServers.contains($0.peer) }),
            knowThis(decree.servers)
        else { return nil }
        let candidates = CandidateOrder.candidates(among: present).filter { !decree.isServer($0) }
        guard let next = candidates.first, let card = present[next] else { return nil }
        guard decree.servers.count < 1 + additional || card.forcedRole == .master else { return nil }
        return decree.adding(ElectedServer(peer: next, uuid: card.uuid))
    }

    /// Whether all of `servers` have shown that they know the newest decree.
    private func knowThis(_ servers: [ElectedServer]) -> Bool {
        servers.allSatisfy { $0.peer == localPeer || registers[$0.peer]?.number == state.number }
    }

    mutating func trackWish(at now: Instant) {
        let wish = wishedDecree(at: now)
        if wish != wished?.decree { wished = wish.map { ($0, now) } }
    }

    mutating func trackQuorum(at now: Instant) {
        if presentCount >= configuration.scope.quorum {
            if quorumSince == nil { quorumSince = now }
        } else {
            quorumSince = nil
        }
    }

    /// When this node may drive an attempt: once it has a wish and a quorum is here and settled, in its
    /// turn, after another's running attempt has had its time.
    var nextAttempt: Instant? {
        guard let wished, electorsHere >= electorate.needed else { return nil }
        let present = presentMembers
        let timing = configuration.timing
        let rank = self.rank(wished.decree, among: present)
        var start: Instant
        if state.certificate == nil {
            // A quorum of one founds alone; before it does it gives a running cluster time to be found.
            if configuration.scope.quorum == 1 {
                start =
                    presenceChanged
                    + (configuration.isAmnesiac ? timing.amnesiacLookAround : timing.lookAround)
            } else {
                start = presenceChanged + timing.settle
            }
            if let quorumSince {
                let longest =
                    configuration.isAmnesiac && configuration.scope.quorum == 1
                    ? timing.amnesiacLookAround : timing.longestSettle
                start = min(start, quorumSince + longest)
            }
        } else {
            start = wished.since
            if state.recovers { start = max(start, presenceChanged + timing.recoverySettle) }
        }
        start = start + timing.stagger * min(rank, 8)
        if let lastHeard { start = max(start, lastHeard + timing.attempt + timing.stagger * min(rank, 8)) }
        return max(start, pauseUntil)
    }

    /// In which order this node goes. What only one member can wish for needs no order.
    func rank(_ wish: Decree, among present: [PeerID: MemberCard]) -> Int {
        if let decree = state.certificate?.decree {
            let isOperators =
                wishes.refoundAfter == decree.epoch || wish.forgotten.count > decree.forgotten.count
            if isOperators || wish == decree.running { return 0 }
        }
        return CandidateOrder.proposers(among: present).firstIndex(of: localPeer) ?? present.count
    }
}
