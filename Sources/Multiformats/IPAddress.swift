/// An IPv4 address.
package struct IPv4Address: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The four bytes as a number, first byte most significant.
    package let value: UInt32

    package init(_ value: UInt32) {
        self.value = value
    }

    /// The address of four bytes in network order; nil when there are not four.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 4 else { return nil }
        self.value = bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Reads a dotted quad: four decimal numbers up to 255 without leading zeros.
    package init?(_ text: some StringProtocol) {
        let parts = text.utf8.split(
            separator: UInt8(ascii: "."), maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else {
                return nil
            }
            var number: UInt32 = 0
            for character in part {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) else { return nil }
                number = number * 10 + UInt32(character - UInt8(ascii: "0"))
            }
            guard number <= 255 else { return nil }
            value = value << 8 | number
        }
        self.value = value
    }

    /// The four bytes in network order.
    package var bytes: [UInt8] {
        [value >> 24, value >> 16, value >> 8, value].map { UInt8(truncatingIfNeeded: $0) }
    }

    package var description: String { bytes.map { String($0) }.joined(separator: ".") }

    package static func < (left: Self, right: Self) -> Bool { left.value < right.value }

    /// Whether the first `length` bits are those of `network`.
    package func isIn(_ network: IPv4Address, _ length: Int) -> Bool {
        length <= 0 || (value ^ network.value) >> UInt32(32 - min(length, 32)) == 0
    }
}

/// An IPv6 address, without a zone.
package struct IPv6Address: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The first eight bytes as a number.
    package let high: UInt64
    /// The last eight bytes as a number.
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The address of sixteen bytes in network order; nil when there are not sixteen.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        self.high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        self.low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The IPv4-mapped form of an IPv4 address, `::ffff:a.b.c.d`.
    package init(mapping address: IPv4Address) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(address.value))
    }

    /// Reads the text forms of RFC 4291: groups of hex, one `::`, and a dotted quad at the end.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= 45 else { return nil }
        var head: [UInt16] = []
        var tail: [UInt16]?
        var rest = Substring(text)
        if rest.hasPrefix("::") {
            tail = []
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let group = rest.prefix { $0 != ":" }
            rest = rest.dropFirst(group.count)
            var words: [UInt16] = []
            if rest.isEmpty, group.contains(".") {
                guard let quad = IPv4Address(group) else { return nil }
                words = [
                    UInt16(truncatingIfNeeded: quad.value >> 16), UInt16(truncatingIfNeeded: quad.value),
                ]
            } else {
                guard (1...4).contains(group.utf8.count), group.utf8.allSatisfy(Self.isHexDigit),
                    let word = UInt16(group, radix: 16)
                else { return nil }
                words = [word]
            }
            if tail != nil { tail?.append(contentsOf: words) } else { head.append(contentsOf: words) }
            if rest.hasPrefix("::") {
                guard tail == nil else { return nil }
                tail = []
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix(":") {
                rest = rest.dropFirst()
                guard !rest.isEmpty else { return nil }
            }
        }
        let given = head.count + (tail?.count ?? 0)
        guard tail == nil ? given == 8 : given < 8 else { return nil }
        let words = head + [UInt16](repeating: 0, count: 8 - given) + (tail ?? [])
        self.high = words.prefix(4).reduce(0) { $0 << 16 | UInt64($1) }
        self.low = words.dropFirst(4).reduce(0) { $0 << 16 | UInt64($1) }
    }

    /// The sixteen bytes in network order.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        bytes.appendBigEndian(high)
        bytes.appendBigEndian(low)
        return bytes
    }

    /// The IPv4 address that this one maps; nil when it maps none.
    package var mappedIPv4: IPv4Address? {
        high == 0 && low >> 32 == 0xffff ? IPv4Address(UInt32(truncatingIfNeeded: low)) : nil
    }

    /// The text of RFC 5952; an IPv4-mapped address ends in a dotted quad.
    package var description: String {
        if let mapped = mappedIPv4 { return "::ffff:\(mapped)" }
        let words = [high, low].flatMap { half in
            stride(from: 48, through: 0, by: -16).map { UInt16(truncatingIfNeeded: half >> UInt64($0)) }
        }
        var longest = 0..<0
        var index = 0
        while index < words.count {
            let end = words[index...].firstIndex { $0 != 0 } ?? words.count
            if end - index > longest.count, end - index > 1 { longest = index..<end }
            index = max(end, index + 1)
        }
        let texts = words.map { String($0, radix: 16) }
        guard !longest.isEmpty else { return texts.joined(separator: ":") }
        return texts[..<longest.lowerBound].joined(separator: ":") + "::"
            + texts[longest.upperBound...].joined(separator: ":")
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }

    /// Whether the first `length` bits are those of `network`.
    package func isIn(_ network: IPv6Address, _ length: Int) -> Bool {
        if length <= 0 { return true }
        if length <= 64 { return (high ^ network.high) >> UInt64(64 - length) == 0 }
        return high == network.high && (low ^ network.low) >> UInt64(128 - min(length, 128)) == 0
    }

    private static func isHexDigit(_ character: UInt8) -> Bool {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}

