/// What a connected peer has shown of itself. The layer above says so (`Host.setStanding`); until then, and
/// whenever its last connection is gone, a peer is unproven.
///
/// What a peer may hold here follows from this alone: connections (`SwarmLimits`), streams, frames and
/// memory (`StandingLimits`, `MemoryBudget`), and dials (`DialClass`).
package enum PeerStanding: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    /// It owns its key, which anyone can make. Such peers share a small allowance among them all.
    case unproven
    /// It has shown, over a connection of its own, that it can write in this network.
    case member
    /// It has proven to hold this network's secret, bound to the connection.
    case admitted

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// What one peer of a standing may hold on one connection.
package struct StandingLimits: Hashable, Sendable {
    /// Streams that it may have open at once.
    package var inboundStreams: Int
    /// The longest frame of an application protocol that it may send, in bytes.
    package var frameBytes: Int
    /// Bytes that may wait for it or because of it, of the budget of its standing.
    package var memoryBytes: Int

    package static let unproven = StandingLimits(
        inboundStreams: 8, frameBytes: 64 << 10, memoryBytes: 1 << 20)
    package static let member = StandingLimits(
        inboundStreams: 512, frameBytes: .max, memoryBytes: 24 << 20)
    package static let admitted = StandingLimits(
        inboundStreams: 1024, frameBytes: .max, memoryBytes: 24 << 20)

    /// Those of `standing`.
    package static func of(_ standing: PeerStanding) -> StandingLimits {
        switch standing {
        case .unproven: .unproven
        case .member: .member
        case .admitted: .admitted
        }
    }
}

/// For what reason a peer is dialled, from the least to the most worth a slot.
package enum DialClass: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    /// Somebody who has proven nothing has said that the peer is there.
    case unproven
    /// A record of a proven peer, or a proof of its own, says where the peer is; or it was connected as a
    /// member.
    case recorded
    /// The peer was connected and admitted.
    case proven
    /// The operator has named the peer.
    case pinned

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// How many of `slots` dials this class and those below it may have under way together. The rest is
    /// reserved for those above, so that dead addresses cannot delay the dials of who is worth more.
    package func share(of slots: Int) -> Int {
        switch self {
        case .unproven: max(1, slots / 4)
        case .recorded: max(1, slots / 2)
        case .proven: max(1, slots * 3 / 4)
        case .pinned: slots
        }
    }
}
