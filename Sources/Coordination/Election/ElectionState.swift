package import LibP2P

/// What an acceptor must never forget: written to disk, and synced, before any register that says
/// the same is published.
package struct ElectionState: Hashable, Sendable {
    package let scope: ElectionScope
    /// Whose promises these are. A state of another peer (a copied disk) is not obeyed.
    package let owner: PeerID
    package var promised: Ballot?
    package var accepted: SignedAccept?
    /// The highest round this node has driven; a restarted proposer goes above it, so it never
    /// proposes two values at one ballot.
    package var highestDrivenRound: UInt64
    /// The decision, once known.
    package var certificate: FoundingCertificate?

    package init(
        scope: ElectionScope, owner: PeerID, promised: Ballot? = nil, accepted: SignedAccept? = nil,
        highestDrivenRound: UInt64 = 0, certificate: FoundingCertificate? = nil
    ) {
        self.scope = scope
        self.owner = owner
        self.promised = promised
        self.accepted = accepted
        self.highestDrivenRound = highestDrivenRound
        self.certificate = certificate
    }
}
