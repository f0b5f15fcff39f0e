package import CloudConfig
package import Timing

/// Decides when the cloud-config is read again and what becomes of what was read: a state machine.
///
///     resting ── files changed ──► settling ── quiet for 1 s ──► reading ──► the same: resting
///        ▲ ╲── every 60 s, SIGHUP ────────────────────────────────► │   ├──► broken: the former one stays
///        └──────────────────────────────────────────────────────────┘   ├──► other: applied
///                                                                       └──► a foundation: restart
///
/// A file that cannot be used changes nothing: what the node runs with stays until a good one is there.
package struct ConfigurationReload: Sendable {
    /// A configuration that can be used.
    package struct Candidate: Sendable {
        package let configuration: NodeConfiguration
        /// What a node with a mesh makes of it; nil without a mesh.
        package let settings: NodeSettings?

        package init(configuration: NodeConfiguration, settings: NodeSettings?) {
            self.configuration = configuration
            self.settings = settings
        }
    }

    package enum Input: Sendable {
        /// Something changed where the files are.
        case touched
        /// Somebody asks for it.
        case asked
        /// The files are as they were when they were last read.
        case same
        /// They were read. `isFounded`: whether the node's cluster has been founded.
        case read(Candidate, isFounded: Bool)
        /// They cannot be used: the problems, a line each.
        case broken([String])
        case tick
    }

    package enum Effect: Sendable {
        /// Read the files, and answer with `.same`, `.read` or `.broken`.
        case read
        /// Go on with this configuration.
        case apply(Candidate, [ConfigurationChange])
        /// End in order, to be started again.
        case restart([ConfigurationChange])
        /// Log the problems: the configuration is not used.
        case keep([String])
        /// Log that everything is as it should be.
        case unchanged
    }

    /// How long files must have been left alone before they are read, and the longest that is waited for.
    package static let settle = (quiet: Duration.seconds(1), longest: Duration.seconds(10))
    /// How often they are read without a cause: a change that nobody told of is found then.
    package static let patrol = Duration.seconds(60)

    /// What the node runs with.
    package private(set) var current: Candidate
    /// Why what is on disk is not what the node runs with, a line each; empty when it is.
    package private(set) var problems: [String] = []
    private var settling: (since: Instant, until: Instant)?
    private var nextPatrol: Instant
    private var isReading = false
    private var isAsked = false
    private var isRestarting = false

    package init(current: Candidate, at now: Instant) {
        self.current = current
        nextPatrol = now + Self.patrol
    }

    /// When `.tick` is wanted.
    package var nextDeadline: Instant? {
        if isReading || isRestarting { return nil }
        return min(settling?.until ?? nextPatrol, nextPatrol)
    }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        guard !isRestarting else { return [] }
        switch input {
        case .touched:
            let since = settling?.since ?? now
            settling = (since, min(now + Self.settle.quiet, since + Self.settle.longest))
        case .asked:
            isAsked = true
            settling = (now, now)
        case .tick:
            break
        case .same:
            guard isReading else { return [] }
            return finish(at: now) + (answer(problems.isEmpty ? .unchanged : .keep(problems)))
        case .broken(let lines):
            guard isReading else { return [] }
            return finish(at: now) + keep(lines)
        case .read(let candidate, let isFounded):
            guard isReading else { return [] }
            return finish(at: now) + judge(candidate, isFounded: isFounded)
        }
        guard !isReading, let deadline = nextDeadline, now >= deadline else { return [] }
        isReading = true
        settling = nil
        return [.read]
    }

    private mutating func finish(at now: Instant) -> [Effect] {
        isReading = false
        nextPatrol = now + Self.patrol
        return []
    }

    /// What only somebody who asked wants to hear.
    private mutating func answer(_ effect: Effect) -> [Effect] {
        defer { isAsked = false }
        return isAsked ? [effect] : []
    }

    private mutating func keep(_ lines: [String]) -> [Effect] {
        let isNews = lines != problems
        problems = lines
        defer { isAsked = false }
        return isNews || isAsked ? [.keep(lines)] : []
    }

    private mutating func judge(_ candidate: Candidate, isFounded: Bool) -> [Effect] {
        let changes = ConfigurationChange.changes(
            from: current.configuration, to: candidate.configuration, isFounded: isFounded,
            changesToken: current.settings?.fixedToken != candidate.settings?.fixedToken
                && current.settings != nil && candidate.settings != nil)
        let refusals = changes.filter { if case .refused = $0.outcome { true } else { false } }
        guard refusals.isEmpty else { return keep(refusals.map(\.line)) }
        problems = []
        if changes.contains(where: { $0.outcome == .restart }) {
            isRestarting = true
            return [.restart(changes)]
        }
        // Warnings and places may be others although no value is.
        current = candidate
        defer { isAsked = false }
        return [.apply(candidate, changes)] + (changes.isEmpty && isAsked ? [.unchanged] : [])
    }
}
