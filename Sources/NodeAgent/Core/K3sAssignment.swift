package import Coordination
package import VPN

/// What this node's K3s is to be: everything that its configuration follows from, once all of it is
/// known.
package struct K3sAssignment: Hashable, Sendable {
    package let role: NodeRole
    /// The founding that the role stands on.
    package let epoch: UInt64
    /// The address of this node that Kubernetes uses.
    package let address: VirtualAddress
    /// The interface that holds it outside the VPN; nil when it is on the VPN's.
    package let hostInterface: String?
    /// The address that always leads to a server; part of every server's certificate.
    package let apiAddress: VirtualAddress?
    /// Where to join. On the founder nil until another server is ready; then what it joins, instead of
    /// founding anew, should it lose its data (contract/k3s.md §11.1).
    package let joinURL: String?
    /// The join token.
    package let token: String
    package let highAvailability: Bool
    /// Whether this server goes as soon as it is out of etcd.
    package var isDeparting = false

    package init(
        role: NodeRole, epoch: UInt64, address: VirtualAddress, hostInterface: String? = nil,
        apiAddress: VirtualAddress?, joinURL: String?, token: String, highAvailability: Bool
    ) {
        self.role = role
        self.epoch = epoch
        self.address = address
        self.hostInterface = hostInterface
        self.apiAddress = apiAddress
        self.joinURL = joinURL
        self.token = token
        self.highAvailability = highAvailability
    }
}
