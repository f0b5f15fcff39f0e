internal import LibP2P
internal import Timing

/// Since when each watched node has been away.
struct AbsenceLog: Sendable {
    private var since: [PeerID: Instant] = [:]
    /// Who has been away for longer than allowed, as of the last update.
    private(set) var absent: Set<PeerID> = []
    /// When the next one will have been. Nobody is waited for twice: a moment that is past is none to wake at.
    private(set) var nextDeadline: Instant?

    /// Takes who is watched, who of them is here now, and how long each may be away; nil: for ever.
    mutating func update(
        watched: Set<PeerID>, present: Set<PeerID>, limit: (PeerID) -> Duration?, at now: Instant
    ) {
        guard !watched.isEmpty || !since.isEmpty else { return }
        let away = watched.subtracting(present)
        since = since.filter { away.contains($0.key) }
        for peer in away where since[peer] == nil { since[peer] = now }
        absent = []
        nextDeadline = nil
        for (peer, since) in since {
            guard let limit = limit(peer) else { continue }
            let deadline = since + limit
            if now >= deadline {
                absent.insert(peer)
            } else {
                nextDeadline = min(nextDeadline ?? deadline, deadline)
            }
        }
    }
}
