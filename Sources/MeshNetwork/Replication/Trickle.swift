internal import LibP2P
internal import Timing

/// When to compare ledgers although nothing happened: every half minute at first, ever more rarely
/// while all is quiet, and never with a peer that has just shown the same ledger.
///
/// After RFC 6206: the interval doubles from `shortest` to `longest`, and within each the moment is
/// drawn from its second half, so that nodes do not speak at once.
struct Trickle: Sendable {
    static let shortest = Duration.seconds(30)
    static let longest = Duration.seconds(300)
    /// Peers asked in one interval.
    static let fanOut = 2

    private var interval = Trickle.shortest
    private var endsAt = Instant.zero
    private var firesAt: Instant?
    private var heardEqual: Set<PeerID> = []

    init(at now: Instant, generator: inout SeededGenerator) {
        begin(at: now, &generator)
    }

    var nextDeadline: Instant { firesAt ?? endsAt }

    /// Something changed that others may not have: look again soon.
    mutating func reset(at now: Instant, generator: inout SeededGenerator) {
        guard interval > Self.shortest else { return }
        interval = Self.shortest
        begin(at: now, &generator)
    }

    /// A peer showed the same ledger.
    mutating func heardEqual(from peer: PeerID) {
        heardEqual.insert(peer)
    }

    mutating func forget(_ peer: PeerID) {
        heardEqual.remove(peer)
    }

    /// The peers to compare with now.
    mutating func tick(
        at now: Instant, peers: some Sequence<PeerID>, generator: inout SeededGenerator
    ) -> [PeerID] {
        var chosen: [PeerID] = []
        if let due = firesAt, due <= now {
            firesAt = nil
            // Sorted first: the order of a set would make runs differ under one seed.
            let candidates = peers.filter { !heardEqual.contains($0) }.sorted()
            chosen = Array(candidates.shuffled(using: &generator).prefix(Self.fanOut))
        }
        if endsAt <= now {
            interval = min(interval * 2, Self.longest)
            begin(at: now, &generator)
        }
        return chosen
    }

    private mutating func begin(at now: Instant, _ generator: inout SeededGenerator) {
        endsAt = now + interval
        firesAt = now + generator.duration(in: (interval / 2)...interval)
        heardEqual = []
    }
}
