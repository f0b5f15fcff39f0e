package import Ledger
package import LibP2P
package import Timing

/// What the mesh knows of itself, for `status`.
package struct MeshStatus: Sendable {
    package let localPeer: PeerID
    /// Every connected peer, sorted by ID.
    package let members: [Member]
    /// The admitted peers that are here: connected, or reached through others.
    package let present: Set<PeerID>
    /// Members that were here within the hour.
    package let departed: [Member]
    /// Why peers could not be reached at the last attempt.
    package let dialFailures: [PeerID: String]
    package let admission: Admission.Counters
    package let replication: Replication.Counters
    package let overlay: Overlay.Counters
    package let room: RoomStatus
    package let ledger: LedgerStatus
    /// Monotonic time of this reading, to compare with the members' instants.
    package let readAt: Instant

    /// The room's traffic.
    package struct RoomStatus: Hashable, Sendable {
        package let published: Int
        /// Messages that held a block.
        package let opened: Int
        /// Messages that did not open: another network, a clock that is wrong, or damage.
        package let unopened: Int
        package let rotations: Int
        /// Stock nodes in the room.
        package let stockPeers: Int
    }

    /// The ledger and its file.
    package struct LedgerStatus: Hashable, Sendable {
        package let usage: LedgerUsage
        package let limits: LedgerLimits
        package let hasUnsavedChanges: Bool
        /// Why the last attempt to store the ledger failed; nil when it did not.
        package let snapshotError: SnapshotError?
        /// A stored file that could not be used at start.
        package let setAside: SetAsideSnapshot?
    }
}

/// News of the mesh, in order.
package enum MeshEvent: Sendable {
    /// Entries changed, by this node's writes or others'. The first one holds what was restored from
    /// disk, and for an observer added later everything that is held.
    case ledgerChanged([EntryChange])
    /// A member came or went. A new observer is told of those that are here.
    case membership(Membership.Event)
    /// The admitted peers that are here, connected or reached through others, and whether another node's
    /// ledger has been merged since the start.
    case members(present: Set<PeerID>, roomAnswered: Bool)
    /// Whether stock nodes are in the room.
    case stockPeers(Bool)
    /// Another node's validly signed entry in `machines` was rejected: two nodes want one address.
    case rejected(EntryID, Entry, RejectionReason)
    /// A local write was refused; the caller's future failed with the same error.
    case writeRefused(Replication.Write, LedgerError)
    /// The ledger could not be stored; it will be tried again.
    case snapshotFailed(SnapshotError)
}
