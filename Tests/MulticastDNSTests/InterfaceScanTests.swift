import Multiformats
import Testing

@testable import MulticastDNS

@Suite("Interfaces of multicast DNS")
struct InterfaceScanTests {
    private func entry(
        _ name: String, _ index: UInt32, _ address: String, flags: UInt32 = 0x1001, isBridgePort: Bool = false
    ) throws -> InterfaceScan.Entry {
        InterfaceScan.Entry(
            name: name, index: index, flags: flags, address: try #require(IPAddress(address)),
            prefixLength: 24,
            isBridgePort: isBridgePort)
    }

    @Test("interfaces that are up and multicast are served, each family by itself")
    func chosen() throws {
        let entries = try [
            entry("eth0", 2, "192.168.1.5"), entry("eth0", 2, "192.168.2.5"), entry("eth0", 2, "fe80::1"),
            entry("eth1", 3, "10.0.0.1", flags: 0x1000), entry("ppp0", 4, "10.0.1.1", flags: 0x1),
            entry("lo", 1, "127.0.0.1", flags: 0x9), entry("veth1", 5, "10.0.2.1", isBridgePort: true),
            entry("edgevpn0", 6, "10.1.0.7"), entry("cni0", 7, "10.42.0.1"),
        ]
        let excluded = InterfaceFilter(InterfaceFilter.containerPatterns + ["edgevpn0"])
        let scan = InterfaceScan(entries: entries, excluded: excluded, includesLoopback: false)
        #expect(
            Set(scan.links.map(\.id)) == [.init(interface: 2, family: .v4), .init(interface: 2, family: .v6)])
        #expect(scan.links.first { $0.id.family == .v4 }?.prefixes.count == 2)
        #expect(Set(scan.excludedAddresses.map(\.description)) == ["10.1.0.7", "10.42.0.1"])
        let all = InterfaceScan(entries: entries, excluded: InterfaceFilter([]), includesLoopback: true)
        #expect(all.links.contains { $0.name == "lo" })
        #expect(all.excludedAddresses.isEmpty)
    }

    @Test("the kernel lists at least the loopback address")
    func kernel() throws {
        let entries = try InterfaceScan.currentEntries()
        #expect(entries.contains { $0.name == "lo" && $0.index == 1 })
    }

    @Test("a filter knows whole names and beginnings")
    func filter() {
        let filter = InterfaceFilter(["tun0", "cni*"])
        #expect(filter.contains("tun0") && filter.contains("cni0") && filter.contains("cni"))
        #expect(!filter.contains("tun01") && !filter.contains("xcni0"))
    }
}
