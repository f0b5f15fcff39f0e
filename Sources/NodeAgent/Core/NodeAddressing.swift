internal import Coordination
internal import MeshNetwork
package import VPN

/// Which of a node's addresses the cluster uses (contract/kairos.md §1.1, `p2p.vpn`).
package enum NodeAddressing: Hashable, Sendable {
    /// The one on the VPN, for everything.
    case vpn
    /// There is a VPN, by which servers are found and joined, but Kubernetes' own traffic goes by the host's
    /// network (`p2p.vpn.use: false`).
    case besideVPN
    /// There is no VPN: the host's own address, for everything (`p2p.vpn.create: false`).
    case host

    /// Whether the node claims an address of the VPN and brings its device up.
    package var hasVPN: Bool { self != .host }

    /// Whether the host's own address is needed.
    package var needsHostAddress: Bool { self != .vpn }
}

/// The node's address outside the VPN.
package struct HostAddress: Hashable, Sendable {
    package let address: VirtualAddress
    /// The interface that holds it.
    package let interface: String

    package init(address: VirtualAddress, interface: String) {
        self.address = address
        self.interface = interface
    }
}

extension NodeCore {
    /// The address by which other nodes reach this one.
    var reachableAddress: VirtualAddress? {
        configuration.addressing.hasVPN ? claim.address : hostAddress?.address
    }

    /// What Kubernetes is to use, once it can be: the address, and the interface outside the VPN that
    /// holds it.
    var kubernetesAddress: (address: VirtualAddress, hostInterface: String?)? {
        switch configuration.addressing {
        case .vpn:
            guard deviceIsReady, let address = claim.address else { return nil }
            return (address, nil)
        case .besideVPN:
            guard deviceIsReady, let hostAddress else { return nil }
            return (hostAddress.address, hostAddress.interface)
        case .host:
            guard let hostAddress else { return nil }
            return (hostAddress.address, hostAddress.interface)
        }
    }

    /// Where a cluster is joined one of whose servers is `server`: at the address that follows whichever server
    /// works, if there is one. The port is the servers' own.
    func joinURL(through server: JoinFacts) -> String {
        if let name = configuration.serverName {
            return "https://\(name.contains(":") ? "[\(name)]" : name):\(server.port)"
        }
        return configuration.apiAddress.map { "https://\($0):\(server.port)" } ?? server.url
    }

    /// Why there is no address outside the VPN where one is needed.
    var hostAddressObstacle: WaitLog.Obstacle? {
        guard configuration.addressing.needsHostAddress, hostAddress == nil else { return nil }
        return .init(
            step: .address, what: "an IPv4 address of this host outside the VPN",
            remedy:
                "give the interface of the default route an address, or name another one in kubevip.interface"
        )
    }
}
