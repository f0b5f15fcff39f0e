internal import NIOConcurrencyHelpers

/// The memory that all queues and buffers of the process may take together, by the standing of the peers that
/// they are for. What does not fit is refused: its stream is reset, and counted.
///
/// Every standing has a share of its own, so that the unproven cannot take what members need.
package final class MemoryBudget: Sendable {
    /// The shares in bytes.
    package struct Shares: Hashable, Sendable {
        package var unproven = 16 << 20
        package var member = 32 << 20
        package var admitted = 32 << 20

        package init() {}

        /// The share of `standing`.
        package func of(_ standing: PeerStanding) -> Int {
            switch standing {
            case .unproven: unproven
            case .member: member
            case .admitted: admitted
            }
        }

        /// All of them together.
        package var total: Int { unproven + member + admitted }
    }

    /// What is in use and what was refused.
    package struct Usage: Hashable, Sendable {
        /// Bytes by standing.
        package var used: [PeerStanding: Int] = [:]
        /// How often something did not fit.
        package var refusals: [PeerStanding: Int] = [:]
    }

    package let shares: Shares
    private let state = NIOLockedValueBox(Usage())

    package init(shares: Shares = Shares()) {
        self.shares = shares
    }

    /// Takes `count` bytes for buffers that are dispensable, from the first half of the share of `standing`.
    func reserveSpare(_ count: Int, for standing: PeerStanding) -> Bool {
        let half = shares.of(standing) / 2
        return state.withLockedValue { state in
            let used = state.used[standing, default: 0]
            guard count <= half - used else { return false }
            state.used[standing] = used + count
            return true
        }
    }

    /// Takes `count` bytes of the share of `standing`; false, and counted, when there are not so many.
    package func reserve(_ count: Int, for standing: PeerStanding) -> Bool {
        let share = shares.of(standing)
        return state.withLockedValue { state in
            let used = state.used[standing, default: 0]
            guard count <= share - used else {
                let refusals = state.refusals[standing, default: 0]
                state.refusals[standing] = refusals == .max ? refusals : refusals + 1
                return false
            }
            state.used[standing] = used + count
            return true
        }
    }

    /// Gives back `count` bytes that were reserved for `standing`.
    package func release(_ count: Int, for standing: PeerStanding) {
        guard count > 0 else { return }
        state.withLockedValue { $0.used[standing, default: 0] -= count }
    }

    /// What is in use now.
    package var usage: Usage { state.withLockedValue { $0 } }
}

