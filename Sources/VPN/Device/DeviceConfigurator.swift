internal import Glibc

/// Gives the VPN device its MTU, addresses and route, and touches nothing that is right already: a
/// restarted agent that finds its device as it left it sends the kernel only questions.
package final class DeviceConfigurator: @unchecked Sendable {
    // Unchecked because `netlink` holds the sequence number; `apply` says that calls must not overlap.
    private let name: String
    private let subnet: VirtualSubnet
    private let mtu: UInt32
    private var netlink: RouteNetlink

    init(name: String, subnet: VirtualSubnet, mtu: UInt32, transport: any NetlinkTransport) {
        self.name = name
        self.subnet = subnet
        self.mtu = mtu
        self.netlink = RouteNetlink(transport: transport)
    }

    /// Makes a configurator for the device `name` of the calling thread's network namespace, and turns
    /// IPv6 off on the device, which must be there.
    ///
    /// Throws `TunDeviceError.configuration` when there is no netlink socket to be had.
    package convenience init(name: String, subnet: VirtualSubnet, mtu: UInt32) throws(TunDeviceError) {
        let socket: NetlinkSocket
        do {
            socket = try NetlinkSocket()
        } catch {
            throw .configuration(name: name, error)
        }
        self.init(name: name, subnet: subnet, mtu: mtu, transport: socket)
        Self.disableIPv6(on: name)
    }

    /// What `apply` found and did.
    package struct Outcome: Hashable, Sendable {
        /// The interface index.
        package var index: UInt32
        /// What was changed, in words, for the log; empty when all was right.
        package var changes: [String]

        package init(index: UInt32, changes: [String]) {
            self.index = index
            self.changes = changes
        }
    }

    /// Makes the device have `address` in the subnet, the further addresses as single hosts, no other
    /// address of the subnet, the MTU, the route to the subnet, and be up. Addresses outside the
    /// subnet belong to others and stay. Calls must not overlap.
    ///
    /// Throws `TunDeviceError` with what the kernel refused.
    package func apply(
        address: VirtualAddress, additional: Set<VirtualAddress> = []
    ) throws(TunDeviceError) -> Outcome {
        do {
            return try reconcile(address: address, additional: additional)
        } catch .refused(_, let errno) where errno == ENODEV {
            throw .vanished(name: name)
        } catch {
            throw .configuration(name: name, error)
        }
    }

    /// Takes every address of the subnet off the device, which stays up.
    ///
    /// Throws `TunDeviceError` with what the kernel refused.
    package func clear() throws(TunDeviceError) {
        do {
            guard let link = try netlink.link(named: name) else { return }
            for assigned in try netlink.addresses(ofLink: link.index) where subnet.contains(assigned.address)
            {
                try netlink.remove(assigned, fromLink: link.index)
            }
        } catch {
            throw .configuration(name: name, error)
        }
    }

    private func reconcile(
        address: VirtualAddress, additional: Set<VirtualAddress>
    ) throws(NetlinkError) -> Outcome {
        guard let link = try netlink.link(named: name) else {
            throw .refused(request: "look up the device \(name)", errno: ENODEV)
        }
        var changes: [String] = []
        if link.mtu != mtu {
            try netlink.setMTU(mtu, ofLink: link.index)
            changes.append("MTU \(link.mtu) to \(mtu)")
        }
        if !link.isUp {
            // No address of ours may be announced by the kernel on IPv6 once the device is up.
            try? netlink.disableIPv6Addresses(ofLink: link.index)
            try netlink.setUp(link.index)
            changes.append("set up")
        }
        var wanted = Set(additional.subtracting([address]).map { AssignedAddress($0, prefixLength: 32) })
        wanted.insert(AssignedAddress(address, prefixLength: UInt8(subnet.prefixLength)))
        var present = try netlink.addresses(ofLink: link.index)
        let own = AssignedAddress(address, prefixLength: UInt8(subnet.prefixLength))
        if !present.contains(own) {
            // The node's own address comes first on the device, so a single one there is put on anew.
            for single in present.intersection(wanted) {
                try netlink.remove(single, fromLink: link.index)
                present.remove(single)
            }
        }
        // Removing first: the kernel takes the first address of a subnet for the source of its route.
        for stale in present.subtracting(wanted).sorted(by: { $0.address < $1.address })
        where subnet.contains(stale.address) {
            try netlink.remove(stale, fromLink: link.index)
            changes.append("remove \(stale.address)/\(stale.prefixLength)")
        }
        for missing in wanted.subtracting(present).sorted(by: { $0.prefixLength < $1.prefixLength }) {
            try netlink.add(missing, toLink: link.index)
            changes.append("add \(missing.address)/\(missing.prefixLength)")
        }
        // The kernel routes the subnet of an address by itself, unless someone took the route away.
        let route = AssignedRoute(destination: subnet.network, prefixLength: UInt8(subnet.prefixLength))
        if !(try netlink.routes(ofLink: link.index).contains(route)) {
            try netlink.addRoute(to: subnet, from: address, throughLink: link.index)
            changes.append("route \(subnet)")
        }
        return Outcome(index: link.index, changes: changes)
    }

    /// Turns IPv6 off on the device by its sysctl. A kernel without IPv6 has none, and a sandboxed
    /// service may not write it: `reconcile` then still keeps addresses from being made.
    private static func disableIPv6(on name: String) {
        guard TunDeviceError.isValidName(name) else { return }
        let descriptor = open("/proc/sys/net/ipv6/conf/\(name)/disable_ipv6", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var present: UInt8 = 0
        if read(descriptor, &present, 1) == 1, present == UInt8(ascii: "1") { return }
        _ = pwrite(descriptor, "1\n", 2, 0)
    }
}
