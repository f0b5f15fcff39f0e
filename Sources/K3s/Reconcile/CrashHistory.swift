internal import Timing

/// Whether a service keeps ending, from the manager's count of restarts.
struct CrashHistory: Sendable {
    private var seen: [(at: Instant, restarts: UInt64)] = []

    /// Takes the count of now.
    mutating func add(restarts: UInt64, at now: Instant) {
        // A manager that was itself restarted counts from zero again.
        if let last = seen.last, restarts < last.restarts { seen = [] }
        // One entry before the window stays: it is the count with which the window begins.
        while seen.count > 1, now - seen[1].at > K3sReconciler.crashWindow { seen.removeFirst() }
        if let last = seen.last, last.restarts == restarts { return }
        seen.append((now, restarts))
        if seen.count > 64 { seen.removeFirst() }
    }

    /// Whether the count rose by `limit` within the window.
    func isLooping(at now: Instant, limit: UInt64 = K3sReconciler.crashLimit) -> Bool {
        guard let last = seen.last, now - last.at <= K3sReconciler.crashWindow else { return false }
        let first = seen.last { now - $0.at > K3sReconciler.crashWindow } ?? seen[0]
        return last.restarts - first.restarts >= limit
    }
}
