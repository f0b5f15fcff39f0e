package import Ledger
package import LibP2P
package import Timing

/// Who is here, and who was within the time for which an absent node's entries stay its own.
///
/// It stands for heartbeats among our own nodes: those say every few minutes, to everybody, what the signed
/// records of the overlay say once (docs/overlay.md). So a node's address stays its own while the node is
/// present, and for `window` after it was last.
package struct PresenceLog: Sendable {
    /// How long the entries of a node that left stay its own: as long as a heartbeat counts (contract J.8).
    package static let window = Duration.seconds(480)
    /// At most so many absent peers are remembered, those that left last.
    package static let maximumAbsent = 2048

    private let window: Duration
    private var present: [PeerID: LedgerText] = [:]
    private var absent: [PeerID: (owner: LedgerText, since: Instant)] = [:]
    /// Present and recently absent peers, as the owners of their entries.
    package private(set) var owners: Set<LedgerText> = []

    /// Makes an empty log that remembers who left for `margin` longer than others do.
    package init(margin: Duration = .zero) {
        window = Self.window + margin
    }

    /// When the next absent peer is to be forgotten.
    package var nextDeadline: Instant? { absent.values.map { $0.since + window }.min() }

    /// Since when each of the peers that left within the window has been away.
    package var absentSince: [PeerID: Instant] { absent.mapValues(\.since) }

    /// Takes who is present now. Returns whether `owners` has changed.
    package mutating func update(_ peers: Set<PeerID>, at now: Instant) -> Bool {
        let before = owners
        for (peer, owner) in present where !peers.contains(peer) {
            present[peer] = nil
            absent[peer] = (owner, now)
        }
        for peer in peers where present[peer] == nil {
            let owner = absent.removeValue(forKey: peer)?.owner ?? LedgerText(peer.description)
            present[peer] = owner
            owners.insert(owner)
        }
        while absent.count > Self.maximumAbsent,
            let oldest = absent.min(by: { ($0.value.since, $0.key) < ($1.value.since, $1.key) })
        {
            forget(oldest.key)
        }
        expire(at: now)
        return owners != before
    }

    /// Forgets who has been away for the whole window. Returns whether anybody was.
    @discardableResult
    package mutating func expire(at now: Instant) -> Bool {
        let over = absent.filter { $0.value.since + window <= now }.map(\.key)
        for peer in over { forget(peer) }
        return !over.isEmpty
    }

    private mutating func forget(_ peer: PeerID) {
        if let gone = absent.removeValue(forKey: peer) { owners.remove(gone.owner) }
    }
}
