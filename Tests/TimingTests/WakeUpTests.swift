import Testing
import Timing

@Suite("Wake-ups of a driver")
struct WakeUpTests {
    private let start = Instant.zero + .seconds(100)

    /// Runs a driver over a state machine on virtual time; `core` gets each tick and says its next deadline.
    private func ticks(
        in span: Duration, warnings: inout [String], core: (Instant) -> Instant?
    ) -> [Instant] {
        var wakeUp = WakeUp("Core")
        var now = start
        var ticks: [Instant] = []
        var plan = wakeUp.next(core(now), at: now)
        while let next = plan, next.at <= start + span, ticks.count < 100_000 {
            #expect(next.at >= now && next.delay == next.at - now)
            now = next.at
            ticks.append(now)
            wakeUp.fired()
            plan = wakeUp.next(core(now), at: now)
            if let warning = plan?.warning { warnings.append(warning) }
        }
        return ticks
    }

    @Test("a state machine that never gets on is woken a few times, and there is one warning a minute")
    func stuck() {
        var warnings: [String] = []
        let ticks = ticks(in: .seconds(1), warnings: &warnings) { _ in start - .seconds(5) }
        #expect((5...12).contains(ticks.count))
        #expect(warnings.count == 1 && warnings.allSatisfy { $0.contains("Core") })
        warnings = []
        let more = self.ticks(in: .seconds(180), warnings: &warnings) { _ in .zero }
        #expect((180...195).contains(more.count))
        #expect((3...4).contains(warnings.count))
    }

    @Test("a state machine that names this very moment each time is slowed down too")
    func now() {
        var warnings: [String] = []
        let ticks = ticks(in: .seconds(1), warnings: &warnings) { $0 }
        #expect(ticks.count < 90)
        #expect(warnings.count == 1)
    }

    @Test("a state machine that names the next nanosecond is woken once in a millisecond")
    func hair() {
        var warnings: [String] = []
        let ticks = ticks(in: .seconds(1), warnings: &warnings) { $0 + .nanoseconds(1) }
        #expect(ticks.count <= 1001)
    }

    @Test("deadlines of the future are kept to the nanosecond, and the first of the past is met at once")
    func exact() {
        var wakeUp = WakeUp("Core")
        #expect(wakeUp.next(nil, at: start) == nil)
        #expect(wakeUp.next(start + .nanoseconds(5), at: start)?.delay == .nanoseconds(5))
        wakeUp.fired()
        #expect(wakeUp.next(start + .seconds(7), at: start + .nanoseconds(5))?.at == start + .seconds(7))
        #expect(wakeUp.next(start - .seconds(7), at: start + .seconds(1))?.delay == .zero)
        #expect(wakeUp.wasted == 0)
    }

    @Test("inputs between two ticks neither hasten nor put off the wake-up")
    func inputs() {
        var wakeUp = WakeUp("Core")
        _ = wakeUp.next(.zero, at: start)
        for _ in 0..<8 {
            wakeUp.fired()
            _ = wakeUp.next(.zero, at: start)
        }
        let arranged = wakeUp.next(.zero, at: start)?.at
        for step in 1..<100 { #expect(wakeUp.next(.zero, at: start + .milliseconds(step))?.at == arranged) }
        #expect(wakeUp.wasted == 8)
        // Late, it is not put off again.
        #expect(wakeUp.next(.zero, at: start + .seconds(10))?.delay == .zero)
    }

    @Test("once the deadline is later, the next fault begins from the least delay")
    func healed() {
        var wakeUp = WakeUp("Core")
        for _ in 0..<20 {
            wakeUp.fired()
            _ = wakeUp.next(.zero, at: start)
        }
        #expect(wakeUp.next(start + .seconds(3), at: start)?.at == start + .seconds(3))
        wakeUp.fired()
        let plan = wakeUp.next(start + .seconds(1), at: start + .seconds(3))
        #expect(plan?.delay == WakeUp.leastDelay && plan?.warning == nil)
    }

    @Test("a process that was frozen catches up without a warning")
    func catchingUp() {
        var warnings: [String] = []
        var due = start - .seconds(60)
        let ticks = ticks(in: .seconds(30), warnings: &warnings) { now in
            if due <= now { due += .seconds(2) }
            return due
        }
        #expect(warnings.isEmpty)
        #expect((40...50).contains(ticks.count))
    }
}
