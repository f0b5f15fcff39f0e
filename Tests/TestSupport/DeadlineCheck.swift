package import Timing

/// Whether a state machine gets on when it is woken: after ticks at its deadline the deadline has to be later.
///
/// It works on a copy, so a test may ask after every input, in whatever state that has left.
package enum DeadlineCheck {
    /// So many ticks at one moment may each find something to do.
    private static let mostTicks = 8

    /// Follows `wakeUps` deadlines of the state machine, with nothing coming in between; what is wrong, or nil.
    ///
    /// - Parameter now: the present; a deadline that has passed is met then.
    package static func fault<Core>(
        of core: Core, at now: Instant, wakeUps: Int = 2, deadline: (Core) -> Instant?,
        tick: (inout Core, Instant) -> Void
    ) -> String? {
        var core = core
        var now = now
        for _ in 0..<wakeUps {
            guard let first = deadline(core), first != .distantFuture else { return nil }
            now = max(now, first)
            var ticks = 0
            while let due = deadline(core), due <= now {
                guard ticks < mostTicks else {
                    return "\(Core.self) still wants \(due) after \(ticks) ticks at \(now)"
                }
                tick(&core, now)
                ticks += 1
            }
        }
        return nil
    }
}
