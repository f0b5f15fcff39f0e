package import Coordination
package import VPN

/// What this node's K3s is to be: everything that its configuration follows from, once all of it is
/// known.
package struct K3sAssignment: Hashable, Sendable {
    package let role: NodeRole
    /// The founding that the role stands on.
    package let epoch: UInt64
    /// This node's own virtual address.
    package let address: VirtualAddress
    /// The address that always leads to a server; part of every server's certificate.
    package let apiAddress: VirtualAddress?
    /// Where to join; nil on the founder.
    package let joinURL: String?
    /// The join token.
    package let token: String
    package let highAvailability: Bool
    /// On the founder: whether another server is ready, so that it joins that one, through the API
    /// address, instead of founding anew should it lose its data (contract/k3s.md §11.1).
    package let hasStandby: Bool
    /// Whether this server goes as soon as it is out of etcd.
    package var isDeparting = false

    package init(
        role: NodeRole, epoch: UInt64, address: VirtualAddress, apiAddress: VirtualAddress?, joinURL: String?,
        token: String, highAvailability: Bool, hasStandby: Bool = false
    ) {
        self.role = role
        self.epoch = epoch
        self.address = address
        self.apiAddress = apiAddress
        self.joinURL = joinURL
        self.token = token
        self.highAvailability = highAvailability
        self.hasStandby = hasStandby
    }
}
