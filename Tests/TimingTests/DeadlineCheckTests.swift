import TestSupport
import Testing
import Timing

@Suite("The check that ticks get a state machine on")
struct DeadlineCheckTests {
    private struct Core {
        var deadline: Instant?
        var step: Duration
    }

    private func fault(_ core: Core) -> String? {
        DeadlineCheck.fault(of: core, at: .zero + .seconds(1), deadline: { $0.deadline }) { core, _ in
            core.deadline = core.deadline.map { $0 + core.step }
        }
    }

    @Test("it finds a state machine that stands still, and no other")
    func finds() {
        #expect(fault(Core(deadline: .zero, step: .zero)) != nil)
        #expect(fault(Core(deadline: .zero + .seconds(9), step: .zero)) != nil)
        #expect(fault(Core(deadline: .zero, step: .nanoseconds(1))) != nil)
        #expect(fault(Core(deadline: .zero, step: .seconds(2))) == nil)
        #expect(fault(Core(deadline: .zero + .seconds(1), step: .milliseconds(1))) == nil)
        #expect(fault(Core(deadline: nil, step: .zero)) == nil)
    }
}
