/// The block `p2p.vpn`, with what the EdgeVPN variables of `p2p.vpn.env` say laid over it: what the mesh is
/// like as a network interface, and how it finds and talks to others.
package struct VPNConfiguration: Hashable, Sendable {
    /// How the node gets its address.
    package enum Addressing: Hashable, Sendable {
        /// It claims a free one; the interface names the network, its address is not claimed on purpose.
        case automatic(network: IPv4Interface)
        /// It is given.
        case fixed(IPv4Interface)

        /// The network that all nodes share.
        package var network: IPv4Interface {
            switch self {
            case .automatic(let network): network
            case .fixed(let address): address
            }
        }
    }

    /// Where the agent's API listens besides, or instead of, its default socket.
    package enum APIListener: Hashable, Sendable {
        /// A unix socket.
        case unix(path: String)
        /// TCP on an address or name and a port.
        case tcp(host: String, port: Int)
    }

    /// `create`: whether the node gets the interface; without it the mesh only coordinates.
    package var create: Bool?
    /// `use`: whether Kubernetes talks over the interface.
    package var use: Bool?
    /// `env`, as written.
    package var environment = EnvironmentVariables()
    /// How the node gets its address: `address`, else `ADDRESS` and `DHCP`, else a free one of 10.1.0.0/24.
    package var addressing: Addressing = .automatic(network: Self.defaultNetwork)
    /// `api_address`: the address that always leads to a healthy server; nil lets the agent choose.
    package var apiAddress: UInt32?
    /// `IFACE`: the interface's name.
    package var interfaceName = "edgevpn0"
    /// `EDGEVPNMTU`: the interface's MTU, in bytes; nil lets the agent choose.
    package var mtu: Int?
    /// `EDGEVPNMDNS`: whether peers are looked for by multicast.
    package var multicastDNS = true
    /// `EDGEVPNDHT`, else `disable_dht` turned round: whether peers are looked for in the DHT.
    package var dht = true
    /// `EDGEVPNLISTENMADDRS`: the multiaddrs to listen on; empty lets the agent choose.
    package var listenAddresses: [String] = []
    /// `EDGEVPNBOOTSTRAPPEERS`: the multiaddrs of peers to dial without having discovered them.
    package var bootstrapPeers: [String] = []
    /// `EDGEVPNLOGLEVEL`: how much the mesh logs, where it differs from the agent.
    package var logLevel: P2PConfiguration.LogLevel?
    /// `DHCPLEASEDIR`: the folder of the lease file.
    package var leaseDirectory: String?
    /// `APILISTEN`, when `API` does not turn the API off.
    package var apiListener: APIListener?
    /// `EDGEVPNMAXCONNS`: how many connections are held at most; nil lets the agent choose.
    package var maximumConnections: Int?

    /// The network of nodes that are not told another one: 10.1.0.0/24 (EdgeVPN's default).
    package static let defaultNetwork = IPv4Interface("10.1.0.0/24").unsafelyKnown

    package init() {}

    /// Whether the node gets the interface (unset is yes).
    package var createsInterface: Bool { create ?? true }
    /// Whether Kubernetes talks over the interface: it is there and is not set aside.
    package var carriesKubernetes: Bool { createsInterface && (use ?? true) }

    init(_ reader: MapReader?, disableDHT: Bool, findings: Findings) {
        dht = !disableDHT
        guard let reader else { return }
        create = reader.boolean("create")
        use = reader.boolean("use")
        let address = reader.parsed("address", accepted: Self.acceptedAddress) { Self.host($0) }
        let apiAddress = reader.parsed("api_address", accepted: "an IPv4 address such as 10.1.0.250") {
            IPv4Interface.address($0)
        }
        environment = reader.environment("env")
        let variables = VPNEnvironmentReader(environment, path: reader.path(of: "env"), findings: findings)
        readSettings(variables)
        addressing = Self.addressing(address, reader.path(of: "address"), variables, findings)
        if let apiAddress {
            let key = reader.path(of: "api_address")
            if let accepted = whyUnusable(apiAddress: apiAddress) {
                findings.error(
                    .invalidValue(
                        found: FoundValue.quoted(IPv4Interface.text(apiAddress)), accepted: accepted),
                    at: reader.position(of: "api_address"), key: key)
            } else {
                self.apiAddress = apiAddress
            }
        }
        if create == false, use == true {
            findings.warning(
                .withoutEffect("there is no interface to use, because p2p.vpn.create is false"),
                at: reader.position(of: "use"), key: reader.path(of: "use"))
        }
        reader.warnAboutUnknownKeys(hints: [
            "vpn": reader.path(of: "create"), "mtu": "EDGEVPNMTU in \(reader.path(of: "env"))",
            "interface": "IFACE in \(reader.path(of: "env"))",
        ])
    }

    private mutating func readSettings(_ variables: VPNEnvironmentReader) {
        interfaceName =
            variables.value("IFACE", accepted: InterfaceName.accepted, by: InterfaceName.valid)
            ?? interfaceName
        mtu = variables.integer("EDGEVPNMTU", in: 576...65_535)
        multicastDNS = variables.boolean("EDGEVPNMDNS") ?? multicastDNS
        dht = variables.boolean("EDGEVPNDHT") ?? dht
        listenAddresses = variables.list(
            "EDGEVPNLISTENMADDRS", accepted: "multiaddrs such as /ip4/0.0.0.0/tcp/4001"
        ) {
            PeerAddress.isMultiaddr($0)
        }
        bootstrapPeers = variables.list("EDGEVPNBOOTSTRAPPEERS", accepted: PeerAddress.accepted) {
            PeerAddress.isValid($0)
        }
        logLevel = variables.value(
            "EDGEVPNLOGLEVEL",
            accepted: MapReader.alternatives(P2PConfiguration.LogLevel.allCases.map(\.rawValue)),
            by: P2PConfiguration.LogLevel.init(rawValue:))
        leaseDirectory = variables.value("DHCPLEASEDIR", accepted: "an absolute path") {
            $0.hasPrefix("/") ? $0 : nil
        }
        let listener = variables.value(
            "APILISTEN", accepted: "an address and a port such as 127.0.0.1:8080, or unix:///path,",
            by: APIListener.init)
        apiListener = variables.boolean("API") == false ? nil : listener
        maximumConnections = variables.integer("EDGEVPNMAXCONNS", in: 0...100_000).flatMap {
            $0 == 0 ? nil : $0
        }
        variables.warnAboutTheRest()
    }

    // MARK: addresses

    private static let acceptedAddress =
        "a host's IPv4 address with its network's size, such as 10.1.0.5/24,"

    /// The address that `text` gives to this node, when a node can have it.
    private static func host(_ text: String) -> IPv4Interface? {
        IPv4Interface(text).flatMap {
            $0.isHost && $0.prefixLength >= 8 && $0.address >> 24 != 127 ? $0 : nil
        }
    }

    /// `address` wins over the variables. Of those, `ADDRESS` is this node's address when `DHCP` is off; when
    /// it is on, as it is unless somebody says otherwise, `ADDRESS` only names the network.
    private static func addressing(
        _ address: IPv4Interface?, _ key: String, _ variables: VPNEnvironmentReader, _ findings: Findings
    ) -> Addressing {
        let automatic = variables.boolean("DHCP") ?? true
        let given = variables.value("ADDRESS", accepted: acceptedAddress) { text in
            automatic
                ? IPv4Interface(text).flatMap { (8...30).contains($0.prefixLength) ? $0 : nil } : host(text)
        }
        if let address {
            if !automatic, let given, given != address {
                findings.error(
                    .contradiction(
                        "\(key) is \(address) and ADDRESS in p2p.vpn.env is \(given)",
                        remedy: "keep one of the two"),
                    at: variables.position(of: "ADDRESS"), key: variables.path(of: "ADDRESS"))
            } else if automatic, let given, given.networkText != address.networkText {
                findings.error(
                    .contradiction(
                        "\(key) \(address) is outside the network \(given.networkText) of ADDRESS in p2p.vpn.env",
                        remedy: "give an address inside it, or remove ADDRESS"),
                    at: variables.position(of: "ADDRESS"), key: variables.path(of: "ADDRESS"))
            }
            return .fixed(address)
        }
        if automatic { return .automatic(network: given ?? defaultNetwork) }
        if let given { return .fixed(given) }
        if variables.isUnset("ADDRESS") {
            findings.error(
                .contradiction(
                    "DHCP is off and there is no address",
                    remedy: "give this node its own p2p.vpn.address, or remove DHCP"),
                at: variables.position(of: "DHCP"), key: variables.path(of: "DHCP"))
        }
        return .automatic(network: defaultNetwork)
    }

    /// What would be accepted instead of `apiAddress`, or nil when it is right.
    private func whyUnusable(apiAddress: UInt32) -> String? {
        let network = addressing.network
        guard let candidate = IPv4Interface(address: apiAddress, prefixLength: network.prefixLength),
            network.contains(apiAddress), candidate.isHost
        else { return "a host's address of the network \(network.networkText)" }
        if case .fixed(let own) = addressing, own.address == apiAddress {
            return "an address that no node has (this node has \(own.addressText))"
        }
        return nil
    }
}

extension VPNConfiguration.APIListener {
    /// Reads `unix:///path`, `host:port`, `:port` and `[IPv6]:port`.
    package init?(_ text: String) {
        if text.hasPrefix("unix://") {
            let path = String(text.dropFirst("unix://".count))
            // 107 bytes is what the kernel's socket address holds.
            guard path.hasPrefix("/"), (2...107).contains(path.utf8.count) else { return nil }
            self = .unix(path: path)
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }) else { return nil }
        self = .tcp(host: host.isEmpty ? "0.0.0.0" : String(host), port: port)
    }
}

extension Optional where Wrapped == IPv4Interface {
    /// The value of a literal that is known to be right.
    fileprivate var unsafelyKnown: IPv4Interface {
        guard let self else { preconditionFailure("a literal address of this module is wrong") }
        return self
    }
}
