package import Timing

/// What this node has said of the API address in this life, and when it has to say so again.
///
/// A node that is killed begins with the ledger that it last stored. When it says then what it had said before, to
/// itself nothing has changed, and the others keep what it published last: that it holds the address no longer, for
/// example. So whoever finds another word under its own name in the ledger repeats its own.
package struct HoldingVoice: Sendable {
    /// The least time between two repetitions: two machines with one key would contradict each other for ever.
    package static let pause = Duration.seconds(5)

    /// What was said last; nil when nothing was.
    package private(set) var own: APIHolding?
    private var isContradicted = false
    private var repeated: Instant?

    package init() {}

    /// This node says `holding`.
    package mutating func say(_ holding: APIHolding) {
        own = holding
        isContradicted = false
    }

    /// The ledger has `holding` under this node's name; nil when it has nothing, or something else.
    package mutating func hear(_ holding: APIHolding?) {
        isContradicted = own != nil && holding != own
    }

    /// When there is something to repeat.
    package var nextDeadline: Instant? {
        guard isContradicted else { return nil }
        return repeated.map { $0 + Self.pause } ?? .zero
    }

    /// What is to be said again now.
    package mutating func due(at now: Instant) -> APIHolding? {
        guard let deadline = nextDeadline, deadline <= now else { return nil }
        isContradicted = false
        repeated = now
        return own
    }
}
