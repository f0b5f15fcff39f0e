/// What can be wrong with the address or the subnet that a configuration gives.
package enum AddressError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text is not `a.b.c.d/prefix`.
    case malformedSubnet(String)
    /// The prefix is not 8 to 30.
    case prefixOutOfRange(Int)
    /// The fixed address does not lie in the subnet.
    case outsideSubnet(VirtualAddress, VirtualSubnet)
    /// The fixed address is the subnet's network or broadcast address.
    case notAHost(VirtualAddress, VirtualSubnet)
    /// The fixed address is the one set aside for the API server.
    case reservedForAPI(VirtualAddress)

    package var description: String {
        switch self {
        case .malformedSubnet(let text): "\"\(text)\" is not an IPv4 subnet"
        case .prefixOutOfRange(let prefix): "the subnet's prefix /\(prefix) is not between /8 and /30"
        case .outsideSubnet(let address, let subnet): "the address \(address) is outside the subnet \(subnet)"
        case .notAHost(let address, let subnet):
            "the address \(address) is the network or broadcast address of \(subnet)"
        case .reservedForAPI(let address): "the address \(address) is set aside for the API server"
        }
    }

    /// What an operator can do about it.
    package var remedy: String {
        switch self {
        case .malformedSubnet: "write it as address and prefix, such as 10.1.0.0/24"
        case .prefixOutOfRange: "use a prefix from /8 to /30; /24 is the default"
        case .outsideSubnet(_, let subnet): "give an address of \(subnet), or give the subnet it belongs to"
        case .notAHost(_, let subnet):
            "give an address between \(VirtualAddress(rawValue: subnet.network.rawValue + 1)) and "
                + "\(VirtualAddress(rawValue: subnet.broadcast.rawValue - 1))"
        case .reservedForAPI: "give the node another address, or the API server another one"
        }
    }
}
