package import Timing

/// What one step of the boot is waiting for, and since when: the sentence that `status` prints for
/// anything unfinished. A part of the node that waits without one is a defect.
package struct Waiting: Hashable, Sendable {
    /// The steps of a boot, in their order.
    package enum Step: String, Hashable, Sendable, CaseIterable {
        case configuration
        case mesh
        case address
        case device
        case election
        case role
        case join
        case k3s
    }

    /// The step that cannot go on.
    package let step: Step
    /// What it needs, as a sentence's end: "2 more nodes (1 of 3 are here)".
    package let what: String
    /// What an operator can do about it, when there is something.
    package let remedy: String?
    /// When the wait began.
    package let since: UnixTime

    package init(step: Step, what: String, remedy: String? = nil, since: UnixTime) {
        self.step = step
        self.what = what
        self.remedy = remedy
        self.since = since
    }
}
