import Testing
import Timing

@testable import K3s

@Suite("Which nodes are still to be taken out of Kubernetes")
struct NodeRemovalsTests {
    /// Holds the machine, so that what it answers can be expected in place.
    private final class Machine {
        private var core = NodeRemovals()
        var names: [String] { core.names }
        var nextDeadline: Instant? { core.nextDeadline }
        func want(_ names: Set<String>, after delay: Duration, at now: Instant) {
            core.want(names, after: delay, at: now)
        }
        func next(at now: Instant) -> String? { core.next(at: now) }
        func ended(_ name: String, isDone: Bool, at now: Instant) -> Bool {
            core.ended(name, isDone: isDone, at: now)
        }
    }

    private static func second(_ seconds: Int) -> Instant { .zero + .seconds(seconds) }

    @Test("a removal that fails is tried for ever, after pauses that grow to five minutes")
    func retries() {
        let removals = Machine()
        removals.want(["a"], after: .zero, at: .zero)
        var now = Instant.zero
        var pauses: [Duration] = []
        for _ in 0..<200 {
            #expect(removals.next(at: now) == "a")
            #expect(removals.nextDeadline == nil, "one at a time")
            #expect(!removals.ended("a", isDone: false, at: now))
            guard let next = removals.nextDeadline else {
                Issue.record("it was given up")
                return
            }
            pauses.append(next - now)
            #expect(removals.next(at: next + .nanoseconds(-1)) == nil)
            now = next
        }
        #expect(Array(pauses.prefix(7)) == [5, 10, 20, 40, 80, 160, 300].map { Duration.seconds($0) })
        #expect(pauses.suffix(190).allSatisfy { $0 == .seconds(300) })
        #expect(removals.next(at: now) == "a")
        let isDone = removals.ended("a", isDone: true, at: now)
        #expect(isDone)
        #expect(removals.names == [] && removals.nextDeadline == nil)
    }

    @Test("one node that cannot be removed is not in the way of another")
    func several() {
        let removals = Machine()
        removals.want(["a", "b"], after: .zero, at: .zero)
        #expect(removals.next(at: .zero) == "a")
        #expect(removals.next(at: .zero) == nil)
        _ = removals.ended("a", isDone: false, at: .zero)
        #expect(removals.next(at: .zero) == "b")
        let isDone = removals.ended("b", isDone: true, at: .zero)
        #expect(isDone)
        #expect(removals.names == ["a"])
    }

    @Test("what is no longer wanted is not tried again, and does not count as done")
    func unwanted() {
        let removals = Machine()
        removals.want(["a"], after: .zero, at: .zero)
        #expect(removals.next(at: .zero) == "a")
        removals.want([], after: .zero, at: .zero)
        let isDone = removals.ended("a", isDone: true, at: .zero)
        #expect(!isDone, "the node is a member again")
        #expect(removals.next(at: Self.second(1000)) == nil)
    }

    @Test("a server that is not the first waits its turn, and wanting the same again does not hurry it")
    func turn() {
        let removals = Machine()
        removals.want(["a"], after: .seconds(120), at: .zero)
        removals.want(["a"], after: .zero, at: Self.second(1))
        #expect(removals.nextDeadline == Self.second(120))
        #expect(removals.next(at: Self.second(119)) == nil)
        #expect(removals.next(at: Self.second(120)) == "a")
    }
}
