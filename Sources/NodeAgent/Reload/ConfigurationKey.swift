internal import CloudConfig
internal import K3s

/// One setting of the cloud-config that this agent knows, and what it takes to change it while the node runs.
struct ConfigurationKey: Sendable {
    /// What a changed value entails.
    enum Use: Hashable, Sendable {
        /// It is applied as it is.
        case live
        /// It is a foundation of the run: the agent ends and is started again.
        case restart
    }

    /// The key's path: `p2p.auto.ha.master_nodes`.
    let path: String
    let use: Use
    /// Whether two configurations differ in it.
    let differs: @Sendable (NodeConfiguration, NodeConfiguration) -> Bool
    /// What changes, secrets masked; nil where nothing of it may be shown.
    let words: (@Sendable (NodeConfiguration, NodeConfiguration) -> String)?

    /// A value that may be shown.
    static func open<Value: Equatable & Sendable>(
        _ path: String, _ use: Use, _ value: @escaping @Sendable (NodeConfiguration) -> Value?
    ) -> ConfigurationKey {
        ConfigurationKey(
            path: path, use: use, differs: { value($0) != value($1) },
            words: { "\(text(value($0))) → \(text(value($1)))" })
    }

    /// A value of which nothing is shown.
    static func secret<Value: Equatable & Sendable>(
        _ path: String, _ use: Use, _ value: @escaping @Sendable (NodeConfiguration) -> Value?
    ) -> ConfigurationKey {
        ConfigurationKey(path: path, use: use, differs: { value($0) != value($1) }, words: nil)
    }

    private static func text<Value>(_ value: Value?) -> String { value.map { "\($0)" } ?? "unset" }

    /// All of them. What is not among them differs by nothing that counts.
    static let all: [ConfigurationKey] =
        foundations + [
            .open("p2p.role", .live) { $0.mesh.role?.rawValue },
            .open("p2p.minimum_nodes", .live) { $0.mesh.requiredNodes },
            .open("p2p.dynamic_roles", .live) { $0.mesh.dynamicRoles },
            .open("p2p.dns", .live) { $0.mesh.dns },
            .open("p2p.disable_dht", .live) { $0.mesh.disableDHT },
            .open("p2p.bootstrap_peers", .live) { $0.mesh.bootstrapPeers },
            .open("p2p.auto.ha.enable", .live) { $0.mesh.highAvailabilityEnable },
            .open("p2p.auto.ha.master_nodes", .live) { $0.mesh.masterNodes },
            .open("p2p.auto.ha.replace_after", .live) { $0.mesh.replaceServersAfter },
            ConfigurationKey(
                path: "p2p.auto.ha.external_db", use: .live,
                differs: { $0.mesh.externalDatabase != $1.mesh.externalDatabase },
                words: {
                    let shown = [$0, $1].map {
                        $0.mesh.externalDatabase.map { SecretMask.dataSource($0.revealed) }
                    }
                    return "\(text(shown[0])) → \(text(shown[1]))"
                }),
            .open("p2p.vpn.env.EDGEVPNDHT", .live) { $0.mesh.vpn.dht },
            .open("p2p.vpn.env.EDGEVPNMAXCONNS", .live) { $0.mesh.vpn.maximumConnections },
            .secret("p2p.vpn.env.APILISTEN", .live) { $0.mesh.vpn.apiListener },
            .open("hostname", .live) { $0.hostname },
            .secret("kubevip.manifest_url", .live) { $0.kubeVIP.manifestURL },
            .open("kubevip.static_pod", .live) { $0.kubeVIP.staticPod },
            .open("kubevip.version", .live) { $0.kubeVIP.version },
            .open("kubevip.image", .live) { $0.kubeVIP.image },
            .secret("kubevip.config", .live) { $0.kubeVIP.settings },
        ] + block("k3s", { $0.k3s }) + block("k3s-agent", { $0.k3sAgent }) + block("k0s", { $0.k0s })
        + block("k0s-worker", { $0.k0sWorker })

    /// The keys with which the device is another one, or none.
    static let ofDevice: Set<String> = ["p2p.vpn.env.IFACE", "p2p.vpn.create"]

