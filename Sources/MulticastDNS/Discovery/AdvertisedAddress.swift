internal import LibP2P
internal import Multiformats

/// The text that carries one address of one peer in a TXT record: `dnsaddr=<address>/p2p/<peer>`
/// (contract/wire.md G.5).
enum AdvertisedAddress {
    private static let prefix = Array("dnsaddr=".utf8)

    /// Transports that a neighbour reaches by other means than this address, or only from a browser.
    private static let unwanted: Set<MultiaddrProtocol> = [
        .p2pCircuit, .ws, .wss, .webtransport, .webrtcDirect, .webrtc, .ip6zone,
    ]

    /// The TXT string for `address` of `peer`; nil when the address is of no use to a neighbour or
    /// the string would be longer than DNS allows.
    static func encode(_ address: Multiaddr, of peer: PeerID, includesLoopback: Bool) -> [UInt8]? {
        guard isUseful(address, includesLoopback: includesLoopback),
            let whole = try? (address.withoutPeerID ?? address).appending(peerID: peer.bytes)
        else { return nil }
        let string = prefix + Array(whole.description.utf8)
        return string.count <= 255 ? string : nil
    }

    /// The peer and its address that a TXT string names; nil for any other string.
    static func decode(_ string: [UInt8]) -> (peer: PeerID, address: Multiaddr)? {
        guard string.starts(with: prefix),
            let text = String(validating: string.dropFirst(prefix.count), as: UTF8.self),
            let whole = try? Multiaddr(text), let bytes = whole.peerIDBytes,
            let peer = try? PeerID(bytes: bytes), let address = whole.withoutPeerID,
            isUseful(address, includesLoopback: true)
        else { return nil }
        return (peer, address)
    }

    /// Whether a neighbour could dial `address`: an IP address that is neither the any-address nor
    /// bound to one link, or a `.local` name, over a transport that works without a browser.
    private static func isUseful(_ address: Multiaddr, includesLoopback: Bool) -> Bool {
        let components = address.components
        guard !components.contains(where: { unwanted.contains($0.protocol) }) else { return false }
        guard let host = address.ipAddress else {
            return components.first?.domainName?.hasSuffix(".local") ?? false
        }
        if host.isUnspecified { return false }
        switch host {
        case .v4(let address):
            if address.isIn(IPv4Address(0xe000_0000), 4) { return false }
        case .v6(let address):
            if address.isIn(IPv6Address(high: 0xfe80 << 48, low: 0), 10) { return false }
            if address.isIn(IPv6Address(high: 0xff00 << 48, low: 0), 8) { return false }
        }
        return includesLoopback || host.reach != .loopback
    }
}
