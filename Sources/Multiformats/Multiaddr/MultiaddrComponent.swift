/// One step of an address: a protocol and its value, valid for that protocol.
package struct MultiaddrComponent: Hashable, Sendable, CustomStringConvertible {
    /// What the step is.
    package let `protocol`: MultiaddrProtocol
    /// The value's bytes, without a length prefix; empty when the protocol has no value.
    package let value: [UInt8]

    /// A component off the wire. Throws when `value` is not one that `protocol` may have.
    package init(_ protocol: MultiaddrProtocol, value: some Collection<UInt8>) throws(MultiaddrError) {
        let value = Array(value)
        guard Self.isValid(value, for: `protocol`) else { throw .invalidValue(`protocol`) }
        self.init(unchecked: `protocol`, value)
    }

    /// A component from the value's text, which is nil for protocols without value.
    init(_ protocol: MultiaddrProtocol, text: String?) throws(MultiaddrError) {
        guard let value = Self.parse(text ?? "", for: `protocol`) else { throw .invalidValue(`protocol`) }
        try self.init(`protocol`, value: value)
    }

    private init(unchecked protocol: MultiaddrProtocol, _ value: [UInt8]) {
        self.protocol = `protocol`
        self.value = value
    }

    // MARK: builders

    package static func ip(_ address: IPAddress) -> Self {
        switch address {
        case .v4(let address): Self(unchecked: .ip4, address.bytes)
        case .v6(let address): Self(unchecked: .ip6, address.bytes)
        }
    }

    package static func tcp(_ port: UInt16) -> Self { Self(unchecked: .tcp, bytes(of: port)) }

    package static func udp(_ port: UInt16) -> Self { Self(unchecked: .udp, bytes(of: port)) }

    /// The peer whose ID has these bytes. Throws when they are no multihash.
    package static func p2p(_ peerID: some Collection<UInt8>) throws(MultiaddrError) -> Self {
        try Self(.p2p, value: peerID)
    }

    package static let p2pCircuit = Self(unchecked: .p2pCircuit, [])
    package static let quicV1 = Self(unchecked: .quicV1, [])
    package static let ws = Self(unchecked: .ws, [])
    package static let tls = Self(unchecked: .tls, [])

    private static func bytes(of port: UInt16) -> [UInt8] {
        [UInt8(truncatingIfNeeded: port >> 8), UInt8(truncatingIfNeeded: port)]
    }

    // MARK: values

    /// The address of an `ip4` or `ip6` component.
    package var ipAddress: IPAddress? {
        switch self.protocol {
        case .ip4, .ip6: IPAddress(bytes: value)
        default: nil
        }
    }

    /// The port of a `tcp`, `udp`, `dccp` or `sctp` component.
    package var port: UInt16? {
        switch self.protocol {
        case .tcp, .udp, .dccp, .sctp: value.reduce(0) { $0 << 8 | UInt16($1) }
        default: nil
        }
    }

    /// The name of a `dns`, `dns4`, `dns6` or `dnsaddr` component; nil also when it is not UTF-8.
    package var domainName: String? {
        switch self.protocol {
        case .dns, .dns4, .dns6, .dnsaddr: String(validating: value, as: UTF8.self)
        default: nil
        }
    }

    /// The component as text: `/name` or `/name/value`.
    package var description: String {
        let text = valueText
        // A path brings its own slash.
        return self.protocol == .unix
            ? "/unix\(text)" : text.isEmpty ? "/\(self.protocol.name)" : "/\(self.protocol.name)/\(text)"
    }

    // MARK: bytes

    /// Reads one component off `cursor`.
    init(from cursor: inout ByteCursor) throws(MultiaddrError) {
        do {
            let code = try cursor.readUvarint()
            guard let found = MultiaddrProtocol(rawValue: code) else {
                throw MultiaddrError.unknownProtocol(code)
            }
            let value: ArraySlice<UInt8> =
                switch found.layout {
                case .none: []
                case .fixed(let size): try cursor.readBytes(size)
                case .lengthPrefixed: try cursor.readLengthPrefixed(maximum: Multiaddr.maximumLength)
                }
            try self.init(found, value: value)
        } catch let error as MultiaddrError {
            throw error
        } catch let error as WireError {
            throw .malformed(error)
        } catch {
            // Both kinds that the calls throw are caught above.
            throw .empty
        }
    }

    /// Appends the component's binary form.
    func write(to bytes: inout [UInt8]) {
        bytes.appendUvarint(self.protocol.rawValue)
        switch self.protocol.layout {
        case .none, .fixed: bytes.append(contentsOf: value)
        case .lengthPrefixed: bytes.appendLengthPrefixed(value)
        }
    }

    // MARK: what each protocol takes

    private static let slash = UInt8(ascii: "/")

    private static func isValid(_ value: [UInt8], for proto: MultiaddrProtocol) -> Bool {
        switch proto.layout {
        case .none: return value.isEmpty
        case .fixed(let size): guard value.count == size else { return false }
        case .lengthPrefixed:
            guard !value.isEmpty, value.count <= Multiaddr.maximumLength else { return false }
        }
        switch proto {
        case .dns, .dns4, .dns6, .dnsaddr, .sni, .ip6zone: return !value.contains(slash)
        case .unix: return value.first == slash && value.count > 1 && !value.contains(0)
        case .p2p, .certhash: return (try? Multihash(bytes: value)) != nil
        case .garlic32: return value.count >= 35 || value.count == 32
        case .onion3: return value.suffix(2) != [0, 0]
        default: return true
        }
    }

    private static func parse(_ text: String, for proto: MultiaddrProtocol) -> [UInt8]? {
        switch proto {
        case .ip4: IPv4Address(text)?.bytes
        case .ip6: (IPv6Address(text) ?? IPv4Address(text).map(IPv6Address.init(mapping:)))?.bytes
        case .tcp, .udp, .dccp, .sctp: number(text, as: UInt16.self).map(bytes(of:))
        case .ipcidr: number(text, as: UInt8.self).map { [$0] }
        case .memory:
            number(text, as: UInt64.self).map { number in
                var bytes: [UInt8] = []
                bytes.appendBigEndian(number)
                return bytes
            }
        case .dns, .dns4, .dns6, .dnsaddr, .sni, .ip6zone, .unix: Array(text.utf8)
        case .httpPath: unescape(text)
        case .p2p: Multiaddr.peerIDBytes(text: text)
        case .certhash: try? Multibase.decode(text)
        case .garlic32: try? Multibase.base32.decodeWithoutPrefix(text)
        case .onion3: onion(text)
        case .p2pWebRTCDirect, .webrtcDirect, .webrtc, .p2pCircuit, .udt, .utp, .https, .tls, .noise, .quic,
            .quicV1,
            .webtransport, .ws, .wss, .http:
            []
        }
    }

    private var valueText: String {
        switch self.protocol {
        case .ip4, .ip6: ipAddress?.description ?? ""
        case .tcp, .udp, .dccp, .sctp: port.map { "\($0)" } ?? ""
        case .ipcidr, .memory: "\(value.reduce(0) { $0 << 8 | UInt64($1) })"
        case .dns, .dns4, .dns6, .dnsaddr, .sni, .ip6zone, .unix: String(decoding: value, as: UTF8.self)
        case .httpPath: Self.escape(value)
        case .p2p: Multibase.base58btc.encodeWithoutPrefix(value)
        case .certhash: Multibase.base64url.encode(value)
        case .garlic32: Multibase.base32.encodeWithoutPrefix(value)
        case .onion3:
            Multibase.base32.encodeWithoutPrefix(value.prefix(35))
                + ":\(value.suffix(2).reduce(0) { $0 << 8 | UInt16($1) })"
        case .p2pWebRTCDirect, .webrtcDirect, .webrtc, .p2pCircuit, .udt, .utp, .https, .tls, .noise, .quic,
            .quicV1,
            .webtransport, .ws, .wss, .http:
            ""
        }
    }

    /// A decimal number of digits alone: no sign, no space.
    private static func number<Number: FixedWidthInteger>(_ text: String, as type: Number.Type) -> Number? {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return Number(text, radix: 10)
    }

    private static func onion(_ text: String) -> [UInt8]? {
        let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == 56,
            let port = number(String(parts[1]), as: UInt16.self),
            let host = try? Multibase.base32.decodeWithoutPrefix(parts[0])
        else { return nil }
        return host + bytes(of: port)
    }

    private static func escape(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."),
                UInt8(ascii: "~"):
                text.append(byte)
            default: text += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func unescape(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let character = rest.popFirst() {
            guard character == UInt8(ascii: "%") else {
                bytes.append(character)
                continue
            }
            guard let spelled = try? Multibase.base16.decodeWithoutPrefix(String(Substring(rest.prefix(2)))),
                let byte = spelled.first
            else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }
}
