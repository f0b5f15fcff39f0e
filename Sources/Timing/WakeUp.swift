/// Says when a driver wakes its state machine next, so that no state machine can make it spin.
///
/// A state machine that is given `.tick` at its deadline and still names a moment that has passed would be woken again
/// at once, for ever. So a wake-up that follows another is never less than `leastDelay` away, and while the deadline
/// stays in the past the delay doubles up to `longestDelay`. Such wake-ups are counted, and once a minute there is a
/// warning to log: each of them is a fault of the state machine.
///
/// The driver asks with `next` after every input and calls `fired` right before it gives the tick of its timer.
package struct WakeUp: Hashable, Sendable {
    /// The least time from one wake-up to the next.
    package static let leastDelay = Duration.milliseconds(1)
    /// The longest time that a deadline in the past waits.
    package static let longestDelay = Duration.seconds(1)
    /// The least time between two warnings.
    package static let warningInterval = Duration.seconds(60)
    /// So many wake-ups in a row may each name another moment of the past: a process that was frozen catches up.
    package static let mostInARow = 64

    /// A wake-up to arrange.
    package struct Plan: Hashable, Sendable {
        /// When.
        package let at: Instant
        /// How long that is from now; not negative.
        package let delay: Duration
        /// What to log as a warning, at most once in `warningInterval`.
        package let warning: String?
    }

    private struct Planned: Hashable, Sendable {
        let deadline: Instant
        let at: Instant
    }

    /// The state machine's name, for the warning.
    package let core: String
    /// How many wake-ups left a deadline in the past.
    package private(set) var wasted: UInt64 = 0
    private var planned: Planned?
    private var hasFired = false
    /// How many wake-ups in a row left a deadline in the past, and how many of the last left it unchanged.
    private var inARow = 0
    private var unchanged = 0
    private var warned: Instant?

    /// Makes one for the state machine of this name.
    package init(_ core: String) {
        self.core = core
    }

    /// The timer has fired, and the state machine gets its tick.
    package mutating func fired() {
        hasFired = true
    }

    /// When to wake a state machine that names `deadline`; nil when it names none.
    package mutating func next(_ deadline: Instant?, at now: Instant) -> Plan? {
        let followsTick = hasFired
        hasFired = false
        guard let deadline else {
            (inARow, unchanged, planned) = (0, 0, nil)
            return nil
        }
        var at = max(deadline, now)
        var warning: String?
        if deadline > now {
            (inARow, unchanged) = (0, 0)
            if followsTick { at = max(at, now + Self.leastDelay) }
        } else if followsTick {
            unchanged = planned?.deadline == deadline ? min(unchanged + 1, Self.mostInARow) : 0
            inARow = min(inARow + 1, 2 * Self.mostInARow)
            if wasted < .max { wasted += 1 }
            at = now + Self.delay(doublings: max(unchanged - 1, inARow - Self.mostInARow))
            if unchanged > 0 || inARow > Self.mostInARow { warning = warn(at: now) }
        } else if let planned, planned.deadline == deadline {
            // Other inputs neither hasten nor put off what is arranged.
            at = max(planned.at, now)
        } else if inARow > 0 {
            at = now + Self.leastDelay
        }
        planned = Planned(deadline: deadline, at: at)
        return Plan(at: at, delay: at - now, warning: warning)
    }

    private static func delay(doublings: Int) -> Duration {
        min(leastDelay * (1 << min(max(doublings, 0), 20)), longestDelay)
    }

    private mutating func warn(at now: Instant) -> String? {
        if let warned, now - warned < Self.warningInterval { return nil }
        warned = now
        return
            "the state machine \(core) wants to be woken in the past, and is slowed down; \(wasted) times so far"
    }
}
