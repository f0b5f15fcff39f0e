/// The ledger as EdgeVPN's API shows it, with what the node knows about its peers.
package struct LedgerView: Hashable, Sendable {
    /// Bucket, key, and the value's JSON text. Deleted entries are left out.
    package var buckets: [String: [String: String]]
    /// This node's peer ID, in base 58.
    package var localPeer: String
    /// The peers in the room, in base 58; without this node.
    package var roomPeers: Set<String>
    /// The peers that are connected, in base 58.
    package var connectedPeers: Set<String>
    /// How many peers there are of which an address is known, this node included.
    package var knownPeerCount: Int
    /// The number of the newest block.
    package var blockIndex: UInt64

    package init(
        buckets: [String: [String: String]], localPeer: String, roomPeers: Set<String> = [],
        connectedPeers: Set<String> = [], knownPeerCount: Int = 1, blockIndex: UInt64 = 0
    ) {
        self.buckets = buckets
        self.localPeer = localPeer
        self.roomPeers = roomPeers
        self.connectedPeers = connectedPeers
        self.knownPeerCount = knownPeerCount
        self.blockIndex = blockIndex
    }
}
