package import LibP2P

/// A member's election register: one ledger entry that only it writes, and that all others read.
/// It holds the member's promises and accepts as an acceptor and, while it drives an attempt, its
/// proposal. The registers together are the messages of Paxos, one decree at a time.
package struct ElectionRegister: Hashable, Sendable {
    /// An attempt that the register's owner drives: a prepare request while `decree` is nil, an
    /// accept request once the promises of enough members have fixed the decree.
    package struct Drive: Hashable, Sendable {
        package let ballot: Ballot
        package let decree: Decree?
        /// The nodes that decide, where the voters were lost and operators have said so; else nil.
        package let recovered: [PeerID]?

        package init(ballot: Ballot, decree: Decree?, recovered: [PeerID]? = nil) {
            self.ballot = ballot
            self.decree = decree
            self.recovered = recovered
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
    /// Whether the owner would accept another founding: it has missed the founder before its cluster ran, or all
    /// servers for long, or its operator has said so.
    package var missesFounder: Bool
    /// Whether the owner was told to leave the cluster, or was forgotten and has yet to be taken out of etcd,
    /// so that it is not called back.
    package var hasLeft: Bool
    /// Whether an operator has told the owner that the voters of the open decree are lost.
    package var recovers: Bool
    /// Whether it was written by a former build, whose votes are about other statements: only the card counts.
    package let isFormer: Bool

    package init(
        scope: ElectionScope, card: MemberCard, number: UInt64 = 1, promised: Ballot? = nil,
        accepted: SignedAccept? = nil, drive: Drive? = nil, missesFounder: Bool = false,
        hasLeft: Bool = false,
        recovers: Bool = false, isFormer: Bool = false
    ) {
        self.scope = scope
        self.card = card
        self.number = number
        self.promised = promised
        self.accepted = accepted
        self.drive = drive
        self.missesFounder = missesFounder
        self.hasLeft = hasLeft
        self.recovers = recovers
        self.isFormer = isFormer
    }

    /// The highest round that the register names.
    var highestRound: UInt64 {
        max(promised?.round ?? 0, drive?.ballot.round ?? 0, accepted?.ballot.round ?? 0)
    }
}
