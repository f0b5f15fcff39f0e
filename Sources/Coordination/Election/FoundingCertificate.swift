/// Proof that a quorum accepted one founder at one ballot. Every role is obeyed only with it.
package struct FoundingCertificate: Hashable, Sendable {
    package let scope: ElectionScope
    package let ballot: Ballot
    package let value: FoundingValue
    /// The accepts, one a member, ordered by acceptor.
    package let accepts: [SignedAccept]

    /// Assembles a certificate from `accepts`; nil when they do not prove the decision: fewer than
    /// the quorum of distinct members, another ballot or value among them, or a wrong signature.
    package init?(scope: ElectionScope, ballot: Ballot, value: FoundingValue, accepts: [SignedAccept]) {
        // More accepts than this cannot come from one real decision; refuse the work of checking.
        guard scope.quorum >= 1, scope.quorum <= accepts.count, accepts.count <= Self.mostAccepts else {
            return nil
        }
        guard Set(accepts.map(\.acceptor)).count == accepts.count else { return nil }
        for accept in accepts {
            guard accept.ballot == ballot, accept.value == value, accept.isValid(in: scope) else {
                return nil
            }
        }
        self.scope = scope
        self.ballot = ballot
        self.value = value
        self.accepts = accepts.sorted { $0.acceptor < $1.acceptor }
    }

    /// The largest number of accepts a certificate may carry.
    package static let mostAccepts = 1024
}
