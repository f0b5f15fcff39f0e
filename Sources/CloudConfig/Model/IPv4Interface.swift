/// An IPv4 address together with the size of its network, as an interface has it: `10.1.0.1/24`.
package struct IPv4Interface: Hashable, Sendable, CustomStringConvertible {
    /// The address in host byte order: 10.1.0.1 is 0x0A010001.
    package let address: UInt32
    /// How many leading bits name the network, 0 to 32.
    package let prefixLength: UInt8

    /// Makes an address with its network's size; nil when `prefixLength` is beyond 32.
    package init?(address: UInt32, prefixLength: UInt8) {
        guard prefixLength <= 32 else { return nil }
        self.address = address
        self.prefixLength = prefixLength
    }

    /// Reads `10.1.0.1/24`.
    package init?(_ text: String) {
        let halves = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2, let address = Self.address(String(halves[0])) else { return nil }
        let digits = halves[1]
        guard (1...2).contains(digits.utf8.count), digits.utf8.allSatisfy(Self.isDigit),
            let length = UInt8(digits), length <= 32, digits == "\(length)"
        else { return nil }
        self.init(address: address, prefixLength: length)
    }

    /// The address that dotted decimal text spells, without leading zeros; nil when it spells none.
    package static func address(_ text: String) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var address: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy(isDigit), let byte = UInt8(part),
                part == "\(byte)"
            else { return nil }
            address = address << 8 | UInt32(byte)
        }
        return address
    }

    /// The bits of the network in host byte order: 0xFFFFFF00 for /24.
    package var mask: UInt32 { prefixLength == 0 ? 0 : UInt32.max << (32 - UInt32(prefixLength)) }
    /// The network's first address, which names it.
    package var networkAddress: UInt32 { address & mask }
    /// The network's last address, which is for broadcasts.
    package var broadcastAddress: UInt32 { address | ~mask }
    /// Whether a host of the network can have the address: it is neither the first nor the last one.
    package var isHost: Bool {
        prefixLength <= 30 && address != networkAddress && address != broadcastAddress
    }

    /// Whether `other` lies in the network.
    package func contains(_ other: UInt32) -> Bool {
        other & mask == networkAddress
    }

    /// The address alone: `10.1.0.1`.
    package var addressText: String { Self.text(address) }
    /// The network: `10.1.0.0/24`.
    package var networkText: String { "\(Self.text(networkAddress))/\(prefixLength)" }
    package var description: String { "\(addressText)/\(prefixLength)" }

    /// `address` in dotted decimal.
    package static func text(_ address: UInt32) -> String {
        "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
