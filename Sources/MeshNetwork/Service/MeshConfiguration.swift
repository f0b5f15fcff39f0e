package import GossipSub
internal import Ledger
package import LibP2P

/// What a mesh is made with.
package struct MeshConfiguration: Sendable {
    package let token: NetworkToken
    package let identity: Identity
    /// The file that holds the ledger between runs, in a folder that exists; nil to keep it in memory.
    package var snapshotPath: String?
    package var replication = Replication.Configuration()
    package var overlay = Overlay.Configuration()
    /// The gossip router's settings; the size of messages is the token's.
    package var gossip = Parameters()
    /// Seeds jitter and the choice of peers.
    package var seed: UInt64 = .random(in: .min ... .max)

    package init(token: NetworkToken, identity: Identity, snapshotPath: String? = nil) {
        self.token = token
        self.identity = identity
        self.snapshotPath = snapshotPath
    }

    /// Where the ledger is stored.
    var snapshotStore: SnapshotStore<SystemFiles>? {
        snapshotPath.map { SnapshotStore(path: $0, tag: token.tag, files: SystemFiles()) }
    }
}