/// What one connection holds of the budget, and the standing of its peer. For any thread; its handlers call it
/// when they keep something, which they seldom do.
package final class ConnectionMemory: Sendable {
    private struct State {
        var standing: PeerStanding
        var held = 0
        /// Held by the standing that it was reserved for: after a change some belongs to the former one.
        var owed: [PeerStanding: Int] = [:]
        var hasWideBuffers = false
    }

    /// What the buffers of a socket take that may be read and written in large pieces, in bytes.
    package static let wideBuffers = 384 << 10

    /// Bytes that one thing kept costs beside its own.
    package static let overhead = 128

    private let budget: MemoryBudget
    private let state: NIOLockedValueBox<State>

    package init(budget: MemoryBudget, standing: PeerStanding = .unproven) {
        self.budget = budget
        state = NIOLockedValueBox(State(standing: standing))
        widen()
    }

    deinit {
        for (standing, count) in state.withLockedValue({ $0.owed }) { budget.release(count, for: standing) }
    }

    /// The standing of the connection's peer.
    package var standing: PeerStanding { state.withLockedValue { $0.standing } }

    /// What the peer may hold.
    package var limits: StandingLimits { .of(standing) }

    /// Whether the connection's socket may have large buffers: its peer is proven, and there was memory for them.
    package var hasWideBuffers: Bool { state.withLockedValue { $0.hasWideBuffers } }

    /// Bytes held now.
    package var held: Int { state.withLockedValue { $0.held } }

    /// Takes `count` bytes; false when neither the connection nor its standing has so many left.
    package func reserve(_ count: Int) -> Bool {
        state.withLockedValue { state in
            let limit = StandingLimits.of(state.standing).memoryBytes
            guard count <= limit - state.held, budget.reserve(count, for: state.standing) else {
                return false
            }
            state.held += count
            state.owed[state.standing, default: 0] += count
            return true
        }
    }

    /// Gives `count` bytes back.
    package func release(_ count: Int) {
        guard count > 0 else { return }
        state.withLockedValue { state in
            var rest = min(count, state.held)
            state.held -= rest
            for standing in PeerStanding.allCases {
                let part = min(rest, state.owed[standing, default: 0])
                guard part > 0 else { continue }
                state.owed[standing, default: 0] -= part
                rest -= part
                budget.release(part, for: standing)
            }
        }
    }

    /// The peer has another standing from now on. What it holds moves along where there is room; the rest
    /// stays on the former account until it is given back.
    package func setStanding(_ standing: PeerStanding) {
        state.withLockedValue { state in
            state.standing = standing
            for former in PeerStanding.allCases where former != standing {
                let count = state.owed[former, default: 0]
                guard count > 0, budget.reserve(count, for: standing) else { continue }
                budget.release(count, for: former)
                state.owed[former] = nil
                state.owed[standing, default: 0] += count
            }
        }
        widen()
    }

    /// Takes what large buffers need, or gives it back. Without it the connection works on with small ones.
    private func widen() {
        let isTooWide = state.withLockedValue { state in
            guard state.standing > .unproven else { return state.hasWideBuffers }
            guard !state.hasWideBuffers, budget.reserveSpare(Self.wideBuffers, for: state.standing) else {
                return false
            }
            state.hasWideBuffers = true
            state.held += Self.wideBuffers
            state.owed[state.standing, default: 0] += Self.wideBuffers
            return false
        }
        guard isTooWide else { return }
        state.withLockedValue { $0.hasWideBuffers = false }
        release(Self.wideBuffers)
    }
}

/// Bytes of one thing on a connection's account, such as a frame that is not complete: exact to a page.
package struct MemoryHold {
    private static let page = 4096

    private let memory: ConnectionMemory?
    private var reserved = 0

    /// - Parameter memory: the account; nil for no bound.
    package init(_ memory: ConnectionMemory?) {
        self.memory = memory
    }

    /// Holds `count` bytes from now on instead of what was held; false when there is no room for more, and what
    /// was held stays.
    package mutating func set(_ count: Int) -> Bool {
        let wanted = count > 0 ? (count - 1) / Self.page * Self.page + Self.page : 0
        if wanted > reserved {
            guard memory?.reserve(wanted - reserved) ?? true else { return false }
        } else {
            memory?.release(reserved - wanted)
        }
        reserved = wanted
        return true
    }
}

/// Bytes of one owner on a connection's account, taken in steps: most changes touch a number only. Its owner
/// lives on one loop.
package struct MemoryTally {
    /// The least that is taken at once.
    private static let step = 16 << 10

    private let memory: ConnectionMemory?
    private var held = 0
    private var reserved = 0

    /// - Parameter memory: the account; nil for no bound.
    package init(_ memory: ConnectionMemory?) {
        self.memory = memory
    }

    /// Bytes held now.
    package var count: Int { held }

    /// Takes `count` bytes; false when there is no room, and nothing is taken.
    package mutating func add(_ count: Int) -> Bool {
        let wanted = held + count
        if wanted > reserved {
            let missing = max(wanted - reserved, Self.step)
            if memory?.reserve(missing) ?? true {
                reserved += missing
            } else {
                guard wanted - reserved < missing, memory?.reserve(wanted - reserved) ?? true else {
                    return false
                }
                reserved = wanted
            }
        }
        held = wanted
        return true
    }

    /// Gives `count` bytes back. A step of them stays reserved for what comes next.
    package mutating func remove(_ count: Int) {
        held -= min(count, held)
        let spare = reserved - held
        guard spare > 4 * Self.step else { return }
        memory?.release(spare - Self.step)
        reserved = held + Self.step
    }

    /// Gives everything back: its owner is gone.
    package mutating func end() {
        memory?.release(reserved)
        held = 0
        reserved = 0
    }
}
