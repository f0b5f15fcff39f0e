/// The subnet that the mesh's addresses are taken from: any IPv4 network of /8 to /30.
package struct VirtualSubnet: Hashable, Sendable, CustomStringConvertible {
    /// The network address: all host bits zero.
    package let network: VirtualAddress
    /// The number of leading bits that every member shares, 8 to 30.
    package let prefixLength: Int

    /// What EdgeVPN and Kairos use when nothing else is said (contract L.3).
    package static let standard = VirtualSubnet(base: VirtualAddress(rawValue: 0x0A01_0000), prefix: 24)

    private init(base: VirtualAddress, prefix: Int) {
        self.network = VirtualAddress(rawValue: base.rawValue & (UInt32.max << UInt32(32 - prefix)))
        self.prefixLength = prefix
    }

    /// Makes the subnet of `prefixLength` bits that holds `address`.
    ///
    /// Throws `AddressError.prefixOutOfRange` for a prefix that is not 8 to 30.
    package init(containing address: VirtualAddress, prefixLength: Int) throws(AddressError) {
        guard (8...30).contains(prefixLength) else { throw .prefixOutOfRange(prefixLength) }
        self.init(base: address, prefix: prefixLength)
    }

    /// Reads `10.1.0.0/24`, or an address of the subnet such as `10.1.0.1/24`.
    ///
    /// Throws `AddressError` that says what is wrong with `text`.
    package init(_ text: String) throws(AddressError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = VirtualAddress(parts[0]), parts[1].utf8.count <= 2,
            parts[1].utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
            let prefix = Int(parts[1])
        else { throw .malformedSubnet(text) }
        try self.init(containing: address, prefixLength: prefix)
    }

    /// The last address: all host bits one.
    package var broadcast: VirtualAddress {
        VirtualAddress(rawValue: network.rawValue | ~(UInt32.max << UInt32(32 - prefixLength)))
    }

    /// The netmask in the same byte order as an address.
    package var mask: UInt32 { UInt32.max << UInt32(32 - prefixLength) }

    /// How many addresses a node can have: all but the network's and the broadcast's.
    package var hostCount: Int { Int(broadcast.rawValue - network.rawValue) - 1 }

    /// The host at `index`, 0 being the first one after the network address; nil past the last.
    package func host(_ index: Int) -> VirtualAddress? {
        guard index >= 0, index < hostCount else { return nil }
        return VirtualAddress(rawValue: network.rawValue + 1 + UInt32(index))
    }

    /// The address set aside for the API server: the second host, 10.1.0.2 by default. The first
    /// one is what a stock node takes when it is first.
    package var standardAPIAddress: VirtualAddress {
        VirtualAddress(rawValue: network.rawValue + 2)
    }

    /// Whether `address` lies in the subnet, its network and broadcast address included.
    package func contains(_ address: VirtualAddress) -> Bool {
        address.rawValue & mask == network.rawValue
    }

    /// Whether a node can have `address`: inside, and neither network nor broadcast address.
    package func isHost(_ address: VirtualAddress) -> Bool {
        contains(address) && address != network && address != broadcast
    }

    package var description: String { "\(network)/\(prefixLength)" }
}
