package import LibP2P

/// What the election decides: who founds the cluster.
package struct FoundingValue: Hashable, Sendable {
    /// The founder's peer ID.
    package let founder: PeerID
    /// The founder's Kairos UUID when it was chosen.
    package let uuid: String

    package init(founder: PeerID, uuid: String) {
        self.founder = founder
        self.uuid = uuid
    }
}

/// The network whose founding is decided, as the signed statements name it.
package struct ElectionScope: Hashable, Sendable {
    /// Names the network: a digest of the network token and `p2p.network_id`, so that a statement of
    /// one network proves nothing in another.
    package let network: String
    /// Counts the foundings of the network, from 1. It rises only by an operator's word or by a
    /// quorum's, when a founder died before anyone joined it.
    package let epoch: UInt64
    /// How many members decide: `p2p.minimum_nodes`, a constant of the network.
    package let quorum: Int

    package init(network: String, epoch: UInt64, quorum: Int) {
        self.network = network
        self.epoch = epoch
        self.quorum = quorum
    }
}
