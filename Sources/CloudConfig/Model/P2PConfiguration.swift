package import MeshNetwork

/// The block `p2p` (contract/kairos.md §1.1), with this agent's own keys `bootstrap_peers`, `publish_kubeconfig`,
/// `vpn.address`, `vpn.api_address` and `auto.ha.replace_after`.
package struct P2PConfiguration: Equatable, Sendable {
    /// The role that `p2p.role` forces.
    package enum Role: String, Hashable, Sendable, CaseIterable {
        case master
        case worker
        /// The schema's default, which means that no role is forced.
        case none
    }

    /// How much is logged: the level names of the Go loggers.
    package enum LogLevel: String, Hashable, Sendable, CaseIterable {
        case trace, debug, info, warn, warning, error, dpanic, fatal, panic, disabled
    }

    /// The network's token; nil when it is absent or empty.
    package var networkToken: NetworkToken?
    /// The ledger bucket that holds this cluster's keys: several clusters can share one token.
    package var networkID = "kairos"
    /// The role that this node has whatever the others say; nil leaves it to the election.
    package var role: Role?
    /// Whether names of the mesh are resolved by an embedded DNS server.
    package var dns = false
    /// Whether nodes are looked for on the local network only.
    package var disableDHT = false
    /// How much the agent logs.
    package var logLevel = LogLevel.debug
    /// `minimum_nodes` as given, 1 to 256; nil when it is absent or 0.
    package var minimumNodes: Int?
    /// Whether roles of nodes that are gone are given to others.
    package var dynamicRoles = false
    /// `auto.enable`.
    package var autoEnable: Bool?
    /// `auto.ha.enable`.
    package var highAvailabilityEnable: Bool?
    /// `auto.ha.master_nodes`: how many servers there are besides the founding one.
    package var masterNodes: Int?
    /// `auto.ha.external_db`: a connection string, with a password as a rule.
    package var externalDatabase: SecretString?
    /// `auto.ha.replace_after`: how long a server may be away until another takes its place; nil: for ever.
    package var replaceServersAfter: Duration?
    /// Whether the administrator's kubeconfig is in the ledger, where stock tools look for it (unset is yes).
    package var publishesKubeconfig = true
    /// Multiaddrs of peers to dial without having discovered them: `bootstrap_peers` and then those of
    /// `EDGEVPNBOOTSTRAPPEERS`, each once.
    package var bootstrapPeers: [String] = []
    /// The mesh as an interface.
    package var vpn = VPNConfiguration()

    package init() {}

    /// What `auto.ha.replace_after` accepts: a reboot is no loss, and for ever is said by leaving it out.
    package static let replacement = Duration.seconds(60)...Duration.seconds(365 * 86_400)

    // MARK: derived (contract/kairos.md §1.1)

    /// How many nodes must be there before a founding server is elected: `minimum_nodes`, else 2.
    package var requiredNodes: Int { minimumNodes ?? 2 }
    /// Whether roles are found without being given (`IsAutoEnabled`): asked for, or a token is there.
    package var isAutoEnabled: Bool { autoEnable == true || networkToken != nil }
    /// Whether election is on (`Auto.IsEnabled`): not turned off.
    package var electsRoles: Bool { autoEnable ?? true }
    /// Whether there are further servers: asked for, or a number is given and nobody says no.
    package var isHighlyAvailable: Bool { highAvailabilityEnable ?? (masterNodes != nil) }
    /// How many servers there are besides the founding one.
    package var additionalServers: Int { isHighlyAvailable ? masterNodes ?? 0 : 0 }

    init(_ reader: MapReader, findings: Findings) {
        networkToken = Self.token(reader, findings)
        networkID =
            reader.parsed(
                "network_id", accepted: "a text of 1 to 128 characters without white space and slashes"
            ) {
                Self.isBucketName($0) ? $0 : nil
            } ?? networkID
        role = reader.choice("role")
        if role == Role.none { role = nil }
        dns = reader.boolean("dns") ?? false
        disableDHT = reader.boolean("disable_dht") ?? false
        logLevel = reader.choice("loglevel") ?? .debug
        minimumNodes = reader.integer("minimum_nodes", in: 1...256, zeroIsUnset: true)
        dynamicRoles = reader.boolean("dynamic_roles") ?? false
        publishesKubeconfig = reader.boolean("publish_kubeconfig") ?? true
        bootstrapPeers = reader.parsedList("bootstrap_peers", accepted: PeerAddress.accepted) {
            PeerAddress.isValid($0) ? $0 : nil
        }
        if let auto = reader.map("auto") {
            autoEnable = auto.boolean("enable")
            if let ha = auto.map("ha") {
                highAvailabilityEnable = ha.boolean("enable")
                masterNodes = ha.integer("master_nodes", in: 1...100, zeroIsUnset: true)
                externalDatabase = ha.secret("external_db").flatMap { $0.isEmpty ? nil : $0 }
                replaceServersAfter = ha.parsed(
                    "replace_after",
                    accepted:
                        "\(WrittenDuration.example), from 1m to 365d, or nothing to keep a server's place,"
                ) { WrittenDuration.parse($0).flatMap { Self.replacement.contains($0) ? $0 : nil } }
                ha.warnAboutUnknownKeys()
            }
            auto.warnAboutUnknownKeys()
        }
        vpn = VPNConfiguration(reader.map("vpn"), disableDHT: disableDHT, findings: findings)
        for peer in vpn.bootstrapPeers where !bootstrapPeers.contains(peer) { bootstrapPeers.append(peer) }
        reader.warnAboutUnknownKeys(hints: [
            "ha": "p2p.auto.ha", "token": "p2p.network_token", "master_nodes": "p2p.auto.ha.master_nodes",
            "external_db": "p2p.auto.ha.external_db", "env": "p2p.vpn.env", "address": "p2p.vpn.address",
        ])
    }

    private static func token(_ reader: MapReader, _ findings: Findings) -> NetworkToken? {
        let key = "network_token"
        guard let written = reader.secret(key), !written.isEmpty else { return nil }
        do throws(NetworkTokenError) {
            return try NetworkToken(written.revealed)
        } catch {
            findings.error(.invalidToken(error), at: reader.position(of: key), key: reader.path(of: key))
            return nil
        }
    }

    private static func isBucketName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy {
                !$0.properties.isWhitespace && $0.properties.generalCategory != .control && $0 != "/"
            }
    }
}
