import Testing
import VPN

@testable import NodeAgent

@Suite("The host's own address")
struct HostAddressChoiceTests {
    private func host(_ address: String, _ interface: String) throws -> HostAddress {
        HostAddress(address: try #require(VirtualAddress(address)), interface: interface)
    }

    private func choice(
        preferred: String? = nil, visitor: String? = nil
    ) -> HostAddressChoice {
        HostAddressChoice(
            preferred: preferred, vpnInterface: "edgevpn0", visitor: visitor.flatMap { VirtualAddress($0) })
    }

    @Test("is that of the default route, and without one the first that others can reach")
    func defaultRoute() throws {
        let addresses = try [
            host("127.0.0.1", "lo"), host("10.42.0.1", "cni0"), host("10.1.0.7", "edgevpn0"),
            host("169.254.3.4", "ens3"), host("192.168.1.21", "ens18"), host("172.16.0.9", "ens19"),
        ]
        var routed = choice()
        #expect(
            routed.choose(among: addresses, defaultRoutes: ["edgevpn0", "ens19", "ens18"])
                == (try host("172.16.0.9", "ens19")))
        var unrouted = choice()
        #expect(
            unrouted.choose(among: addresses, defaultRoutes: []) == (try host("192.168.1.21", "ens18")))
        var poor = choice()
        #expect(poor.choose(among: Array(addresses.prefix(4)), defaultRoutes: ["ens3"]) == nil)
    }

    @Test("is that of the interface that the cloud-config names, and of no other")
    func preferred() throws {
        let addresses = try [host("192.168.1.21", "ens18"), host("172.16.0.9", "ens19")]
        var chosen = choice(preferred: "ens19")
        #expect(
            chosen.choose(among: addresses, defaultRoutes: ["ens18"]) == (try host("172.16.0.9", "ens19")))
        #expect(chosen.choose(among: [addresses[0]], defaultRoutes: ["ens18"]) == nil)
    }

    @Test("is never the one that moves between servers")
    func visitor() throws {
        let addresses = try [host("192.168.1.110", "ens18"), host("192.168.1.21", "ens18")]
        var chosen = choice(visitor: "192.168.1.110")
        #expect(
            chosen.choose(among: addresses, defaultRoutes: ["ens18"]) == (try host("192.168.1.21", "ens18")))
    }

    @Test("stays while an interface holds it, whatever becomes of routes and interfaces")
    func stays() throws {
        let first = try host("192.168.1.21", "ens18")
        let other = try host("172.16.0.9", "ens19")
        var chosen = choice()
        #expect(chosen.choose(among: [first], defaultRoutes: ["ens18"]) == first)
        #expect(chosen.choose(among: [other, first], defaultRoutes: ["ens19"]) == first)
        let bridged = try host("192.168.1.21", "br0")
        #expect(chosen.choose(among: [other, bridged], defaultRoutes: ["ens19"]) == bridged)
        #expect(chosen.choose(among: [other], defaultRoutes: ["ens19"]) == other)
    }

    @Test("is the one that K3s has, if it is there: in a later life, and when it comes back")
    func configured() throws {
        let addresses = try [host("192.168.1.21", "ens18"), host("172.16.0.9", "ens19")]
        let known = VirtualAddress("172.16.0.9")
        var chosen = choice()
        #expect(chosen.choose(among: addresses, defaultRoutes: ["ens18"], configured: known) == addresses[1])
        #expect(
            chosen.choose(among: [addresses[0]], defaultRoutes: ["ens18"], configured: known) == addresses[0])
        #expect(chosen.choose(among: addresses, defaultRoutes: ["ens18"], configured: known) == addresses[1])
        // The address of a VPN that the node had is none of the host's.
        var former = choice()
        let vpn = try host("10.1.0.7", "edgevpn0")
        #expect(
            former.choose(among: [vpn] + addresses, defaultRoutes: ["ens18"], configured: vpn.address)
                == addresses[0])
    }

    @Test("default routes are read with the lowest metric first, and nothing else is taken for one")
    func routes() {
        let header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        let table =
            header + "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
            + "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
            + "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
            + "down0\t00000000\t0101A8C0\t0002\t0\t0\t1\t00000000\t0\t0\t0\n"
            + "half0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\nshort\t00000000\n\n"
        #expect(DefaultRoutes.interfaces(in: table) == ["eth0", "wlan0"])
        #expect(DefaultRoutes.interfaces(in: "") == [])
        #expect(DefaultRoutes.interfaces(in: header) == [])
    }
}
