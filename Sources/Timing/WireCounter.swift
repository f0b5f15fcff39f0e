/// A counter that a peer tells: a number that is refused above `greatest`, so that one more never wraps.
package struct WireCounter: Hashable, Comparable, Sendable {
    /// 2^48 − 1: at a thousand a second it is reached in 9,000 years.
    package static let greatest: UInt64 = (1 << 48) - 1

    package let value: UInt64

    /// Nil above `greatest`.
    package init?(_ raw: UInt64) {
        guard raw <= Self.greatest else { return nil }
        value = raw
    }

    /// One more; nil at the end.
    package var next: WireCounter? { WireCounter(value + 1) }

    /// Whether it is at most `window` more than what is known.
    package func isWithin(_ window: UInt64, of known: UInt64) -> Bool {
        value <= known || value - known <= window
    }

    package static func < (left: WireCounter, right: WireCounter) -> Bool { left.value < right.value }
}
