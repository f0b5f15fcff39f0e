internal import LibP2P
internal import Timing

// The proposer: drives a ballot for what this node wishes, or for what a quorum may have chosen already.
extension DecreeElection {
    mutating func drive(at now: Instant) {
        switch phase {
        case .idle:
            guard let start = nextAttempt, now >= start, writeFailure == nil else { return }
            begin(at: now)
        case .preparing(let ballot, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { return fail(at: now) }
            guard let promises = promises(for: ballot) else { return }
            guard let decree = promises.highestAccepted ?? wished?.decree else { return fail(at: now) }
            phase = .proposing(ballot, decree, since: now)
            answer(.init(ballot: ballot, decree: decree), at: now, isOwn: true)
        case .proposing(let ballot, _, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { fail(at: now) }
        }
    }

    mutating func begin(at now: Instant) {
        let highest = max(
            state.highestDrivenRound, state.promised?.round ?? 0,
            votes.values.map { max($0.promised?.round ?? 0, $0.drive?.ballot.round ?? 0) }.max() ?? 0)
        // A register that names the last round there is would end the election for everyone.
        guard highest < UInt64.max else { return }
        let ballot = Ballot(round: highest + 1, proposer: localPeer)
        state.highestDrivenRound = ballot.round
        phase = .preparing(ballot, since: now)
        answer(.init(ballot: ballot, decree: nil), at: now, isOwn: true)
    }

    func isPreempted(_ ballot: Ballot) -> Bool {
        if let promised = state.promised, promised > ballot { return true }
        return votes.values.contains { $0.promised.map { $0 > ballot } ?? false }
    }

    mutating func fail(at now: Instant) {
        failures = min(failures + 1, 16)
        phase = .idle
        let ceiling = min(
            configuration.timing.longestPause, .milliseconds(250) * (1 << min(failures, 6)))
        pauseUntil = now + random.duration(in: .milliseconds(100)...max(.milliseconds(100), ceiling))
    }

    /// What a quorum's promises at `ballot` say: the decree of their highest accept, which must then be
    /// proposed again, or none when nothing was accepted. Nil until a quorum has promised.
    func promises(for ballot: Ballot) -> Promises? {
        var promisers: [SignedAccept?] = votes.filter { $0.value.promised == ballot }.map { vote in
            vote.value.accepted.flatMap { $0.acceptor == vote.key ? $0 : nil }
        }
        if durable.number == state.number, durable.promised == ballot { promisers.append(durable.accepted) }
        guard promisers.count >= scope.quorum else { return nil }
        let accepted = promisers.compactMap { $0 }.filter { $0.decree.follows(state.certificate?.decree) }
        return Promises(highestAccepted: accepted.max { $0.ballot < $1.ballot }?.decree)
    }

    struct Promises {
        let highestAccepted: Decree?
    }

    mutating func detectDecision(at now: Instant) {
        struct Choice: Hashable {
            let ballot: Ballot
            let decree: Decree
        }
        let voters = votes { $0.accepted != nil }
        guard voters.count + 1 >= scope.quorum else { return }
        var choices: [Choice: [SignedAccept]] = [:]
        for (peer, register) in voters {
            guard let accept = register.accepted, accept.acceptor == peer else { continue }
            choices[Choice(ballot: accept.ballot, decree: accept.decree), default: []].append(accept)
        }
        if durable.number == state.number, let own = durable.accepted {
            choices[Choice(ballot: own.ballot, decree: own.decree), default: []].append(own)
        }
        for (choice, accepts) in choices
        where accepts.count >= scope.quorum && choice.decree.follows(state.certificate?.decree) {
            let valid = accepts.filter { $0.isValid(in: scope) }
            if let certificate = DecreeCertificate(
                scope: scope, ballot: choice.ballot, decree: choice.decree, accepts: valid)
            {
                return decide(certificate, at: now)
            }
        }
    }

    /// The decree is decided: what comes now is about the next.
    mutating func decide(_ certificate: DecreeCertificate, at now: Instant) {
        state.advance(to: certificate)
        // What follows leaves the founder as it is.
        let isFounding = !certificate.decree.isRunning && certificate.decree.founder.peer == localPeer
        foundsFreshly =
            isFounding && votedAt.map { now - $0 <= configuration.timing.founderPatience / 2 } ?? false
        votedAt = nil
        phase = .idle
        failures = 0
        pauseUntil = .zero
        lastHeard = nil
        wished = nil
        holders = []
        founderMissedSince = nil
        missesFounder = false
        if let remembered, remembered.number <= state.number {
            self.remembered = nil
            recoverOwnPromises(from: remembered)
        }
    }
}
