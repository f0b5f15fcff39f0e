internal import LibP2P
internal import Timing

// The acceptor: answers every ballot that is driven, this node's own among them.
extension DecreeElection {
    /// The registers that are about the open decree, of those whose word counts.
    var votes: [PeerID: ElectionRegister] {
        votes { _ in true }
    }

    /// Those of them that are asked for.
    func votes(where isWanted: (ElectionRegister) -> Bool) -> [PeerID: ElectionRegister] {
        let forgotten = state.certificate?.decree.forgotten ?? []
        // Taken out of the closure, which would copy all of this for it; it is asked at every step.
        let (scope, number) = (scope, state.number)
        return registers.filter {
            $0.value.number == number && isWanted($0.value) && $0.value.scope == scope
                && !forgotten.contains($0.key)
        }
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
        if let promised = state.promised, drive.ballot < promised { return }
        // All who know the last decree judge this alike, so a refusal never blocks what others accept.
        if let decree = drive.decree, !decree.follows(state.certificate?.decree) { return }
        if isForgotten { return }
        var answered = false
        if state.promised.map({ drive.ballot > $0 }) ?? true {
            state.promised = drive.ballot
            answered = true
        }
        if let decree = drive.decree, state.accepted.map({ $0.ballot < drive.ballot }) ?? true {
            let statement = SignedAccept.statement(
                in: scope, acceptor: localPeer, ballot: drive.ballot, decree: decree)
            state.accepted = SignedAccept(
                acceptor: localPeer, ballot: drive.ballot, decree: decree,
                signature: configuration.identity.sign(statement))
            votedAt = now
            answered = true
        }
        if answered, !isOwn { lastHeard = now }
    }

    /// Whether the others have agreed that this node is gone for good: its word counts no more.
    var isForgotten: Bool { state.certificate?.decree.isForgotten(localPeer) ?? false }
}
