import Ledger
import Timing

extension World {
    /// Whether there is something left to find out: no violation yet, or not the one that a sabotage is
    /// to cause.
    fileprivate var mayGoOn: Bool {
        guard let sabotage else { return violations.isEmpty }
        return !violations.contains { $0.check == sabotage.noticedBy }
    }
}

/// What came of a scenario.
package struct Outcome: Sendable {
    package let scenario: Scenario
    package let violations: [Violation]
    package let timeline: [String]
    /// Equal for equal runs.
    package let fingerprint: UInt64
    package let faults: Int
    package let events: Int
    /// How long after the last fault everything was in order; nil when that was not asked, or never.
    package let recovery: Duration?
}

extension Scenario {
    /// How long order may take to return: backed-off restarts of K3s come at most a minute apart, and
    /// ledgers are compared at most every five.
    static let patience = Duration.seconds(330)
    /// How long ledgers may differ: whether an address whose owner was re-imaged is still claimed depends on the
    /// clock of who asks, until the owner's last heartbeat is `livenessWindow` old (480 s) by every clock.
    static let ledgerPatience = patience + Ledger.Configuration().livenessWindow

    /// Runs the scenario to its end: faults first, then until order has returned and held for 10 s.
    package func run(records: Bool = false, sabotage: Sabotage? = nil) -> Outcome {
        var world = World(self, records: records, sabotage: sabotage)
        world.run(for: max(faultsEnd, .seconds(2)) + .milliseconds(1))
        let quiet = world.now
        world.note("all faults are over")
        var orderSince: Instant?
        var nextRound = quiet
        while world.mayGoOn {
            let isOrdered = world.disorder.isEmpty || !world.endsWell
            guard world.now < quiet + (isOrdered ? Self.ledgerPatience : Self.patience) else { break }
            if world.now >= nextRound {
                nextRound = world.now + .seconds(15)
                world.tidyUp()
            }
            if isOrdered && world.differences.isEmpty {
                // Not only reached but kept; and long enough for what is looked for after 10 s.
                let since = orderSince ?? world.now
                orderSince = since
                if world.now - since >= .seconds(12) { break }
            } else {
                orderSince = nil
            }
            world.run(for: .milliseconds(500))
        }
        let recovery = orderSince.map { $0 - quiet }
        if world.mayGoOn {
            if world.clusterLeft { world.violate(.keptData, "nobody is left who keeps the cluster's data") }
            if world.endsWell { for text in world.disorder { world.violate(.order, text) } }
            for text in world.differences { world.violate(.equalLedgers, text) }
        }
        return Outcome(
            scenario: self, violations: world.violations, timeline: world.timeline,
            fingerprint: world.fingerprint, faults: world.faultsInjected, events: world.eventsHandled,
            recovery: world.endsWell ? recovery : nil)
    }

    /// The scenario with as few faults as still break the same promise, found by leaving out halves, then
    /// quarters, and so on to single faults (delta debugging, Zeller and Hildebrandt 2002).
    package func shrunk(breaking check: Check, sabotage: Sabotage? = nil, attempts: Int = 200) -> Scenario {
        var smallest = self
        var parts = 2
        var left = attempts
        while !smallest.faults.isEmpty, left > 0 {
            let size = (smallest.faults.count + parts - 1) / parts
            var found: Scenario?
            for start in stride(from: 0, to: smallest.faults.count, by: size) where left > 0 {
                left -= 1
                var candidate = smallest
                candidate.faults.removeSubrange(start..<min(start + size, smallest.faults.count))
                if candidate.run(sabotage: sabotage).violations.contains(where: { $0.check == check }) {
                    found = candidate
                    break
                }
            }
            if let found {
                smallest = found
                parts = max(2, parts - 1)
            } else if size == 1 {
                break
            } else {
                parts = min(parts * 2, smallest.faults.count)
            }
        }
        return smallest
    }
}
