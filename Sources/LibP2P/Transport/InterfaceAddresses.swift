internal import Multiformats
internal import NIOCore

/// The addresses of this machine's interfaces.
enum InterfaceAddresses {
    /// All addresses, loopback included, link-local IPv6 left out: it means nothing without an
    /// interface's name, which is this machine's own.
    static func all() -> [IPAddress] {
        guard let devices = try? System.enumerateDevices() else { return [] }
        var addresses: [IPAddress] = []
        for device in devices {
            guard let address = device.address?.ip, !addresses.contains(address) else { continue }
            if case .v6(let address) = address, address.isIn(linkLocal, 10) { continue }
            addresses.append(address)
        }
        return addresses
    }

    private static let linkLocal = IPv6Address(high: 0xfe80 << 48, low: 0)

    /// The addresses at which a socket bound to `bound` is reached: itself, or for a wildcard every
    /// address in `interfaces` of its family.
    static func resolve(_ bound: Multiaddr, interfaces: [IPAddress]) -> [Multiaddr] {
        guard let ip = bound.ipAddress, let port = bound.tcpPort, ip.isUnspecified else { return [bound] }
        return interfaces.compactMap { address in
            switch (ip, address) {
            case (.v4, .v4), (.v6, .v6): Multiaddr.tcp(address, port: port)
            default: nil
            }
        }
    }
}
