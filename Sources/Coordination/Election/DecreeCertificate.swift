/// Proof that a quorum accepted one decree at one ballot. Every role is obeyed only with it.
package struct DecreeCertificate: Hashable, Sendable {
    package let scope: ElectionScope
    package let ballot: Ballot
    package let decree: Decree
    /// The accepts, one a member, ordered by acceptor.
    package let accepts: [SignedAccept]

    /// Assembles a certificate from `accepts`; nil when they do not prove the decision: fewer than
    /// the quorum of distinct members, another ballot or decree among them, or a wrong signature.
    package init?(scope: ElectionScope, ballot: Ballot, decree: Decree, accepts: [SignedAccept]) {
        // More accepts than this cannot come from one real decision; refuse the work of checking.
        guard scope.quorum >= 1, scope.quorum <= accepts.count, accepts.count <= Self.mostAccepts,
            decree.isWellFormed, decree.number > 1 || decree.quorum == scope.quorum
        else { return nil }
        guard Set(accepts.map(\.acceptor)).count == accepts.count else { return nil }
        for accept in accepts {
            guard accept.ballot == ballot, accept.decree == decree, accept.isValid(in: scope) else {
                return nil
            }
        }
        self.scope = scope
        self.ballot = ballot
        self.decree = decree
        self.accepts = accepts.sorted { $0.acceptor < $1.acceptor }
    }

    /// The largest number of accepts a certificate may carry.
    package static let mostAccepts = 1024
}
