package import Timing

/// Which nodes are still to be taken out of Kubernetes, and when each is tried: for ever, one at a time, with
/// pauses that grow, until it is done or no longer wanted.
package struct NodeRemovals: Hashable, Sendable {
    /// The first pause after a failure, and the longest.
    package static let pauses = Duration.seconds(5)...Duration.seconds(300)

    private struct Attempt: Hashable {
        var failures = 0
        var notBefore: Instant
    }

    private var wanted: [String: Attempt] = [:]
    /// The one that is being tried.
    private var running: String?

    package init() {}

    /// What is still to be removed, sorted.
    package var names: [String] { wanted.keys.sorted() }

    /// When `next` should be asked again; nil while one is being tried or nothing is left.
    package var nextDeadline: Instant? {
        running == nil ? wanted.values.map(\.notBefore).min() : nil
    }

    /// These are to be removed, and no others. New ones are first tried after `delay`.
    package mutating func want(_ names: Set<String>, after delay: Duration, at now: Instant) {
        wanted = wanted.filter { names.contains($0.key) }
        for name in names where wanted[name] == nil { wanted[name] = Attempt(notBefore: now + delay) }
    }

    /// The node to try now; nil when none is due. To be followed by `ended`.
    package mutating func next(at now: Instant) -> String? {
        guard running == nil else { return nil }
        let due = wanted.filter { $0.value.notBefore <= now }
        running = due.min { ($0.value.notBefore, $0.key) < ($1.value.notBefore, $1.key) }?.key
        return running
    }

    /// The attempt at `name` ended; true when that settles it and it is still wanted.
    package mutating func ended(_ name: String, isDone: Bool, at now: Instant) -> Bool {
        running = nil
        guard var attempt = wanted[name] else { return false }
        if isDone {
            wanted[name] = nil
            return true
        }
        attempt.failures = min(attempt.failures + 1, 16)
        let pause = Self.pauses.lowerBound * (1 << min(attempt.failures - 1, 8))
        attempt.notBefore = now + min(pause, Self.pauses.upperBound)
        wanted[name] = attempt
        return false
    }
}
