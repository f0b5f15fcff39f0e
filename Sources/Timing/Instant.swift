/// A moment on a monotonic clock, in nanoseconds since an arbitrary start.
///
/// State machines receive it as a value and never read a clock themselves, so the simulator can
/// run them on virtual time. Two instants are comparable only when they come from one clock.
package struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Nanoseconds since the clock's start.
    package let nanoseconds: UInt64

    /// Makes an instant from `nanoseconds` since the clock's start.
    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The clock's start.
    package static let zero = Instant(nanoseconds: 0)

    /// An instant later than any that a clock reaches: 584 years after its start.
    package static let distantFuture = Instant(nanoseconds: .max)

    package static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The instant `duration` later (earlier when it is negative), clamped to the clock's range.
    package static func + (instant: Instant, duration: Duration) -> Instant {
        let delta = duration.wholeNanoseconds
        if delta >= 0 {
            let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(UInt64(delta))
            return Instant(nanoseconds: overflow ? .max : sum)
        }
        let (difference, underflow) = instant.nanoseconds.subtractingReportingOverflow(delta.magnitude)
        return Instant(nanoseconds: underflow ? 0 : difference)
    }

    /// The instant `duration` earlier, clamped to the clock's range.
    package static func - (instant: Instant, duration: Duration) -> Instant {
        instant + .nanoseconds(duration.wholeNanoseconds == .min ? .max : -duration.wholeNanoseconds)
    }

    /// The time from `earlier` to `later`; negative when the operands are the other way round.
    package static func - (later: Instant, earlier: Instant) -> Duration {
        if later >= earlier {
            return .nanoseconds(Int64(clamping: later.nanoseconds - earlier.nanoseconds))
        }
        return .nanoseconds(-Int64(clamping: earlier.nanoseconds - later.nanoseconds))
    }

    /// The latest multiple of `step` since the clock's start that is not later; a step below 1 ns is one of 1 ns.
    package func rounded(downTo step: Duration) -> Instant {
        Instant(nanoseconds: nanoseconds - nanoseconds % UInt64(max(1, step.wholeNanoseconds)))
    }

    package static func += (instant: inout Instant, duration: Duration) {
        instant = instant + duration
    }

    package var description: String {
        let milliseconds = nanoseconds / 1_000_000 % 1000
        let fraction = String(1000 + milliseconds).dropFirst()
        return "\(nanoseconds / 1_000_000_000).\(fraction)s"
    }
}

extension Duration {
    /// The duration in nanoseconds, clamped to what 64 bits hold (292 years either way).
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carry) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        if carry { return seconds < 0 ? .min : .max }
        return sum
    }

    /// The duration in seconds, for display and for ratios.
    package var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
