/// A member's election register: one ledger entry that only it writes, and that all others read.
/// It holds the member's promises and accepts as an acceptor and, while it drives an attempt, its
/// proposal. The registers together are the messages of Paxos, one decree at a time.
package struct ElectionRegister: Hashable, Sendable {
    /// An attempt that the register's owner drives: a prepare request while `decree` is nil, an
    /// accept request once the promises of a quorum have fixed the decree.
    package struct Drive: Hashable, Sendable {
        package let ballot: Ballot
        package let decree: Decree?

        package init(ballot: Ballot, decree: Decree?) {
            self.ballot = ballot
            self.decree = decree
        }
    }

    package let scope: ElectionScope
    package let card: MemberCard
    /// The number of the decree that everything below is about: the first that the owner does not know
    /// to be decided.
    package let number: UInt64
    /// The highest ballot that the owner has promised to hear; it answers nothing lower.
    package var promised: Ballot?
    /// The owner's latest accept.
    package var accepted: SignedAccept?
    package var drive: Drive?
    /// Whether the owner has missed the founder for long, before its cluster ran.
    package var missesFounder: Bool
    /// Whether the owner was told to leave the cluster, or was forgotten and has yet to be taken out of etcd,
    /// so that it is not called back.
    package var hasLeft: Bool

    package init(
        scope: ElectionScope, card: MemberCard, number: UInt64 = 1, promised: Ballot? = nil,
        accepted: SignedAccept? = nil, drive: Drive? = nil, missesFounder: Bool = false, hasLeft: Bool = false
    ) {
        self.scope = scope
        self.card = card
        self.number = number
        self.promised = promised
        self.accepted = accepted
        self.drive = drive
        self.missesFounder = missesFounder
        self.hasLeft = hasLeft
    }
}
