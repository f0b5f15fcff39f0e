internal import LibP2P
internal import Timing

/// Since when each watched node has been away.
struct AbsenceLog: Sendable {
    private var since: [PeerID: Instant] = [:]

    /// Takes who is watched, and who of them is here now.
    mutating func update(watched: Set<PeerID>, present: Set<PeerID>, at now: Instant) {
        guard !watched.isEmpty || !since.isEmpty else { return }
        let away = watched.subtracting(present)
        since = since.filter { away.contains($0.key) }
        for peer in away where since[peer] == nil { since[peer] = now }
    }

    /// Who has been away for longer than the limit that `limit` gives; those without one never have.
    func absent(longerThan limit: (PeerID) -> Duration?, at now: Instant) -> Set<PeerID> {
        Set(since.filter { entry in limit(entry.key).map { now >= entry.value + $0 } ?? false }.keys)
    }

    /// When the next one will have been away for too long.
    func nextDeadline(after limit: (PeerID) -> Duration?) -> Instant? {
        since.compactMap { entry in limit(entry.key).map { entry.value + $0 } }.min()
    }
}
