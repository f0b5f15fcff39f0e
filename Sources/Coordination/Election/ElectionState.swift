package import LibP2P

/// What an acceptor must never forget: written to disk, and synced, before any register that says
/// the same is published.
package struct ElectionState: Hashable, Sendable {
    package let scope: ElectionScope
    /// Whose promises these are. A state of another peer (a copied disk) is not obeyed.
    package let owner: PeerID
    /// The highest promise for the decree of `number`.
    package var promised: Ballot?
    /// The latest accept of a decree of `number`.
    package var accepted: SignedAccept?
    /// The highest round this node has driven for `number`; a restarted proposer goes above it, so it
    /// never proposes two decrees at one ballot.
    package var highestDrivenRound: UInt64
    /// Whether this node was told to leave the cluster.
    package var hasLeft: Bool
    /// Whether an operator has said that the voters of the open decree are lost: from then on this node answers
    /// none of them for its number.
    package var recovers: Bool
    /// The newest decree that is known to be decided.
    package private(set) var certificate: DecreeCertificate?

    package init(
        scope: ElectionScope, owner: PeerID, promised: Ballot? = nil, accepted: SignedAccept? = nil,
        highestDrivenRound: UInt64 = 0, certificate: DecreeCertificate? = nil, hasLeft: Bool = false,
        recovers: Bool = false
    ) {
        self.scope = scope
        self.owner = owner
        self.promised = promised
        self.accepted = accepted
        self.highestDrivenRound = highestDrivenRound
        self.certificate = certificate
        self.hasLeft = hasLeft
        self.recovers = recovers
    }

    /// The number of the decree that is open: the one after the newest that is decided.
    package var number: UInt64 { (certificate?.decree.number ?? 0) + 1 }

    /// The newest decree is decided. Promises for it have done their duty: whoever knows the decision
    /// answers no attempt at its number any more.
    package mutating func advance(to certificate: DecreeCertificate) {
        self.certificate = certificate
        promised = nil
        accepted = nil
        highestDrivenRound = 0
        recovers = false
    }
}
