package import MeshNetwork
package import Timing

/// Since when each step has been waiting. A step that waits for something else than before keeps the
/// time at which its wait began; one that went on and waits again starts anew.
package struct WaitLog: Hashable, Sendable {
    /// One step that cannot go on.
    package struct Obstacle: Hashable, Sendable {
        package let step: Waiting.Step
        package let what: String
        package let remedy: String?

        package init(step: Waiting.Step, what: String, remedy: String? = nil) {
            self.step = step
            self.what = what
            self.remedy = remedy
        }
    }

    private var since: [Waiting.Step: UnixTime] = [:]
    /// What is waited for now, in the order of the steps.
    package private(set) var waiting: [Waiting] = []

    package init() {}

    /// Takes what is waited for now: at most one obstacle a step, the first one counts.
    package mutating func update(_ obstacles: [Obstacle], at now: UnixTime) {
        var current: [Waiting.Step: Obstacle] = [:]
        for obstacle in obstacles where current[obstacle.step] == nil { current[obstacle.step] = obstacle }
        since = since.filter { current[$0.key] != nil }
        waiting = Waiting.Step.allCases.compactMap { step in
            guard let obstacle = current[step] else { return nil }
            let start = since[step] ?? now
            since[step] = start
            return Waiting(step: step, what: obstacle.what, remedy: obstacle.remedy, since: start)
        }
    }
}