    /// What the mesh, the device and the sockets are made of.
    private static let foundations: [ConfigurationKey] = [
        .secret("p2p.network_token", .restart) { $0.mesh.networkToken },
        .open("p2p.network_id", .restart) { $0.mesh.networkID },
        .open("p2p.auto.enable", .restart) { $0.mesh.autoEnable },
        .open("p2p.loglevel", .restart) {
            $0.positions["p2p.loglevel"] == nil ? nil : $0.mesh.logLevel.rawValue
        },
        .open("p2p.publish_kubeconfig", .restart) { $0.mesh.publishesKubeconfig },
        .open("p2p.vpn.create", .restart) { $0.mesh.vpn.create },
        .open("p2p.vpn.use", .restart) { $0.mesh.vpn.use },
        // Where K3s joins, and which address is the node's, outside the VPN.
        .open("kubevip.enable", .restart) { $0.kubeVIP.enable },
        .open("kubevip.eip", .restart) { $0.kubeVIP.address },
        .open("kubevip.interface", .restart) { $0.kubeVIP.interface },
        .open("p2p.vpn.address", .restart) { $0.mesh.vpn.addressing.words },
        .open("p2p.vpn.api_address", .restart) { $0.mesh.vpn.apiAddress.map(IPv4Interface.text) },
        .open("p2p.vpn.env.IFACE", .restart) { $0.mesh.vpn.interfaceName },
        .open("p2p.vpn.env.EDGEVPNMTU", .restart) { $0.mesh.vpn.mtu },
        .open("p2p.vpn.env.EDGEVPNMDNS", .restart) { $0.mesh.vpn.multicastDNS },
        .open("p2p.vpn.env.EDGEVPNLISTENMADDRS", .restart) { $0.mesh.vpn.listenAddresses },
        .open("p2p.vpn.env.EDGEVPNLOGLEVEL", .restart) { $0.mesh.vpn.logLevel?.rawValue },
        .open("p2p.vpn.env.DHCPLEASEDIR", .restart) { $0.mesh.vpn.leaseDirectory },
    ]

    private static func block(
        _ name: String, _ block: @escaping @Sendable (NodeConfiguration) -> KubernetesConfiguration
    ) -> [ConfigurationKey] {
        [
            .open("\(name).enabled", .live) { block($0).enabled },
            ConfigurationKey(
                path: "\(name).args", use: .live, differs: { block($0).arguments != block($1).arguments },
                words: { words(from: block($0).arguments, to: block($1).arguments) }),
            ConfigurationKey(
                path: "\(name).env", use: .live, differs: { block($0).environment != block($1).environment },
                words: { names(from: block($0).environment, to: block($1).environment) }),
            .open("\(name).replace_args", .live) { block($0).replacesArguments },
            .open("\(name).replace_env", .live) { block($0).replacesEnvironment },
            .open("\(name).embedded_registry", .live) { block($0).embeddedRegistry },
        ]
    }

    /// Which arguments come and go.
    private static func words(from old: [String], to new: [String]) -> String {
        let (before, after) = (SecretMask.arguments(old), SecretMask.arguments(new))
        let gone = zip(old, before).filter { !new.contains($0.0) }.map { "-\($0.1)" }
        let come = zip(new, after).filter { !old.contains($0.0) }.map { "+\($0.1)" }
        return (gone + come).isEmpty ? "their order" : (gone + come).joined(separator: " ")
    }

    private static func names(from old: EnvironmentVariables, to new: EnvironmentVariables) -> String {
        Set(old.names).union(new.names).sorted().filter { old[$0] != new[$0] }.joined(separator: ", ")
    }
}

extension NodeConfiguration {
    /// The block `p2p`; without one, what it is when nothing is said.
    var mesh: P2PConfiguration { p2p ?? P2PConfiguration() }
}

extension VPNConfiguration.Addressing {
    fileprivate var words: String {
        switch self {
        case .automatic(let network): "any of \(network.networkText)"
        case .fixed(let address): "\(address)"
        }
    }
}
