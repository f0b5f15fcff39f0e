internal import LibP2P
internal import Timing

/// How many signatures may be checked for whom: entries are cheap to send and dear to verify. Each
/// author has a share, and all together another.
struct VerificationBudget: Sendable {
    private static let maximumAuthors = 1024

    private var all: TokenBucket
    private var authors: [PeerID: (bucket: TokenBucket, usedAt: Instant)] = [:]

    init(at now: Instant) {
        all = TokenBucket(capacity: 32_768, perSecond: 1000, at: now)
    }

    /// Whether `author` has anything left.
    mutating func allows(_ author: PeerID, at now: Instant) -> Bool {
        guard all.hasTokens(at: now) else { return false }
        return authors[author]?.bucket.hasTokens(at: now) ?? true
    }

    /// Takes what was spent, which may be more than there was.
    mutating func charge(_ author: PeerID, _ count: Int, at now: Instant) {
        guard count > 0 else { return }
        all.charge(count, at: now)
        if authors[author] == nil, authors.count >= Self.maximumAuthors { forgetIdle(at: now) }
        // With this many busy authors, the budget of all bounds the rest.
        guard authors[author] != nil || authors.count < Self.maximumAuthors else { return }
        var bucket = authors[author]?.bucket ?? TokenBucket(capacity: 8192, perSecond: 200, at: now)
        bucket.charge(count, at: now)
        authors[author] = (bucket, now)
    }

    /// Forgets authors whose share is full again.
    mutating func forgetIdle(at now: Instant) {
        authors = authors.filter { now - $0.value.usedAt < .seconds(60) }
    }
}
