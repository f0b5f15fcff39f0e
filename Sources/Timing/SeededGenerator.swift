/// A small, fast, seeded generator (SplitMix64) for choices that need no secrecy: jitter, the order
/// of peers, the simulator's faults. The same seed gives the same sequence on every machine.
///
/// Never use it for keys, nonces or tokens.
package struct SeededGenerator: RandomNumberGenerator, Hashable, Sendable {
    private var state: UInt64

    /// Makes a generator whose whole sequence follows from `seed`.
    package init(seed: UInt64) {
        self.state = seed
    }

    /// Makes a generator seeded from the system's own randomness.
    package static func fromSystem() -> SeededGenerator {
        SeededGenerator(seed: .random(in: .min ... .max))
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A duration drawn evenly from `range`, at nanosecond grain.
    package mutating func duration(in range: ClosedRange<Duration>) -> Duration {
        .nanoseconds(
            Int64.random(
                in: range.lowerBound.wholeNanoseconds...range.upperBound.wholeNanoseconds, using: &self))
    }
}
