package import Timing

/// A rate limit that allows bursts: `capacity` at once, refilled by `perSecond`.
package struct TokenBucket: Hashable, Sendable {
    private let capacity: Double
    private let perSecond: Double
    private var tokens: Double
    private var filledAt: Instant

    /// A full bucket.
    package init(capacity: Int, perSecond: Double, at now: Instant) {
        self.capacity = Double(capacity)
        self.perSecond = perSecond
        self.tokens = Double(capacity)
        self.filledAt = now
    }

    /// Takes `amount` when there is as much, and says whether there was.
    package mutating func take(_ amount: Int = 1, at now: Instant) -> Bool {
        refill(at: now)
        guard tokens >= Double(amount) else { return false }
        tokens -= Double(amount)
        return true
    }

    /// Takes `amount` even when there is not as much: what follows has to wait for it.
    package mutating func charge(_ amount: Int, at now: Instant) {
        refill(at: now)
        tokens -= Double(amount)
    }

    /// Whether anything is left.
    package mutating func hasTokens(at now: Instant) -> Bool {
        refill(at: now)
        return tokens > 0
    }

    private mutating func refill(at now: Instant) {
        guard now > filledAt else { return }
        tokens = min(capacity, tokens + (now - filledAt).inSeconds * perSecond)
        filledAt = now
    }
}
