/// A self-describing network address such as `/ip4/192.0.2.2/tcp/4001` (contract/wire.md B).
///
/// A value is never empty and every component of it is known and valid, so its text form exists and
/// reads back to the same bytes.
package struct Multiaddr: Hashable, Sendable, CustomStringConvertible {
    /// The longest binary form that is read: the longest addresses in use (a relayed one with
    /// certificate hashes) take under 300 bytes.
    package static let maximumLength = 1024
    /// The longest text that is read.
    package static let maximumTextLength = 4096

    /// The binary form.
    package let bytes: [UInt8]

    /// The components in order; there is at least one.
    package var components: [MultiaddrComponent] {
        var cursor = ByteCursor(bytes)
        var components: [MultiaddrComponent] = []
        // Every initialiser has made sure that the whole reads.
        while !cursor.isAtEnd, let component = try? MultiaddrComponent(from: &cursor) {
            components.append(component)
        }
        return components
    }

    /// Reads the binary form. An unknown code anywhere makes the whole unreadable: nobody knows
    /// where the next component would start.
    package init(bytes: some Collection<UInt8>) throws(MultiaddrError) {
        guard !bytes.isEmpty else { throw .empty }
        guard bytes.count <= Self.maximumLength else { throw .tooLong }
        let bytes = Array(bytes)
        var cursor = ByteCursor(bytes)
        while !cursor.isAtEnd { _ = try MultiaddrComponent(from: &cursor) }
        self.bytes = bytes
    }

    /// Reads the text form; slashes at the end are ignored.
    package init(_ text: String) throws(MultiaddrError) {
        guard text.utf8.count <= Self.maximumTextLength else { throw .tooLong }
        var rest = Substring(text)
        while rest.hasSuffix("/") { rest.removeLast() }
        guard !rest.isEmpty else { throw .empty }
        guard rest.hasPrefix("/") else { throw .noLeadingSlash }
        rest.removeFirst()

        var bytes: [UInt8] = []
        var parts = rest.split(separator: "/", omittingEmptySubsequences: false)[...]
        while let name = parts.popFirst() {
            guard let found = MultiaddrProtocol(name: name) else { throw .unknownName(String(name)) }
            var value: String?
            switch found.layout {
            case .none: break
            case .fixed, .lengthPrefixed:
                guard let first = parts.first else { throw .missingValue(found) }
                if found == .unix {
                    value = "/" + parts.joined(separator: "/")
                    parts = []
                } else {
                    value = String(first)
                    parts.removeFirst()
                }
            }
            try MultiaddrComponent(found, text: value).write(to: &bytes)
        }
        guard bytes.count <= Self.maximumLength else { throw .tooLong }
        self.bytes = bytes
    }

    /// The address of `components`. Throws when there are none, or too many for `maximumLength`.
    package init(components: some Collection<MultiaddrComponent>) throws(MultiaddrError) {
        guard !components.isEmpty else { throw .empty }
        var bytes: [UInt8] = []
        for component in components { component.write(to: &bytes) }
        guard bytes.count <= Self.maximumLength else { throw .tooLong }
        self.bytes = bytes
    }

    private init(valid component: MultiaddrComponent...) {
        var bytes: [UInt8] = []
        for component in component { component.write(to: &bytes) }
        self.bytes = bytes
    }

    /// `/ip4/…/tcp/…` or `/ip6/…/tcp/…`.
    package static func tcp(_ address: IPAddress, port: UInt16) -> Multiaddr {
        Multiaddr(valid: .ip(address), .tcp(port))
    }

    /// `/ip4/…/udp/…/quic-v1` or the same for `ip6`.
    package static func quic(_ address: IPAddress, port: UInt16) -> Multiaddr {
        Multiaddr(valid: .ip(address), .udp(port), .quicV1)
    }

    /// The text form; it reads back to the same address.
    package var description: String { components.map(\.description).joined() }

    /// This address with `component` behind it. Throws when it would be above `maximumLength`.
    package func appending(_ component: MultiaddrComponent) throws(MultiaddrError) -> Multiaddr {
        try Multiaddr(components: components + [component])
    }

    /// This address with `/p2p/<peer>` behind it, `peerID` being the binary ID. Throws when that is
    /// no multihash.
    package func appending(peerID: some Collection<UInt8>) throws(MultiaddrError) -> Multiaddr {
        try appending(.p2p(peerID))
    }

    /// The binary ID of the peer that the address leads to: the value of a `/p2p` at its end. The
    /// one in front of `/p2p-circuit` names the relay and is not meant.
    package var peerIDBytes: [UInt8]? {
        guard let last = components.last, last.protocol == .p2p else { return nil }
        return last.value
    }

    /// The address without the `/p2p` at its end; nil when nothing else is there.
    package var withoutPeerID: Multiaddr? {
        let components = components
        guard components.last?.protocol == .p2p else { return self }
        return try? Multiaddr(components: components.dropLast())
    }

    /// Whether the address leads over a relay.
    package var isRelayed: Bool { components.contains { $0.protocol == .p2pCircuit } }

    /// The IP address at the front, behind a zone if there is one.
    package var ipAddress: IPAddress? { host?.ipAddress }

    /// The zone (interface) of a link-local address.
    package var zone: String? {
        guard let first = components.first, first.protocol == .ip6zone else { return nil }
        return String(validating: first.value, as: UTF8.self)
    }

    /// The port of the first `tcp` component.
    package var tcpPort: UInt16? { components.first { $0.protocol == .tcp }?.port }

    /// The port of the first `udp` component.
    package var udpPort: UInt16? { components.first { $0.protocol == .udp }?.port }

    /// Where to connect to when this is an address of plain TCP: a host, a TCP port and at most a
    /// peer ID behind them.
    package var tcpEndpoint: TCPEndpoint? {
        var rest = components[...]
        if rest.last?.protocol == .p2p { rest.removeLast() }
        let zone = zone
        if rest.first?.protocol == .ip6zone { rest.removeFirst() }
        guard rest.count == 2, let front = rest.first, let last = rest.last, last.protocol == .tcp,
            let port = last.port
        else { return nil }
        if let address = front.ipAddress {
            return TCPEndpoint(host: .address(address, zone: zone), port: port)
        }
        guard let name = front.domainName else { return nil }
        switch front.protocol {
        case .dns: return TCPEndpoint(host: .name(name, .any), port: port)
        case .dns4: return TCPEndpoint(host: .name(name, .v4), port: port)
        case .dns6: return TCPEndpoint(host: .name(name, .v6), port: port)
        default: return nil
        }
    }

    /// From where the address can be reached (contract/wire.md B): the reach of its IP address, or
    /// that of its domain name. An address that begins with neither leads nowhere by itself.
    package var reach: AddressReach {
        guard let host else { return .unroutable }
        if let address = host.ipAddress { return address.reach }
        guard let name = host.domainName else { return .unroutable }
        return Self.reach(ofDomain: name)
    }

    private var host: MultiaddrComponent? {
        let components = components
        return components.first?.protocol == .ip6zone ? components.dropFirst().first : components.first
    }

    /// Names of special use (RFC 6761, 6762, 7686, 8375, 9476) are private or lead nowhere; all
    /// others are public.
    private static func reach(ofDomain name: String) -> AddressReach {
        let labels = name.lowercased().split(separator: ".")
        switch labels.last {
        case "localhost": return .loopback
        case "local", "test", "internal": return .private
        case "arpa": return labels.suffix(2) == ["home", "arpa"] ? .private : .public
        case "invalid", "onion", "alt", "example", nil: return .unroutable
        default: return .public
        }
    }

    /// The binary ID that `text` spells: base58btc of a multihash when it begins with `Qm` or `1`,
    /// else a CID of a libp2p key (contract/wire.md A.3); nil when it is neither.
    package static func peerIDBytes(text: some StringProtocol) -> [UInt8]? {
        if text.hasPrefix("Qm") || text.hasPrefix("1") {
            guard let bytes = try? Multibase.base58btc.decodeWithoutPrefix(text),
                (try? Multihash(bytes: bytes)) != nil
            else { return nil }
            return bytes
        }
        guard let cid = try? CID(String(text)), cid.codec == CID.libp2pKeyCodec else { return nil }
        return cid.multihash.bytes
    }
}

