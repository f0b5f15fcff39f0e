package import Ledger
package import LibP2P

extension Replication {
    /// A change that this node makes.
    package enum Write: Hashable, Sendable {
        /// Writes a value, with a version over `above`: that of an entry elsewhere that has to be
        /// outdone.
        case put(EntryID, value: LedgerText, above: UInt64 = 0)
        case delete(EntryID)
        /// Publishes a tombstone over this node's own entry of `version`, which others hold and this
        /// ledger does not, and stores nothing (`Ledger.retraction`).
        case retract(EntryID, version: UInt64)

        package var id: EntryID {
            switch self {
            case .put(let id, _, _): id
            case .delete(let id): id
            case .retract(let id, _): id
            }
        }

        var isAddress: Bool {
            if case .put(let id, _, _) = self { return id.bucket == .machines }
            return false
        }
    }

    package enum Input: Sendable {
        /// Local changes, published together. `durable` ones are on disk soon, not within a second.
        case write([Write], durable: Bool)
        /// A block from the room, by its author.
        case roomBlock(Block, author: PeerID)
        case peerAdmitted(PeerID)
        case peerLeft(PeerID)
        /// A frame of an admitted peer, without its length.
        case frame(PeerID, [UInt8])
        /// Which of our own nodes are here: admitted and connected, or reached through others.
        case present(Set<PeerID>)
        /// How many stock nodes are in the room now.
        case stockPeers(Int)
        /// The write that `Effect.persist` asked for ended.
        case persisted(succeeded: Bool)
        /// Write what is unsaved at once.
        case flush
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Seal and publish in the room.
        case publish(Block)
        /// Send a frame to an admitted peer.
        case send(PeerID, [UInt8])
        /// Entries changed, here or elsewhere.
        case changed([EntryChange])
        /// Store this block as the snapshot; answered by `Input.persisted`.
        case persist(Block)
        /// A local write was refused; the others of its batch were made.
        case refused(Write, LedgerError)
        /// A validly signed entry of another node in `machines` was rejected: two nodes want one
        /// address.
        case rejected(EntryID, Entry, RejectionReason)
        /// For the first time since the start, this node knows what another one knows.
        case caughtUp
    }

    package struct Configuration: Hashable, Sendable {
        package var ledger = Ledger.Configuration()
        /// Renew the heartbeat without an entry in `machines` too: with the VPN switched off.
        package var beatsWithoutAddress = false
        /// The heartbeat's period while stock nodes are in the room, and while one is known by its own
        /// heartbeat alone.
        package var stockHeartbeat = Duration.seconds(120)
        package var distantHeartbeat = Duration.seconds(360)
        /// The longest mean wait between whole blocks while stock nodes are in the room.
        package var broadcastInterval = Duration.seconds(10)
        /// How often the leader tombstones what expired.
        package var reapInterval = Duration.seconds(600)

        package init() {}
    }

    /// What happened so far, for `status`.
    package struct Counters: Hashable, Sendable {
        package var deltasPublished = 0
        package var blocksPublished = 0
        package var blocksReceived = 0
        package var framesSent = 0
        package var frameBytesSent = 0
        package var framesReceived = 0
        package var badFrames = 0
        package var rateLimited = 0
        package var entriesAccepted = 0
        package var entriesRejected = 0
    }
}
