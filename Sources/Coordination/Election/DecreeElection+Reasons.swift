internal import LibP2P
internal import Timing

// What this node accepts: a member that lies, or is mistaken, moves nobody who does not see the same.
extension DecreeElection {
    /// Whether this node itself sees a reason for `decree`, which follows from the newest one, or may take that of
    /// others for it. A refusal is like an answer that is lost: it costs time and nothing else.
    func hasReason(for decree: Decree, of proposer: PeerID, at now: Instant) -> Bool {
        if isBacked(decree) { return true }
        guard let previous = state.certificate?.decree else {
            // Nobody that this node has not met founds or gets a vote.
            return (decree.voters + [decree.founder.peer]).allSatisfy { $0 == localPeer || met.contains($0) }
        }
        guard mayName(decree, after: previous, at: now) else { return false }
        if state.recovers { return previous.naming(voters: decree.voters) == decree }
        if decree.epoch != previous.epoch {
            return (decree.founder.peer == localPeer || met.contains(decree.founder.peer))
                && (previous.isRunning
                    ? missesFounder : missesFounder || isFoundersWord(decree, in: previous, of: proposer))
        }
        if decree.isRunning != previous.isRunning {
            return isFoundersWord(decree, in: previous, of: proposer)
        }
        if let added = decree.servers.last?.peer, !previous.isServer(added) {
            return mayServe(added, after: previous)
        }
        if let back = previous.forgotten.first(where: { !decree.isForgotten($0) }) {
            return isBack(back) || back == localPeer
        }
        let gone = Set(decree.forgotten).subtracting(previous.forgotten)
        return gone.isEmpty || gone.allSatisfy(isGone) && mayForget(gone)
    }

    /// Whether this node, or so many others that one of them is to be believed, have accepted `decree` before. It may
    /// have been decided then, so it has to be offered again, and the reason for it may be gone meanwhile.
    private func isBacked(_ decree: Decree) -> Bool {
        if state.accepted?.decree == decree { return true }
        let needed: Int
        switch electorate {
        // Of the founding nothing can be ruled out, as nobody knows how many vote.
        case .members: needed = 1
        case .voters(let voters): needed = max(2, (voters.count - 1) / 3 + 1)
        case .recovered: return false
        }
        let others = votes { $0.accepted?.decree == decree }
        return others.count >= needed
            && others.count {
                $0.value.accepted?.acceptor == $0.key && $0.value.accepted.map(isAuthentic) ?? false
            } >= needed
    }

    /// Whether the founder itself has asked for `decree`: it alone knows whether its cluster runs, or lost its data.
    private func isFoundersWord(_ decree: Decree, in previous: Decree, of proposer: PeerID) -> Bool {
        let founder = previous.founder.peer
        if proposer == founder { return true }
        if founder == localPeer { return wished?.decree == decree || durable.accepted?.decree == decree }
        guard let register = registers[founder], register.number == state.number else { return false }
        return register.drive?.decree == decree || register.accepted?.decree == decree
    }

    /// Whether one more server is asked for here too, and `peer`, which this node has met or the members have named,
    /// may be it. It need not be here now: one that died after another voter had accepted it would hold up all
    /// decrees, and is taken out again by one that follows.
    private func mayServe(_ peer: PeerID, after previous: Decree) -> Bool {
        guard let additional = wishes.additionalServers, let card = card(of: peer),
            peer == localPeer || met.contains(peer) || previous.isVoter(peer)
        else { return false }
        return card.forcedRole == .master
            || card.forcedRole != .worker && previous.servers.count < 1 + additional
    }

    /// Whether this node does not see `peer`, or has its own word that it goes.
    func isGone(_ peer: PeerID) -> Bool {
        if peer == localPeer { return state.hasLeft }
        return !present.contains(peer) || registers[peer]?.hasLeft ?? false
    }

    /// It has come back when it knows that it was forgotten: one that died a moment ago may still count as
    /// present here.
    func isBack(_ peer: PeerID) -> Bool {
        present.contains(peer) && registers[peer].map { !$0.hasLeft && $0.number == state.number } ?? false
    }

    /// Whether the voters of `decree` are such as this node would name: new ones are servers or have been here for
    /// a while; nobody loses a vote who has not been gone for long, but for a server in its place.
    private func mayName(_ decree: Decree, after previous: Decree, at now: Instant) -> Bool {
        let servers = Set(decree.servers.map(\.peer))
        let added = Set(decree.voters).subtracting(previous.voters)
        let removed = Set(previous.voters).subtracting(decree.voters)
        if state.recovers { return decree.voters.allSatisfy { recovering.contains($0) } }
        guard
            added.allSatisfy({ servers.contains($0) || $0 == localPeer || isSettled($0, at: now) }),
            removed.isDisjoint(with: servers) || servers.isSuperset(of: decree.voters)
        else { return false }
        let withCause = removed.filter { decree.isForgotten($0) || isLongAway($0, at: now) }
        // Whose vote goes without a cause makes room for a server, or keeps the number odd after others are gone.
        let madeRoom = added.intersection(servers).count
        let evenedOut = !withCause.isEmpty && added.isSubset(of: servers) ? 1 : 0
        return removed.count - withCause.count <= madeRoom + evenedOut
    }

    /// Whether `peer` has been here for long enough to get a vote.
    func isSettled(_ peer: PeerID, at now: Instant) -> Bool {
        presentSince[peer].map { now >= $0 + configuration.timing.voterTenure } ?? false
    }

    /// Whether the voter `peer` has been away for so long that another gets its vote.
    func isLongAway(_ peer: PeerID, at now: Instant) -> Bool {
        voterAwaySince[peer].map { now >= $0 + configuration.timing.voterPatience } ?? false
    }

    /// Keeps account of which voters are away, and of when that, or who has been here for long, will matter.
    mutating func trackVoters(at now: Instant) {
        voterDeadline = isSilentNow ? startedAt + configuration.timing.amnesiacSilence : nil
        guard let decree = state.certificate?.decree else {
            voterAwaySince = [:]
            return
        }
        var away: [PeerID: Instant] = [:]
        for voter in decree.voters where voter != localPeer && !present.contains(voter) {
            away[voter] = voterAwaySince[voter] ?? now
        }
        voterAwaySince = away
        guard isElector else { return }
        var moments = away.values.map { $0 + configuration.timing.voterPatience }
        if decree.voters.count < Voters.most || !away.isEmpty {
            for (peer, since) in presentSince where !decree.isVoter(peer) {
                moments.append(since + configuration.timing.voterTenure)
            }
        }
        voterDeadline = moments.filter { $0 > now }.min()
    }

    /// The voters as this node would have them named by `decree`, which follows the newest one or is it. Worked out at
    /// every step, so those are left out first who are no candidates.
    func chosenVoters(for decree: Decree, at now: Instant) -> [PeerID] {
        let former = state.certificate?.decree.voters ?? decree.voters
        let candidates = presentMembers.filter { !former.contains($0.key) && isSettled($0.key, at: now) }
        return Voters.chosen(
            after: former, servers: decree.servers.map(\.peer),
            candidates: CandidateOrder.proposers(among: candidates),
            gone: Set(former.filter { isLongAway($0, at: now) }), forgotten: Set(decree.forgotten))
    }
}