/// Where a TCP connection goes to.
package struct TCPEndpoint: Hashable, Sendable {
    package enum Family: Hashable, Sendable {
        case any, v4, v6
    }

    package enum Host: Hashable, Sendable {
        /// An address, with the interface that a link-local one belongs to.
        case address(IPAddress, zone: String?)
        /// A domain name and which of its addresses count.
        case name(String, Family)
    }

    package let host: Host
    package let port: UInt16

    package init(host: Host, port: UInt16) {
        self.host = host
        self.port = port
    }
}

/// Why something is no address.
package enum MultiaddrError: Error, Hashable, CustomStringConvertible {
    case empty
    case tooLong
    case noLeadingSlash
    /// The binary form holds a code that is not in the table, so nothing behind it can be read.
    case unknownProtocol(UInt64)
    /// The text form names a protocol that is not in the table.
    case unknownName(String)
    /// The text ends where a value should stand.
    case missingValue(MultiaddrProtocol)
    /// The value is not one that the protocol may have.
    case invalidValue(MultiaddrProtocol)
    /// The binary form ends too early or holds a wrong varint.
    case malformed(WireError)

    package var description: String {
        switch self {
        case .empty: "the address is empty"
        case .tooLong: "the address is above \(Multiaddr.maximumLength) bytes"
        case .noLeadingSlash: "the address must begin with /"
        case .unknownProtocol(let code): "no address protocol has the code \(code)"
        case .unknownName(let name): "no address protocol is called '\(name)'"
        case .missingValue(let proto): "/\(proto.name) needs a value"
        case .invalidValue(let proto): "the value of /\(proto.name) is invalid"
        case .malformed(let error): "the address is malformed: \(error)"
        }
    }
}
