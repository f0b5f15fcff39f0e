package import LibP2P
internal import Timing

// What this node would have decided next, and when it may begin.
extension DecreeElection {
    /// The decree that this node would have next, if any.
    var wishedDecree: Decree? {
        guard !isForgotten else { return nil }
        // Who is here is asked for where it matters: this is worked out at every step.
        guard let decree = state.certificate?.decree else {
            return preferredFounder(among: presentMembers).map { .founding($0, quorum: scope.quorum) }
        }
        if wishes.refoundAfter == decree.epoch {
            return preferredFounder(among: presentMembers).map { decree.refounded(by: $0) }
        }
        if !decree.isRunning {
            if decree.founder.peer == localPeer {
                if wishes.founderIsReady { return decree.running }
                // Nobody has joined it, or the network knows that it runs: one of the two is decided.
                guard wishes.founderLostData else { return nil }
                return preferredFounder(among: presentMembers).map { decree.refounded(by: $0) }
            }
            let missing = votes.filter { $0.value.missesFounder && self.present.contains($0.key) }.count
            guard missesFounder, missing + 1 >= scope.quorum else { return nil }
            return preferredFounder(among: presentMembers).map { decree.refounded(by: $0) }
        }
        var gone = wishes.forget.subtracting(decree.forgotten)
        if state.hasLeft, mayLeave { gone.insert(localPeer) }
        if !gone.isEmpty, mayForget(gone), let next = decree.forgetting(gone) { return next }
        let back = decree.forgotten.filter { peer in
            // It has come back when it knows that it was forgotten: one that died a moment ago may still
            // count as present here.
            self.present.contains(peer) && !wishes.forget.contains(peer)
                && registers[peer].map { !$0.hasLeft && $0.number == state.number } ?? false
        }
        if let back = back.min() { return decree.recalling(back) }
        if configuration.scope.quorum > decree.quorum, presentCount >= configuration.scope.quorum {
            return decree.raising(quorum: configuration.scope.quorum)
        }
        return wishes.additionalServers == nil
            ? nil : decreeForMoreServers(after: decree, present: presentMembers)
    }

    /// Whether these nodes may be forgotten: a server only while another one is left that has been ready. One that
    /// never was has none of the cluster's data, and nobody to get them from.
    package func mayForget(_ gone: Set<PeerID>) -> Bool {
        guard let servers = state.certificate?.decree.servers,
            servers.contains(where: { gone.contains($0.peer) })
        else { return true }
        return servers.contains { !gone.contains($0.peer) && wishes.readyServers.contains($0.peer) }
    }

    /// Whether this node may go: the servers that stay keep the cluster's data without it, so a majority of
    /// them are here and have been ready (contract/k3s.md §11.2).
    package var mayLeave: Bool {
        guard let decree = state.certificate?.decree, decree.isServer(localPeer) else { return true }
        let others = decree.servers.filter { $0.peer != localPeer }
        let ready = others.filter { present.contains($0.peer) && wishes.readyServers.contains($0.peer) }
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
        let votes = votes
        return servers.allSatisfy { $0.peer == localPeer || votes[$0.peer] != nil }
    }

    mutating func trackWish(at now: Instant) {
        let wish = wishedDecree
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
        guard let wished, presentCount >= scope.quorum else { return nil }
        let present = presentMembers
        let timing = configuration.timing
        let rank = self.rank(wished.decree, among: present)
        var start: Instant
        if state.certificate == nil {
            // A quorum of one founds alone; before it does it gives a running cluster time to be found.
            start = presenceChanged + (scope.quorum == 1 ? timing.lookAround : timing.settle)
            if let quorumSince { start = min(start, quorumSince + timing.longestSettle) }
        } else {
            start = wished.since
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
