#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Where a driver reads the time from. State machines never hold one.
package protocol TimeSource: Sendable {
    /// The monotonic clock.
    func now() -> Instant
    /// The wall clock.
    func wallClock() -> UnixTime
}

/// The kernel's clocks: `CLOCK_BOOTTIME`, which goes on during suspend, and `CLOCK_REALTIME`.
package struct SystemTime: TimeSource {
    package init() {}

    package func now() -> Instant {
        Instant(nanoseconds: UInt64(clamping: Self.read(CLOCK_BOOTTIME)))
    }

    package func wallClock() -> UnixTime {
        UnixTime(nanoseconds: Self.read(CLOCK_REALTIME))
    }

    private static func read(_ clock: Int32) -> Int64 {
        var value = timespec()
        // Neither clock can fail on Linux: both are always compiled in and the pointer is valid.
        clock_gettime(clock, &value)
        return Int64(value.tv_sec) * 1_000_000_000 + Int64(value.tv_nsec)
    }
}