/// An address of either family.
package enum IPAddress: Hashable, Sendable, CustomStringConvertible {
    case v4(IPv4Address)
    case v6(IPv6Address)

    /// Reads either text form.
    package init?(_ text: some StringProtocol) {
        if let address = IPv4Address(text) {
            self = .v4(address)
        } else if let address = IPv6Address(text) {
            self = .v6(address)
        } else {
            return nil
        }
    }

    /// The address of 4 or 16 bytes in network order.
    package init?(bytes: some Collection<UInt8>) {
        if let address = IPv4Address(bytes: bytes) {
            self = .v4(address)
        } else if let address = IPv6Address(bytes: bytes) {
            self = .v6(address)
        } else {
            return nil
        }
    }

    /// The 4 or 16 bytes in network order.
    package var bytes: [UInt8] {
        switch self {
        case .v4(let address): address.bytes
        case .v6(let address): address.bytes
        }
    }

    package var description: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }

    /// Whether this is the any-address, 0.0.0.0 or ::.
    package var isUnspecified: Bool {
        switch self {
        case .v4(let address): address.value == 0
        case .v6(let address): address.high == 0 && address.low == 0
        }
    }

    /// Where the address can be reached from, as go-libp2p sees it (contract/wire.md B).
    package var reach: AddressReach {
        switch self {
        case .v4(let address): address.reach
        case .v6(let address): address.mappedIPv4?.reach ?? address.reach
        }
    }
}

/// From where an address can be reached (contract/wire.md B). Only `public` addresses are believed
/// when a peer on the internet names them; `loopback` ones only on a loopback connection.
package enum AddressReach: Hashable, Sendable {
    case loopback
    case `private`
    case `public`
    /// From nowhere: documentation, multicast, reserved and unspecified addresses.
    case unroutable
}

extension IPv4Address {
    package var reach: AddressReach {
        if isIn(IPv4Address(0x7f00_0000), 8) { return .loopback }
        let privateNetworks: [(UInt32, Int)] = [
            (0x0a00_0000, 8), (0x6440_0000, 10), (0xac10_0000, 12), (0xc0a8_0000, 16), (0xa9fe_0000, 16),
        ]
        if privateNetworks.contains(where: { isIn(IPv4Address($0.0), $0.1) }) { return .private }
        let unroutableNetworks: [(UInt32, Int)] = [
            (0x0000_0000, 8), (0xc000_0000, 26), (0xc000_0200, 24), (0xc058_6300, 24), (0xc612_0000, 15),
            (0xc633_6400, 24), (0xcb00_7100, 24), (0xe000_0000, 4), (0xf000_0000, 4),
        ]
        if unroutableNetworks.contains(where: { isIn(IPv4Address($0.0), $0.1) }) { return .unroutable }
        return .public
    }
}

extension IPv6Address {
    package var reach: AddressReach {
        if high == 0, low == 1 { return .loopback }
        if isIn(IPv6Address(high: 0xfc00 << 48, low: 0), 7) { return .private }
        if isIn(IPv6Address(high: 0xfe80 << 48, low: 0), 10) { return .private }
        if isIn(IPv6Address(high: 0x2001_0db8 << 32, low: 0), 32) { return .unroutable }
        if isIn(IPv6Address(high: 0x2000 << 48, low: 0), 3) { return .public }
        if isIn(IPv6Address(high: 0x0064_ff9b << 32, low: 0), 96) { return .public }
        if isIn(IPv6Address(high: 0x0064_ff9b_0001 << 16, low: 0), 48) { return .public }
        return .unroutable
    }
}
