package import Multiformats

/// A network in prefix notation.
package struct Subnet: Hashable, Sendable, CustomStringConvertible {
    /// An address of the network.
    package let address: IPAddress
    /// How many leading bits name the network: 0 to 32 or 0 to 128.
    package let prefixLength: Int

    /// Makes the network; nil when `prefixLength` does not fit the family.
    package init?(address: IPAddress, prefixLength: Int) {
        let limit =
            switch address {
            case .v4: 32
            case .v6: 128
            }
        guard (0...limit).contains(prefixLength) else { return nil }
        self.address = address
        self.prefixLength = prefixLength
    }

    /// Whether `other` lies in the network; an IPv4 address mapped into IPv6 counts as IPv4.
    package func contains(_ other: IPAddress) -> Bool {
        switch (address, other) {
        case (.v4(let network), .v4(let other)): other.isIn(network, prefixLength)
        case (.v6(let network), .v6(let other)): other.isIn(network, prefixLength)
        case (.v4(let network), .v6(let other)): other.mappedIPv4?.isIn(network, prefixLength) ?? false
        case (.v6, .v4): false
        }
    }

    package var description: String { "\(address)/\(prefixLength)" }
}

/// The networks that connections may neither come from nor go to, and whose addresses are never
/// advertised: the VPN's own subnet, which would tunnel the tunnel (contract/wire.md K.1).
package struct AddressBlocklist: Hashable, Sendable {
    package var subnets: [Subnet]

    package init(_ subnets: [Subnet] = []) {
        self.subnets = subnets
    }

    /// Whether `address` is in one of the networks.
    package func blocks(_ address: IPAddress) -> Bool {
        subnets.contains { $0.contains(address) }
    }

    /// Whether `address` begins with an IP address in one of the networks.
    package func blocks(_ address: Multiaddr) -> Bool {
        guard !subnets.isEmpty, let ipAddress = address.ipAddress else { return false }
        return blocks(ipAddress)
    }
}
