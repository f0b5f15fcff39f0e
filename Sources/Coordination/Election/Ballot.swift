package import LibP2P

/// The number of one attempt to decide: higher beats lower, and no two proposers share one because
/// the proposer's peer ID is part of it.
package struct Ballot: Hashable, Comparable, Sendable {
    /// Counts the attempts, from 1.
    package let round: UInt64
    /// Who drives the attempt.
    package let proposer: PeerID

    package init(round: UInt64, proposer: PeerID) {
        self.round = round
        self.proposer = proposer
    }

    package static func < (left: Ballot, right: Ballot) -> Bool {
        if left.round != right.round { return left.round < right.round }
        return left.proposer < right.proposer
    }
}
