/// Which counters of one key have been seen, so that no datagram is taken twice (RFC 6479): a ring of bits behind
/// the highest counter. Counters older than the window are refused.
package struct ReplayWindow: Sendable {
    /// How far behind the highest counter one may be. Segments of some megabytes may be under way at once, over
    /// several queues of a network card.
    package static let size: UInt64 = 8192

    /// A power of two, and one word more than the window needs, so that clearing ahead never meets live bits.
    private static let words: UInt64 = 256
    private var bits = [UInt64](repeating: 0, count: Int(words))
    /// One above the highest counter that was taken; 0 while there is none.
    private var next: UInt64 = 0

    package init() {}

    /// Whether `counter` would be taken. Asked before the datagram is opened, so that old ones cost nothing.
    package func accepts(_ counter: UInt64) -> Bool {
        guard counter < .max else { return false }
        if counter >= next { return true }
        guard next - counter <= Self.size else { return false }
        return bits[Int(counter >> 6 % Self.words)] & (1 << (counter & 63)) == 0
    }

    /// Takes `counter`, of a datagram that has proven to be authentic; false when it was taken before or is too old.
    package mutating func take(_ counter: UInt64) -> Bool {
        guard accepts(counter) else { return false }
        if counter >= next {
            let first = next == 0 ? 0 : (next - 1) >> 6 + 1
            let last = counter >> 6
            if next > 0, last >= first {
                for word in 0..<min(last - first + 1, Self.words) {
                    bits[Int((first + word) % Self.words)] = 0
                }
            }
            next = counter + 1
        }
        bits[Int(counter >> 6 % Self.words)] |= 1 << (counter & 63)
        return true
    }
}
