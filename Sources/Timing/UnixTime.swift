/// A moment of the wall clock: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Ledger versions, heartbeats and one-time passwords are made of it (contract/wire.md J.2, J.7).
/// It may jump either way; nothing that measures a delay may use it.
package struct UnixTime: Hashable, Comparable, Sendable {
    /// Nanoseconds since the epoch; negative before 1970.
    package let nanoseconds: Int64

    /// Makes a moment from `nanoseconds` since the epoch.
    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Makes a moment from whole `seconds` since the epoch, clamped to the years 1678 to 2262.
    package init(seconds: Int64) {
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        self.nanoseconds = overflow ? (seconds < 0 ? .min : .max) : scaled
    }

    /// Whole seconds since the epoch, rounded towards the past.
    package var seconds: Int64 {
        let (quotient, remainder) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return remainder < 0 ? quotient - 1 : quotient
    }

    package static func < (left: UnixTime, right: UnixTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The moment `duration` later (earlier when it is negative), clamped to the range of the type.
    package static func + (time: UnixTime, duration: Duration) -> UnixTime {
        let delta = duration.wholeNanoseconds
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(delta)
        return UnixTime(nanoseconds: overflow ? (delta < 0 ? .min : .max) : sum)
    }

    /// The time from `earlier` to `later`; negative when the operands are the other way round.
    package static func - (later: UnixTime, earlier: UnixTime) -> Duration {
        let (difference, overflow) = later.nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        return .nanoseconds(overflow ? (later < earlier ? .min : .max) : difference)
    }
}
