/// When the process gives back memory that it does not use: pages of the program's file, and what the heaps
/// have free.
///
/// Half of the resident memory is code that only starting, joining and other rare work run: 39 of 44 MiB were
/// file pages, and the kernel brings sixteen in for each that is touched. A heap that held what 48 nodes say
/// while they all start keeps ten MiB for nothing. What is used again comes back by itself, for less than a
/// millisecond of processor time, so it is given back when the node has started, and every minute.
struct MemoryHousekeeping: Sendable {
    /// Seconds after the start.
    private static let first: UInt64 = 10
    /// Seconds.
    private static let interval: UInt64 = 60
    private var done = 0

    /// Whether it is due at `uptime`, in seconds since the start; once for each time, however late.
    mutating func isDue(uptime: UInt64) -> Bool {
        let due = (uptime >= Self.first ? 1 : 0) + Int(clamping: uptime / Self.interval)
        defer { done = max(done, due) }
        return due > done
    }
}
