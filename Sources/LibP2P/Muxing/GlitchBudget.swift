package import Timing

/// How much pointless work a peer may cause: a bucket of tokens that refills with time.
///
/// Some frames mean nothing (an empty data frame, a window update of 0, an answer to no ping) yet
/// cost work. Honest implementations send few; a peer that spends the whole bucket is cut off.
package struct GlitchBudget: Sendable {
    private let capacity: Double
    private let perSecond: Double
    private var tokens: Double
    private var refilled: Instant?

    /// Makes a full bucket of `capacity` tokens that regains `perSecond` tokens a second.
    package init(capacity: Int, perSecond: Int) {
        self.capacity = Double(capacity)
        self.perSecond = Double(perSecond)
        self.tokens = Double(capacity)
    }

    /// Takes one token; false when none is left.
    package mutating func spend(at now: Instant) -> Bool {
        if tokens < capacity, let refilled {
            tokens = min(capacity, tokens + max(0, (now - refilled).inSeconds) * perSecond)
        }
        refilled = now
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}
