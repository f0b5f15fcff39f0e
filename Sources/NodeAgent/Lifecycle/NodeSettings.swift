package import CloudConfig
package import Coordination
package import K3s
package import LibP2P
package import MeshNetwork
package import Multiformats
package import VPN

/// What a run is made of, worked out of the cloud-config: every value checked and of its type.
package struct NodeSettings: Sendable {
    package let token: NetworkToken
    package let networkID: String
    package let quorum: Int
    package let forcedRole: ForcedRole?
    package let highAvailability: Bool
    package let additionalServers: Int
    /// How long a server may be away until another takes its place; nil: for ever.
    package let replacesServersAfter: Duration?
    /// How long any node may be away until its role is freed; nil: for ever.
    package let freesRolesAfter: Duration?
    package let runsK3s: Bool
    /// What the cloud-config asks for by hand where no roles are elected.
    package let givenCommand: K3sCommand?
    /// What carries the servers' address where Kubernetes does not use the VPN.
    package let kubeVIP: KubeVIP?
    package let claim: AddressClaim.Configuration
    package let interface: String
    package let mtu: UInt16
    package let carriesKubernetes: Bool
    /// Which of the node's addresses the cluster uses.
    package let addressing: NodeAddressing
    /// Which interface's address outside the VPN is the node's; nil: that of the default route.
    package let hostInterface: String?
    package let multicastDNS: Bool
    package let listenAddresses: [Multiaddr]
    package let bootstrapPeers: [(peer: PeerID, address: Multiaddr)]
    package let userSettings: UserSettings
    package let externalDatastore: String?
    package let fixedToken: String?
    /// Whether the administrator's kubeconfig is in the ledger, for stock tools.
    package let publishesKubeconfig: Bool
    /// What the cloud-config asks for and this version does not do, as warnings.
    package let unused: [String]

    /// Works the settings out.
    ///
    /// Throws `AgentFailure` with the exit code for what does not fit together.
    package init(_ configuration: NodeConfiguration) throws(AgentFailure) {
        guard let p2p = configuration.p2p, let token = p2p.networkToken else {
            throw AgentFailure(
                "no p2p.network_token in the cloud-config: make one with `kairos-agent p2p token generate` and put"
                    + " the same one on every node", exitCode: AgentFailure.Code.configuration)
        }
        self.token = token
        unused = Self.unused(p2p, configuration)
        networkID = p2p.networkID
        quorum = p2p.requiredNodes
        forcedRole = p2p.role.map { $0 == .master ? .master : .worker }
        highAvailability = p2p.isHighlyAvailable
        additionalServers = p2p.additionalServers
        replacesServersAfter = p2p.isHighlyAvailable ? p2p.replaceServersAfter : nil
        // For how long stock tools believe an advertisement (contract/kairos.md §4.2).
        freesRolesAfter = p2p.dynamicRoles ? .seconds(900) : nil
        runsK3s = p2p.electsRoles
        givenCommand = p2p.electsRoles ? nil : configuration.givenCommand
        kubeVIP = p2p.vpn.carriesKubernetes ? nil : configuration.kubeVIP.deployment(of: configuration)
        interface = p2p.vpn.interfaceName
        mtu = p2p.vpn.mtu.flatMap(UInt16.init(exactly:)) ?? TunDevice.standardMTU
        carriesKubernetes = p2p.vpn.carriesKubernetes
        addressing = p2p.vpn.carriesKubernetes ? .vpn : p2p.vpn.createsInterface ? .besideVPN : .host
        hostInterface = configuration.kubeVIP.interface
        multicastDNS = p2p.vpn.multicastDNS
        publishesKubeconfig = p2p.publishesKubeconfig
        externalDatastore = p2p.externalDatabase?.revealed
        do throws(AddressError) {
            claim = try Self.claim(of: p2p)
        } catch {
            throw AgentFailure(
                "p2p.vpn.address: \(error.description); \(error.remedy)",
                exitCode: AgentFailure.Code.configuration)
        }
        listenAddresses = try p2p.vpn.listenAddresses.map { text throws(AgentFailure) -> Multiaddr in
            try Self.address(text, key: "EDGEVPNLISTENMADDRS")
        }
        bootstrapPeers = try (p2p.bootstrapPeers + p2p.vpn.bootstrapPeers).map {
            text throws(AgentFailure) -> (peer: PeerID, address: Multiaddr) in
            let address = try Self.address(text, key: "p2p.bootstrap_peers")
            guard let bytes = address.peerIDBytes, let peer = try? PeerID(bytes: bytes) else {
                throw AgentFailure(
                    "p2p.bootstrap_peers: \(text) does not end in /p2p/<peer ID>",
                    exitCode: AgentFailure.Code.configuration)
            }
            return (peer, try Self.dialable(address, text: text))
        }
        userSettings = UserSettings(
            server: Self.block(configuration.k3s), agent: Self.block(configuration.k3sAgent))
        do throws(K3sConfigurationError) {
            fixedToken = try userSettings.clusterToken()?.secret
        } catch {
            throw AgentFailure("k3s: \(error)", exitCode: AgentFailure.Code.configuration)
        }
    }

    /// The address of the VPN that always leads to a server; nil without a VPN.
    var apiAddress: VirtualAddress? { addressing.hasVPN ? claim.apiAddress : nil }

    /// What always leads to a server, for those who are no nodes; nil where nothing does.
    var serverName: String? { kubeVIP?.address ?? apiAddress?.description }

    /// What of it may change while the node runs, as far as decisions depend on it.
    var live: NodeCore.LiveSettings {
        NodeCore.LiveSettings(
            forcedRole: forcedRole, quorum: quorum, highAvailability: highAvailability,
            additionalServers: additionalServers, replacesServersAfter: replacesServersAfter,
            freesRolesAfter: freesRolesAfter)
    }

    private static func claim(of p2p: P2PConfiguration) throws(AddressError) -> AddressClaim.Configuration {
        let network: IPv4Interface
        var fixed: VirtualAddress?
        switch p2p.vpn.addressing {
        case .automatic(let given):
            network = given
        case .fixed(let given):
            network = given
            fixed = VirtualAddress(rawValue: given.address)
        }
        let subnet = try VirtualSubnet(
            containing: VirtualAddress(rawValue: network.address), prefixLength: Int(network.prefixLength))
        let apiAddress = p2p.vpn.apiAddress.map(VirtualAddress.init(rawValue:)) ?? subnet.standardAPIAddress
        return AddressClaim.Configuration(
            subnet: subnet, fixedAddress: fixed, apiAddress: .some(apiAddress),
            minimumNodes: p2p.requiredNodes)
    }

    private static func address(_ text: String, key: String) throws(AgentFailure) -> Multiaddr {
        do { return try Multiaddr(text) } catch {
            throw AgentFailure(
                "\(key): \(text) is no multiaddr: \(error)", exitCode: AgentFailure.Code.configuration)
        }
    }

    private static func unused(_ p2p: P2PConfiguration, _ configuration: NodeConfiguration) -> [String] {
        var unused: [String] = []
        if !p2p.disableDHT, p2p.vpn.dht {
            unused.append(
                "p2p.disable_dht is false, but nodes are found by multicast and p2p.bootstrap_peers only: set it to true"
            )
        }
        if p2p.replaceServersAfter != nil, !p2p.isHighlyAvailable {
            unused.append(
                "p2p.auto.ha.replace_after has no effect: the cluster has one server, which nobody can replace; set"
                    + " p2p.auto.ha.master_nodes")
        }
        if !p2p.vpn.createsInterface {
            if p2p.vpn.apiAddress != nil {
                unused.append(
                    "p2p.vpn.api_address has no effect without a VPN: set kubevip.eip, or p2p.vpn.create to true"
                )
            }
            if p2p.isHighlyAvailable, configuration.kubeVIP.deployment(of: configuration) == nil {
                unused.append(
                    "without a VPN and without kubevip.eip no address moves between the servers: nodes join the first"
                        + " server's own; set kubevip.eip to an address of the servers' network")
            }
        }
        if p2p.dns { unused.append("p2p.dns has no effect: there is no DNS server in this version") }
        if configuration.kubeVIP.isEnabled, p2p.vpn.carriesKubernetes {
            unused.append(
                "kubevip has no effect while Kubernetes uses the VPN, which has an API address of its own: remove"
                    + " the block, or set p2p.vpn.use to false")
        } else {
            unused += configuration.kubeVIP.shortfalls(of: configuration)
        }
        if configuration.k0s.isEnabled || configuration.k0sWorker.isEnabled {
            unused.append("k0s has no effect: this agent runs K3s")
        }
        return unused
    }

    private static func dialable(_ address: Multiaddr, text: String) throws(AgentFailure) -> Multiaddr {
        guard let dialable = address.withoutPeerID else {
            throw AgentFailure(
                "p2p.bootstrap_peers: \(text) has no address before /p2p",
                exitCode: AgentFailure.Code.configuration)
        }
        return dialable
    }

    static func block(_ block: KubernetesConfiguration) -> UserSettings.Block {
        UserSettings.Block(
            arguments: block.arguments, environment: block.environment.revealed,
            replacesArguments: block.replacesArguments, replacesEnvironment: block.replacesEnvironment,
            embeddedRegistry: block.embeddedRegistry)
    }
}
