internal import LibP2P
internal import Timing

// The proposer: drives a ballot for what this node wishes, or for what a quorum may have chosen already.
extension DecreeElection {
    mutating func drive(at now: Instant) {
        switch phase {
        case .idle:
            guard let start = nextAttempt, now >= start, writeFailure == nil, !isSilentNow else { return }
            begin(at: now)
        case .preparing(let ballot, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { return fail(at: now) }
            guard let promises = promises(for: ballot) else { return }
            guard let decree = promises.accepted ?? wished?.decree else { return fail(at: now) }
            phase = .proposing(ballot, decree, since: now)
            answer(.init(ballot: ballot, decree: decree), at: now, isOwn: true)
        case .proposing(let ballot, _, let since):
            if isPreempted(ballot) || now >= since + configuration.timing.attempt { fail(at: now) }
        }
    }

    mutating func begin(at now: Instant) {
        let highest = max(
            state.highestDrivenRound, state.promised?.round ?? 0,
            votes.values.map(\.highestRound).max() ?? 0)
        // What is counted is less than a window above what is known: the last round is never reached in practice.
        guard let round = WireCounter(highest)?.next?.value else { return fail(at: now) }
        let ballot = Ballot(round: round, proposer: localPeer)
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

    /// What the promises at `ballot` say: a decree that may have been decided and must then be proposed again, or
    /// none. Nil until enough have promised.
    func promises(for ballot: Ballot) -> Promises? {
        var promisers: [SignedAccept?] = votes.filter { $0.value.promised == ballot }.map { vote in
            vote.value.accepted.flatMap { $0.acceptor == vote.key && isAuthentic($0) ? $0 : nil }
        }
        if durable.number == state.number, durable.promised == ballot, isElector {
            promisers.append(durable.accepted)
        }
        guard promisers.count >= electorate.needed else { return nil }
        let accepted = promisers.compactMap { $0 }.filter { $0.decree.follows(state.certificate?.decree) }
        return Promises(accepted: decreeToKeep(accepted, of: promisers.count))
    }

    struct Promises {
        let accepted: Decree?
    }

    /// Whether the accept that a register tells of is its owner's. After a loss of voters, among whom it was given is
    /// not told with it.
    func isAuthentic(_ accept: SignedAccept) -> Bool {
        state.recovers || accept.isValid(in: network, among: electorate)
    }

    /// The decree of the highest of these accepts that may have been decided. Where it is known who all the voters
    /// are, one that too few can have accepted is none: a single voter that lies, or that alone had a reason, does
    /// not bind the others.
    private func decreeToKeep(_ accepts: [SignedAccept], of promisers: Int) -> Decree? {
        let highestFirst = accepts.sorted { $0.ballot > $1.ballot }
        guard case .voters(let voters) = electorate else { return highestFirst.first?.decree }
        let unheard = voters.count - promisers
        for (index, accept) in highestFirst.enumerated() {
            // Those who tell of the same decree at a higher ballot may have accepted at this one before. Had this one
            // been decided, no higher ballot could have offered another.
            let higher = highestFirst[..<index].count {
                $0.ballot > accept.ballot && $0.decree == accept.decree
            }
            let same = highestFirst.count { $0.ballot == accept.ballot && $0.decree == accept.decree }
            if same + higher + unheard >= electorate.needed { return accept.decree }
        }
        return nil
    }

    mutating func detectDecision(at now: Instant) {
        struct Choice: Hashable {
            let ballot: Ballot
            let decree: Decree
        }
        let voters = votes { $0.accepted != nil }
        let needed = electorate.needed
        guard voters.count + 1 >= needed else { return }
        var choices: [Choice: [SignedAccept]] = [:]
        for (peer, register) in voters {
            guard let accept = register.accepted, accept.acceptor == peer else { continue }
            choices[Choice(ballot: accept.ballot, decree: accept.decree), default: []].append(accept)
        }
        if durable.number == state.number, isElector, let own = durable.accepted {
            choices[Choice(ballot: own.ballot, decree: own.decree), default: []].append(own)
        }
        for (choice, accepts) in choices
        where accepts.count >= needed && choice.decree.follows(state.certificate?.decree) {
            let valid = accepts.filter { $0.isValid(in: network, among: electorate) }
            if let certificate = DecreeCertificate(
                network: network, electorate: electorate, ballot: choice.ballot, decree: choice.decree,
                accepts: Array(valid.prefix(DecreeCertificate.mostAccepts)), links: knownLinks)
            {
                return decide(certificate, at: now)
            }
        }
    }

    /// How others find their way to the decision after the newest one.
    private var knownLinks: [CertificateLink] {
        guard let certificate = state.certificate else { return [] }
        return Array((certificate.links + [certificate.link].compactMap { $0 }).suffix(CertificateLink.most))
    }

    /// The decree is decided: what comes now is about the next.
    mutating func decide(_ certificate: DecreeCertificate, at now: Instant) {
        let links = certificate.decree.number == state.number ? knownLinks : certificate.links
        state.advance(to: certificate.with(links: links))
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
        serversMissedSince = nil
        missesFounder = false
        if let remembered, remembered.number <= state.number {
            self.remembered = nil
            recoverOwnPromises(from: remembered)
        }
    }
}
