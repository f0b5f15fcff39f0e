/// The protocols that an address can be made of (contract/wire.md B), by code.
package enum MultiaddrProtocol: UInt64, Hashable, Sendable, CaseIterable {
    case ip4 = 4
    case tcp = 6
    case dccp = 33
    case ip6 = 41
    case ip6zone = 42
    case ipcidr = 43
    case dns = 53
    case dns4 = 54
    case dns6 = 55
    case dnsaddr = 56
    case sctp = 132
    case udp = 273
    case p2pWebRTCDirect = 276
    case webrtcDirect = 280
    case webrtc = 281
    case p2pCircuit = 290
    case udt = 301
    case utp = 302
    case unix = 400
    case p2p = 421
    case https = 443
    case onion3 = 445
    case garlic32 = 447
    case tls = 448
    case sni = 449
    case noise = 454
    case quic = 460
    case quicV1 = 461
    case webtransport = 465
    case certhash = 466
    case ws = 477
    case wss = 478
    case http = 480
    case httpPath = 481
    case memory = 777

    /// How the value of a component is written in bytes.
    enum Layout {
        case none
        case fixed(Int)
        case lengthPrefixed
    }

    /// The name in the text form.
    package var name: String {
        switch self {
        case .p2pWebRTCDirect: "p2p-webrtc-direct"
        case .webrtcDirect: "webrtc-direct"
        case .p2pCircuit: "p2p-circuit"
        case .quicV1: "quic-v1"
        case .httpPath: "http-path"
        default: "\(self)"
        }
    }

    /// The protocol that the text form names so; `ipfs` is an old name of `p2p`.
    package init?(name: some StringProtocol) {
        guard let found = Self.byName[String(name)] else { return nil }
        self = found
    }

    private static let byName: [String: Self] = {
        var names = Dictionary(uniqueKeysWithValues: allCases.map { ($0.name, $0) })
        names["ipfs"] = .p2p
        return names
    }()

    var layout: Layout {
        switch self {
        case .ip4: .fixed(4)
        case .ip6: .fixed(16)
        case .ipcidr: .fixed(1)
        case .tcp, .udp, .dccp, .sctp: .fixed(2)
        case .memory: .fixed(8)
        case .onion3: .fixed(37)
        case .ip6zone, .dns, .dns4, .dns6, .dnsaddr, .unix, .p2p, .garlic32, .sni, .certhash, .httpPath:
            .lengthPrefixed
        case .p2pWebRTCDirect, .webrtcDirect, .webrtc, .p2pCircuit, .udt, .utp, .https, .tls, .noise, .quic,
            .quicV1,
            .webtransport, .ws, .wss, .http:
            .none
        }
    }
}
