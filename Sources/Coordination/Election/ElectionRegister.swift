/// A member's election register: one ledger entry that only it writes, and that all others read.
/// It holds the member's promises and accepts as an acceptor and, while it drives an attempt, its
/// proposal. The registers together are the messages of single-decree Paxos.
package struct ElectionRegister: Hashable, Sendable {
    /// An attempt that the register's owner drives: a prepare request while `value` is nil, an
    /// accept request once the promises of a quorum have fixed the value.
    package struct Drive: Hashable, Sendable {
        package let ballot: Ballot
        package let value: FoundingValue?

        package init(ballot: Ballot, value: FoundingValue?) {
            self.ballot = ballot
            self.value = value
        }
    }

    package let scope: ElectionScope
    package let card: MemberCard
    /// The highest ballot that the owner has promised to hear; it answers nothing lower.
    package var promised: Ballot?
    /// The owner's latest accept.
    package var accepted: SignedAccept?
    package var drive: Drive?

    package init(
        scope: ElectionScope, card: MemberCard, promised: Ballot? = nil, accepted: SignedAccept? = nil,
        drive: Drive? = nil
    ) {
        self.scope = scope
        self.card = card
        self.promised = promised
        self.accepted = accepted
        self.drive = drive
    }
}
