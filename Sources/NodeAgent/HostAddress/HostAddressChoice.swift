internal import MulticastDNS
package import VPN

/// Which of the host's IPv4 addresses is the node's outside the VPN.
///
/// An address that the node has goes on being its address for as long as an interface holds it: K3s' etcd
/// knows a server by it (contract/k3s.md §11.3), and a route that comes and goes must not move it.
package struct HostAddressChoice: Sendable {
    /// The interface that the cloud-config names (`kubevip.interface`); nil leaves it to the default route.
    private let preferred: String?
    private let excluded: InterfaceFilter
    /// Addresses that only visit this host: the one that kube-vip moves.
    private let visitors: Set<VirtualAddress>
    /// What was chosen last.
    package private(set) var current: HostAddress?

    /// - Parameters:
    ///   - vpnInterface: an interface whose address is never taken.
    ///   - visitor: what leads to whichever server works, if it is an address.
    package init(preferred: String?, vpnInterface: String, visitor: VirtualAddress? = nil) {
        self.preferred = preferred
        excluded = InterfaceFilter(InterfaceFilter.containerPatterns + ["lo", "veth*", vpnInterface])
        visitors = visitor.map { [$0] } ?? []
    }

    /// Chooses anew; nil when there is no address to choose.
    ///
    /// - Parameters:
    ///   - addresses: the host's IPv4 addresses in the kernel's order.
    ///   - routes: the interfaces of default routes, the preferred one first.
    ///   - configured: what K3s was last configured with, in an earlier life too. It goes first: where a server of
    ///     an etcd was kept from taking another one, this is the one it waits for.
    package mutating func choose(
        among addresses: [HostAddress], defaultRoutes routes: [String], configured: VirtualAddress? = nil
    ) -> HostAddress? {
        let usable = addresses.filter { candidate in
            guard !visitors.contains(candidate.address), !candidate.address.isOfThisHostAlone else {
                return false
            }
            return preferred.map { candidate.interface == $0 } ?? !excluded.contains(candidate.interface)
        }
        current =
            usable.first { $0.address == configured } ?? usable.first { $0 == current }
            ?? usable.first { $0.address == current?.address }
            ?? routes.lazy.compactMap { route in usable.first { $0.interface == route } }.first
            ?? usable.first
        return current
    }
}

extension VirtualAddress {
    /// Loopback and link-local addresses, and none at all: they mean nothing to other hosts.
    fileprivate var isOfThisHostAlone: Bool {
        rawValue >> 24 == 127 || rawValue >> 16 == 0xA9FE || rawValue >> 24 == 0
    }
}

/// The default routes of Linux' `/proc/net/route`.
package enum DefaultRoutes {
    /// The interfaces of the IPv4 default routes that are up, the lowest metric first. Lines of another shape
    /// are passed over.
    package static func interfaces(in table: String) -> [String] {
        var routes: [(interface: String, metric: UInt32)] = []
        for line in table.split(separator: "\n").dropFirst() {
            let fields = line.split { $0 == "\t" || $0 == " " }
            guard fields.count >= 8, fields[1] == "00000000", fields[7] == "00000000",
                let flags = UInt32(fields[3], radix: 16), flags & 1 == 1, let metric = UInt32(fields[6])
            else { continue }
            routes.append((String(fields[0]), metric))
        }
        // Among equals the table's order stands.
        return routes.enumerated().sorted {
            ($0.element.metric, $0.offset) < ($1.element.metric, $1.offset)
        }.map(\.element.interface)
    }
}
