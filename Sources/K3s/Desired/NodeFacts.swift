/// What the rest of the node knows and K3s must be told.
package struct NodeFacts: Hashable, Sendable {
    /// The network that carries the cluster: an address and the interface that holds it, always both
    /// (contract/k3s.md §3.2).
    package struct Network: Hashable, Sendable {
        /// The node's address.
        package var address: NodeAddress
        /// The interface that holds it.
        package var interface: String

        package init(address: NodeAddress, interface: String) {
            self.address = address
            self.interface = interface
        }
    }

    /// The node's name in the cluster.
    package var name: NodeName
    /// The network that Kubernetes uses; nil leaves the choice to K3s (`p2p.vpn.use: false`).
    package var network: Network?
    /// The address that moves between servers, for their certificates.
    package var apiAddress: NodeAddress?
    /// Further names for the servers' certificates.
    package var certificateNames: [String]

    package init(
        name: NodeName, network: Network?, apiAddress: NodeAddress? = nil, certificateNames: [String] = []
    ) {
        self.name = name
        self.network = network
        self.apiAddress = apiAddress
        self.certificateNames = certificateNames
    }
}
