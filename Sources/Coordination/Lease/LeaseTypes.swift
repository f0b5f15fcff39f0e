package import LibP2P

/// What at most one server has at a time.
package enum LeaseResource: UInt8, Hashable, Sendable, CaseIterable {
    /// The address that always leads to a server.
    case api = 1
    /// The right to restart a K3s that works.
    case restart = 2

    /// For how long a holder believes a grant, counted from when it sent the request for it.
    package var lease: Duration {
        switch self {
        case .api: .milliseconds(3500)
        // The agent may end while K3s comes up again: nobody else restarts meanwhile.
        case .restart: .seconds(60)
        }
    }

    /// For how long a grantor grants nobody else what it granted, counted from when the request came.
    ///
    /// Half as long again as the belief: clocks that differ in speed by less than a third make no two
    /// holders, and a request that is late only makes the grant end later.
    package var hold: Duration { Self.hold(of: lease) }

    static func hold(of lease: Duration) -> Duration { lease * 3 / 2 }

    /// How often a holder renews.
    package var renewal: Duration {
        switch self {
        case .api: .milliseconds(1200)
        case .restart: .seconds(15)
        }
    }

    /// A candidate asks for this much only, so that a failed attempt blocks nobody for long.
    static let trial = Duration.seconds(2)
    /// How long a candidate waits for answers.
    static let patience = Duration.milliseconds(700)
    /// What the n-th server waits longer than the one before it, so that one of them asks first.
    static let stagger = Duration.milliseconds(150)
    /// How long a server asks for nothing after its lease ran out without an answer: others that can
    /// make themselves heard go first.
    static let retreat = Duration.seconds(10)
    /// For how long one server may keep the right to restart.
    package static let longestRestart = Duration.seconds(300)
}

/// The servers of the newest decree that this node knows, once that decree says that the cluster runs.
package struct LeaseServers: Hashable, Sendable {
    /// The decree's number; rises with every decree.
    package let number: UInt64
    package let epoch: UInt64
    /// The servers, the founder first.
    package let members: [PeerID]
    /// Whether this node neither asks nor grants for now. It still follows who holds what, so that it takes part again
    /// with the terms that were told meanwhile.
    package let keepsStill: Bool

    /// The most servers that are considered; K3s' own limit is far below.
    package static let mostMembers = 64

    package init(number: UInt64, epoch: UInt64, members: [PeerID], keepsStill: Bool = false) {
        self.keepsStill = keepsStill
        self.number = number
        self.epoch = epoch
        var seen: Set<PeerID> = []
        self.members = Array(members.filter { seen.insert($0).inserted }.prefix(Self.mostMembers))
    }

    /// How many of the members are a majority.
    package var majority: Int { members.count / 2 + 1 }
}

/// Why a server lost, or gave up, what it held.
package enum LeaseLoss: Hashable, Sendable {
    /// Too few servers renewed it in time.
    case expired
    /// Its own K3s is not healthy, or it no longer wants to restart.
    case unfit
    /// It is no server any more.
    case notAServer
    /// It had the right to restart for as long as it may.
    case overdue
    case stopped
}
