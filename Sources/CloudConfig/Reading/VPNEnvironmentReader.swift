/// Reads the EdgeVPN variables of `p2p.vpn.env` as typed values: the one place where their texts are
/// understood (contract/kairos.md §6.3 and §6.4).
final class VPNEnvironmentReader {
    private let variables: EnvironmentVariables
    private let path: String
    private let findings: Findings
    private var read: Set<String> = []

    init(_ variables: EnvironmentVariables, path: String, findings: Findings) {
        self.variables = variables
        self.path = path
        self.findings = findings
    }

    /// The path of a variable from the root: `p2p.vpn.env.IFACE`.
    func path(of name: String) -> String { "\(path).\(name)" }

    /// Where a variable's value stands.
    func position(of name: String) -> SourcePosition? { findings.positions[path(of: name)] }

    /// Whether a variable is absent or empty, which EdgeVPN takes as absent.
    func isUnset(_ name: String) -> Bool { (variables[name] ?? "").isEmpty }

    /// A variable that `parse` understands.
    func value<Value>(_ name: String, accepted: String, by parse: (String) -> Value?) -> Value? {
        let isFirst = read.insert(name).inserted
        guard let text = variables[name], !text.isEmpty else { return nil }
        if let value = parse(text) { return value }
        if isFirst {
            findings.error(
                .invalidValue(found: FoundValue.quoted(text), accepted: accepted), at: position(of: name),
                key: path(of: name))
        }
        return nil
    }

    /// A boolean as Go's `strconv.ParseBool` reads it.
    func boolean(_ name: String) -> Bool? {
        value(name, accepted: "true or false") { text in
            switch text {
            case "1", "t", "T", "true", "TRUE", "True": true
            case "0", "f", "F", "false", "FALSE", "False": false
            default: nil
            }
        }
    }

    /// A whole number of `range`.
    func integer(_ name: String, in range: ClosedRange<Int>) -> Int? {
        value(name, accepted: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A comma-separated list whose items are all valid.
    func list(_ name: String, accepted: String, isValid: (String) -> Bool) -> [String] {
        value(name, accepted: "a comma-separated list of \(accepted)") { text -> [String]? in
            let items = text.split(separator: ",").map { item in
                String(item.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            }
            return !items.isEmpty && items.allSatisfy(isValid) ? items : nil
        } ?? []
    }

    /// Warns about variables that were not read: of EdgeVPN's own that they have no effect here, of others
    /// with the nearest name.
    func warnAboutTheRest() {
        // The addresses are read after the settings.
        for name in variables.names where !read.contains(name) && !["ADDRESS", "DHCP"].contains(name) {
            if name == "EDGEVPNTOKEN" {
                findings.warning(
                    .withoutEffect("the token is p2p.network_token"), at: position(of: name),
                    key: path(of: name))
            } else if Self.unused.contains(name) {
                findings.warning(
                    .withoutEffect("this agent has no such setting"), at: position(of: name),
                    key: path(of: name))
            } else {
                let nearest = NearestName.of(name, among: Self.unused + read.sorted() + ["ADDRESS", "DHCP"])
                findings.warning(.unknownKey(nearest: nearest), at: position(of: name), key: path(of: name))
            }
        }
    }

    /// EdgeVPN's variables that this agent does not use.
    static let unused = [
        "APILISTENUNIXMODE", "DNSADDRESS", "DNSCACHESIZE", "DNSFORWARD", "DNSFORWARDSERVER",
        "EDGEVPNAUTORELAY", "EDGEVPNAUTORELAYDISCOVERYINTERVAL", "EDGEVPNAUTORELAYPEERS",
        "EDGEVPNAUTORELAYSTATICONLY", "EDGEVPNBLACKLIST", "EDGEVPNBOOTSTRAPIFACE", "EDGEVPNCHANNELBUFFERSIZE",
        "EDGEVPNCONFIG", "EDGEVPNDHTANNOUNCEMADDRS", "EDGEVPNDHTINTERVAL", "EDGEVPNHOLEPUNCH",
        "EDGEVPNLEDGERINTERVAL", "EDGEVPNLEDGERSTATE", "EDGEVPNLEDGERSYNCINTERVAL", "EDGEVPNLIBP2PLOGLEVEL",
        "EDGEVPNLOWPROFILE", "EDGEVPNNATMAP", "EDGEVPNNATRATELIMIT", "EDGEVPNNATRATELIMITGLOBAL",
        "EDGEVPNNATRATELIMITINTERVAL", "EDGEVPNNATRATELIMITPEER", "EDGEVPNNATSERVICE", "EDGEVPNOWNERSHIP",
        "EDGEVPNOWNERSHIPTTL", "EDGEVPNPACKETMTU", "EDGEVPNPEERGATEINTERVAL", "EDGEVPNPRIVKEYCACHE",
        "EDGEVPNPRIVKEYCACHEDIR", "EDGEVPNSTATICPEERTABLE", "EDGEVPNTIMEOUT", "EDGEVPNTOKEN",
        "EDGEVPNWHITELIST", "EDGEVPN_CONNECTION_HIGH_WATER", "EDGEVPN_CONNECTION_LOW_WATER",
        "EDGEVPN_RELAY_BUFFER_SIZE", "EDGEVPN_RELAY_MAX_CIRCUITS", "EDGEVPN_RELAY_MAX_DATA",
        "EDGEVPN_RELAY_MAX_DURATION", "EDGEVPN_RELAY_RESERVATION_TTL", "EDGEVPN_RELAY_SERVICE",
        "EDGEVPN_RELAY_SERVICE_ACL_REFRESH", "EDGEVPN_RELAY_SERVICE_NETWORK_ONLY", "EGRESS", "EGRESSANNOUNCE",
        "ENABLE_HEALTHCHECKS", "HEALTHCHECKINTERVAL", "HEALTHCHECKMAXINTERVAL", "HEALTHCHECKSCRUBINTERVAL",
        "LIMITENABLE", "LIMITFILE", "LIMITSCOPE", "PEERGATE", "PEERGATE_AUTH", "PEERGATE_AUTOCLEAN",
        "PEERGATE_RELAXED", "PEERGUARD", "ROUTER", "TRANSIENTCONN",
    ]
}

/// The shape of multiaddrs, checked early so that the message can name the line they stand in; the mesh
/// parses them in full.
enum PeerAddress {
    static let accepted = "a multiaddr with a peer ID, such as /ip4/192.168.1.10/tcp/4001/p2p/12D3Koo…,"

    /// Whether `text` looks like the multiaddr of a peer.
    static func isValid(_ text: String) -> Bool {
        guard isMultiaddr(text) else { return false }
        let parts = text.split(separator: "/")
        guard let place = parts.lastIndex(where: { $0 == "p2p" || $0 == "ipfs" }), place > 0,
            place + 1 == parts.count - 1
        else { return false }
        let id = parts[place + 1].utf8
        return (30...128).contains(id.count)
            && id.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
            }
    }

    /// Whether `text` looks like a multiaddr.
    static func isMultiaddr(_ text: String) -> Bool {
        let names = ["ip4", "ip6", "dns", "dns4", "dns6", "dnsaddr", "unix", "memory"]
        guard text.hasPrefix("/"), text.utf8.count <= 1024, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { return false }
        let parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 2, names.contains(String(parts[0])), !parts.contains("") else { return false }
        switch parts[0] {
        case "ip4": return IPv4Interface.address(String(parts[1])) != nil
        case "ip6": return parts[1].contains(":")
        default: return true
        }
    }
}
