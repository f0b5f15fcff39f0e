package import Timing

/// Decides when a changed ledger is written: at most once in `interval`, at once when somebody asked
/// for durability or before shutdown, and again after a failure, later each time.
package struct SnapshotSchedule: Hashable, Sendable {
    /// The least time between two writes.
    package let interval: Duration
    private var isDirty = false
    private var isUrgent = false
    private var isWriting = false
    private var notBefore = Instant.zero
    private var failures = 0
    /// How many changes there were, how many the write under way holds, and how many are on disk.
    package private(set) var changes: UInt64 = 0
    private var writing: UInt64 = 0
    package private(set) var savedChanges: UInt64 = 0

    package init(interval: Duration = .seconds(1)) {
        self.interval = interval
    }

    /// Whether anything is not on disk yet.
    package var hasUnsavedChanges: Bool { isDirty || isWriting }

    /// The ledger changed. `urgent` asks for a write at once: an election register, shutdown.
    package mutating func changed(urgent: Bool = false) {
        isDirty = true
        changes += 1
        if urgent { isUrgent = true }
    }

    /// Somebody waits for what has changed so far: write it at once, unless that is under way.
    package mutating func hurry() {
        if isDirty { isUrgent = true }
    }

    /// When to ask again, or nil when there is nothing to write.
    package var nextDeadline: Instant? {
        guard isDirty, !isWriting else { return nil }
        return isUrgent ? .zero : notBefore
    }

    /// Whether to start writing now. A write that was started ends with `finished`.
    package mutating func shouldWrite(at now: Instant) -> Bool {
        guard let deadline = nextDeadline, deadline <= now else { return false }
        isWriting = true
        isDirty = false
        isUrgent = false
        writing = changes
        notBefore = now + interval
        return true
    }

    /// A write ended. After a failure everything counts as unwritten and the next try waits longer,
    /// up to a minute.
    package mutating func finished(succeeded: Bool, at now: Instant) {
        isWriting = false
        if succeeded {
            failures = 0
            savedChanges = writing
            return
        }
        isDirty = true
        failures = min(failures + 1, 6)
        notBefore = now + min(interval * (1 << failures), .seconds(60))
    }
}
