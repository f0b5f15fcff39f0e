internal import LibP2P
internal import Timing

// The acceptor: answers every ballot that is driven, this node's own among them.
extension DecreeElection {
    /// How far ahead of what is known a round or a number of a decree may be. A million attempts take weeks.
    static let window: UInt64 = 1 << 20

    /// The registers that are about the open decree, of those whose word counts: the members that were met for the
    /// founding, later the voters.
    var votes: [PeerID: ElectionRegister] {
        votes { _ in true }
    }

    /// Those of them that are asked for.
    func votes(where isWanted: (ElectionRegister) -> Bool) -> [PeerID: ElectionRegister] {
        let known = max(state.highestDrivenRound, state.promised?.round ?? 0)
        // Taken out of the closures, which would copy all of this for them; it is asked at every step.
        let (scope, number, recovers) = (configuration.scope, state.number, state.recovers)
        func counts(_ register: ElectionRegister) -> Bool {
            register.number == number && !register.isFormer && register.recovers == recovers
                && WireCounter(register.highestRound)?.isWithin(Self.window, of: known) ?? false
                && isWanted(register)
        }
        guard let decree = state.certificate?.decree, let named = electorate.named else {
            return registers.filter { met.contains($0.key) && $0.value.scope == scope && counts($0.value) }
        }
        var votes: [PeerID: ElectionRegister] = [:]
        for peer in named where peer != localPeer && !decree.isForgotten(peer) {
            if let register = registers[peer], counts(register) { votes[peer] = register }
        }
        return votes
    }

    mutating func answerDrives(at now: Instant) {
        for (peer, register) in votes(where: { $0.drive != nil }) {
            guard let drive = register.drive, drive.ballot.proposer == peer else { continue }
            answer(drive, at: now, isOwn: false)
        }
        switch phase {
        case .preparing(let ballot, _): answer(.init(ballot: ballot, decree: nil), at: now, isOwn: true)
        case .proposing(let ballot, let decree, _):
            answer(.init(ballot: ballot, decree: decree), at: now, isOwn: true)
        case .idle: break
        }
    }

    mutating func answer(_ drive: ElectionRegister.Drive, at now: Instant, isOwn: Bool) {
        guard mayVote, isElector, !isSilentNow else { return }
        if let promised = state.promised, drive.ballot < promised { return }
        // All who know the last decree judge this alike, so a refusal never blocks what others accept.
        if let decree = drive.decree, !decree.follows(state.certificate?.decree) { return }
        // Among whom it is decided is part of what is signed.
        if drive.decree != nil, !isOwn, state.recovers, drive.recovered != recovering { return }
        var answered = false
        if state.promised.map({ drive.ballot > $0 }) ?? true {
            state.promised = drive.ballot
            answered = true
        }
        if let decree = drive.decree, state.accepted.map({ $0.ballot < drive.ballot }) ?? true,
            hasReason(for: decree, of: drive.ballot.proposer, at: now)
        {
            let statement = AcceptStatement(
                network: network, electorate: electorate, ballot: drive.ballot, decree: decree)
            state.accepted = SignedAccept(
                acceptor: localPeer, ballot: drive.ballot, decree: decree,
                signature: configuration.identity.sign(statement.bytes(acceptor: localPeer)))
            votedAt = now
            answered = true
        }
        if answered, !isOwn { lastHeard = now }
    }

    func isSilent(at now: Instant) -> Bool {
        configuration.isAmnesiac && state.certificate == nil
            && now < startedAt + configuration.timing.amnesiacSilence
    }

    /// Whether the others have agreed that this node is gone for good: its word counts no more.
    var isForgotten: Bool { state.certificate?.decree.isForgotten(localPeer) ?? false }
}
