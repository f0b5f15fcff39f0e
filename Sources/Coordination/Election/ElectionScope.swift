/// The network whose decrees are decided, and by how many the first.
package struct ElectionScope: Hashable, Sendable {
    /// Names the network: a digest of the network token and `p2p.network_id`, so that a statement of
    /// one network proves nothing in another.
    package let network: String
    /// How many members decide the founding: `p2p.minimum_nodes`. Later decrees are decided by voters.
    package let quorum: Int

    package init(network: String, quorum: Int) {
        self.network = network
        self.quorum = quorum
    }
}
