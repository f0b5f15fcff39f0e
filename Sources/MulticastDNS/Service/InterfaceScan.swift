internal import CLinuxNet
internal import Glibc
internal import Multiformats

/// The links that multicast DNS is to serve, and which addresses must not be advertised.
struct InterfaceScan: Hashable, Sendable {
    var links: [MulticastLink] = []
    /// Addresses of interfaces that are excluded: nobody is to dial this node there.
    var excludedAddresses: Set<IPAddress> = []

    /// One address of one interface, as the kernel tells.
    struct Entry: Hashable, Sendable {
        var name: String
        var index: UInt32
        var flags: UInt32
        var address: IPAddress
        var prefixLength: Int
        var isBridgePort: Bool
    }

    /// Chooses from what the kernel told. An interface serves when it is up and can multicast, is no
    /// port of a bridge (the bridge hears for it), and is not excluded; loopback only when asked for.
    init(entries: [Entry], excluded: InterfaceFilter, includesLoopback: Bool) {
        var prefixes: [MulticastLink.ID: [MulticastLink.Prefix]] = [:]
        var names: [UInt32: String] = [:]
        for entry in entries {
            if excluded.contains(entry.name) {
                excludedAddresses.insert(entry.address)
                continue
            }
            let isLoopback = entry.flags & UInt32(IFF_LOOPBACK) != 0
            guard entry.flags & UInt32(IFF_UP) != 0, !entry.isBridgePort, entry.index != 0,
                isLoopback ? includesLoopback : entry.flags & UInt32(IFF_MULTICAST) != 0
            else { continue }
            let family: MulticastLink.ID.Family =
                switch entry.address {
                case .v4: .v4
                case .v6: .v6
                }
            names[entry.index] = entry.name
            let prefix = MulticastLink.Prefix(address: entry.address, length: entry.prefixLength)
            prefixes[MulticastLink.ID(interface: entry.index, family: family), default: []].append(prefix)
        }
        for (id, prefixes) in prefixes {
            links.append(MulticastLink(id: id, name: names[id.interface] ?? "", prefixes: prefixes))
        }
    }

    /// What the kernel tells now; an error number when it tells nothing.
    static func currentEntries() throws(InterfaceScanError) -> [Entry] {
        // A node with many pods has hundreds of interfaces; what does not fit is not served.
        var buffer = [clinuxnet_interface_address](repeating: clinuxnet_interface_address(), count: 1024)
        let result = clinuxnet_interface_addresses(&buffer, Int32(buffer.count))
        guard result >= 0 else { throw InterfaceScanError(code: -result) }
        return buffer.prefix(Int(result)).compactMap { entry in
            let bytes = withUnsafeBytes(of: entry.address) { Array($0) }
            guard let address = IPAddress(bytes: bytes.prefix(entry.family == AF_INET ? 4 : 16)) else {
                return nil
            }
            let name = withUnsafeBytes(of: entry.name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            return Entry(
                name: name, index: entry.index, flags: entry.flags, address: address,
                prefixLength: Int(entry.prefix_length), isBridgePort: entry.is_bridge_port != 0)
        }
    }
}

/// The kernel did not tell its interfaces.
struct InterfaceScanError: Error, Hashable, CustomStringConvertible {
    /// An errno.
    let code: Int32

    var description: String { "the network interfaces cannot be listed (error \(code))" }
}

/// Names of network interfaces: whole ones, or beginnings followed by `*`.
package struct InterfaceFilter: Hashable, Sendable {
    private let names: Set<String>
    private let beginnings: [String]

    package init(_ patterns: some Sequence<String>) {
        var names: Set<String> = []
        var beginnings: [String] = []
        for pattern in patterns {
            if pattern.hasSuffix("*") {
                beginnings.append(String(pattern.dropLast()))
            } else {
                names.insert(pattern)
            }
        }
        self.names = names
        self.beginnings = beginnings
    }

    /// Interfaces of a Kubernetes node whose other ends are pods, never neighbours.
    package static let containerPatterns = [
        "cni*", "flannel*", "cali*", "cilium*", "lxc*", "kube-*", "docker*", "nodelocaldns",
    ]

    package func contains(_ name: String) -> Bool {
        names.contains(name) || beginnings.contains(where: name.hasPrefix)
    }
}
