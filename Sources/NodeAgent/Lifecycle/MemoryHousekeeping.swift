/// When the process gives back memory that it does not use.
///
/// Half of the resident memory is code that only starting, joining and other rare work run: 39 of 44 MiB were
/// file pages, and the kernel brings sixteen in for each that is touched. What is used again comes back by
/// itself, for less than a millisecond of processor time, so it is given back when the node has started, when
/// it has joined, and every minute. What the heaps do not use is given back then and every ten minutes.
struct MemoryHousekeeping: Sendable {
    /// Seconds after the start.
    private static let first: [UInt64] = [10, 60]
    private let interval: UInt64
    private var done = 0

    /// That of pages of the program's file.
    static var programPages: MemoryHousekeeping { MemoryHousekeeping(interval: 60) }
    /// That of the heaps.
    static var heaps: MemoryHousekeeping { MemoryHousekeeping(interval: 600) }

    private init(interval: UInt64) {
        self.interval = interval
    }

    /// Whether it is due at `uptime`, in seconds since the start; once for each time, however late.
    mutating func isDue(uptime: UInt64) -> Bool {
        let due = Self.first.lazy.filter { $0 <= uptime }.count + Int(clamping: uptime / interval)
        defer { done = max(done, due) }
        return due > done
    }
}
