/// The network whose decrees are decided, as the signed statements name it.
package struct ElectionScope: Hashable, Sendable {
    /// Names the network: a digest of the network token and `p2p.network_id`, so that a statement of
    /// one network proves nothing in another.
    package let network: String
    /// How many members decide: `p2p.minimum_nodes`, a constant of the network.
    package let quorum: Int

    package init(network: String, quorum: Int) {
        self.network = network
        self.quorum = quorum
    }
}
