/// A budget that refills with time: what a peer may make this node do.
///
/// It holds at most `capacity` units, starts full and gains `refillPerSecond` units a second.
package struct TokenBucket: Hashable, Sendable {
    private let capacity: Double
    private let refillPerSecond: Double
    private var level: Double
    private var updated: Instant

    /// Makes a full bucket. Negative figures count as 0.
    package init(capacity: Int, refillPerSecond: Double, at now: Instant) {
        self.capacity = Double(max(capacity, 0))
        self.refillPerSecond = max(refillPerSecond, 0)
        self.level = self.capacity
        self.updated = now
    }

    /// Takes `amount` units if the bucket holds them, else nothing; says whether it did.
    package mutating func take(_ amount: Int = 1, at now: Instant) -> Bool {
        refill(at: now)
        let wanted = Double(max(amount, 0))
        guard level >= wanted else { return false }
        level -= wanted
        return true
    }

    /// Takes up to `amount` units; returns how many.
    package mutating func takeUpTo(_ amount: Int, at now: Instant) -> Int {
        refill(at: now)
        let taken = Int(min(level, Double(max(amount, 0))).rounded(.down))
        level -= Double(taken)
        return taken
    }

    /// How many whole units it holds.
    package mutating func level(at now: Instant) -> Int {
        refill(at: now)
        return Int(level)
    }

    private mutating func refill(at now: Instant) {
        guard now > updated else { return }
        level = min(capacity, level + (now - updated).inSeconds * refillPerSecond)
        updated = now
    }
}
