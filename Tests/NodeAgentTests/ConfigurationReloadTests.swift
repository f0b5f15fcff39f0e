import CloudConfig
import Foundation
import Logging
import MeshNetwork
import NIOPosix
import TestSupport
import Testing
import Timing

@testable import NodeAgent

@Suite("The cloud-config while the node runs")
struct ConfigurationReloadTests {
    static let networkToken = (try? NetworkToken.generate().text) ?? ""

    /// A cloud-config with a mesh, `p2p` below that block, `rest` beside it.
    static func text(p2p: String = "", rest: String = "", token: String = networkToken) -> String {
        "#cloud-config\np2p:\n  network_token: \"\(token)\"\n  disable_dht: true\n\(p2p)\n\(rest)\n"
    }

    static func candidate(_ text: String) throws -> ConfigurationReload.Candidate {
        try ConfigurationWatcher.candidate(
            NodeConfiguration(files: [SourceFile(path: "/oem/90.yaml", text: text)]))
    }

    private static func second(_ seconds: Double) -> Instant { .zero + .seconds(seconds) }

    private func changes(
        _ old: String, _ new: String, isFounded: Bool = true
    ) throws -> [ConfigurationChange] {
        let (before, after) = (try Self.candidate(old), try Self.candidate(new))
        return ConfigurationChange.changes(
            from: before.configuration, to: after.configuration, isFounded: isFounded,
            changesToken: before.settings?.fixedToken != after.settings?.fixedToken)
    }

    // MARK: what is done about a change

    static let atOnce: [(String, String, String)] = [
        ("  role: master", "", "p2p.role"), ("  dynamic_roles: true", "", "p2p.dynamic_roles"),
        ("  minimum_nodes: 3", "", "p2p.minimum_nodes"),
        ("  auto: {ha: {enable: true}}", "", "p2p.auto.ha.enable"),
        ("  auto: {ha: {master_nodes: 2}}", "", "p2p.auto.ha.master_nodes"),
        ("  auto: {ha: {external_db: 'mysql://u:pw@h/d'}}", "", "p2p.auto.ha.external_db"),
        ("  auto: {ha: {replace_after: 7d}}", "", "p2p.auto.ha.replace_after"),
        ("  dns: true", "", "p2p.dns"),
        ("", "k3s: {args: [--disable=traefik]}", "k3s.args"), ("", "k3s: {env: {A: b}}", "k3s.env"),
        ("", "k3s: {enabled: true}", "k3s.enabled"),
        ("", "k3s: {embedded_registry: true}", "k3s.embedded_registry"),
        ("", "k3s-agent: {replace_args: true}", "k3s-agent.replace_args"),
        ("", "kubevip: {version: v9}", "kubevip.version"),
        ("", "kubevip: {config: {logging: 5}}", "kubevip.config"),
    ]

    @Test("a setting that can count at once does", arguments: atOnce)
    func live(p2p: String, rest: String, path: String) throws {
        let found = try changes(Self.text(), Self.text(p2p: p2p, rest: rest))
        #expect(found.map(\.path) == [path])
        #expect(found.map(\.outcome) == [.applied])
        #expect(found.first?.position?.file == "/oem/90.yaml")
    }

    static let foundations: [(String, String)] = [
        ("  network_id: other", "p2p.network_id"), ("  auto: {enable: false}", "p2p.auto.enable"),
        ("  loglevel: debug", "p2p.loglevel"), ("  publish_kubeconfig: false", "p2p.publish_kubeconfig"),
        ("  vpn: {use: false}", "p2p.vpn.use"),
        ("  vpn: {address: 10.1.0.9/24}", "p2p.vpn.address"),
        ("  vpn: {api_address: 10.1.0.250}", "p2p.vpn.api_address"),
        ("  vpn: {env: {IFACE: tun7}}", "p2p.vpn.env.IFACE"),
        ("  vpn: {env: {EDGEVPNMTU: '1300'}}", "p2p.vpn.env.EDGEVPNMTU"),
        ("  vpn: {env: {EDGEVPNMDNS: 'false'}}", "p2p.vpn.env.EDGEVPNMDNS"),
        ("  vpn: {env: {EDGEVPNLISTENMADDRS: /ip4/0.0.0.0/tcp/4001}}", "p2p.vpn.env.EDGEVPNLISTENMADDRS"),
        ("  vpn: {env: {DHCPLEASEDIR: /var/x}}", "p2p.vpn.env.DHCPLEASEDIR"),
    ]

    @Test("a foundation of the run takes another run", arguments: foundations)
    func foundation(p2p: String, path: String) throws {
        let found = try changes(Self.text(), Self.text(p2p: p2p))
        #expect(found.map(\.path) == [path])
        #expect(found.map(\.outcome) == [.restart])
    }

    static let ofKubeVIP = [
        ("kubevip: {enable: true}", "kubevip.enable"), ("kubevip: {eip: 192.168.1.9}", "kubevip.eip"),
        ("kubevip: {interface: ens18}", "kubevip.interface"),
    ]

    @Test("so does what decides which address is the node's outside the VPN", arguments: ofKubeVIP)
    func addressOutside(rest: String, path: String) throws {
        let found = try changes(Self.text(), Self.text(rest: rest))
        #expect(found.map(\.path) == [path])
        #expect(found.map(\.outcome) == [.restart])
    }

    @Test("a VPN that comes or goes takes another run, and a device that goes is taken away")
    func withoutVPN() throws {
        let without = Self.text(p2p: "  vpn: {create: false}")
        #expect(try changes(Self.text(), without).map(\.outcome) == [.restart])
        #expect(try changes(without, Self.text()).map(\.outcome) == [.restart])
        #expect(ConfigurationKey.ofDevice.contains("p2p.vpn.create"))
        let settings = try #require(try Self.candidate(without).settings)
        #expect(settings.addressing == .host)
        #expect(settings.apiAddress == nil)
        let beside = try #require(try Self.candidate(Self.text(p2p: "  vpn: {use: false}")).settings)
        #expect(beside.addressing == .besideVPN)
        #expect(beside.apiAddress != nil)
        let vpn = try #require(try Self.candidate(Self.text()).settings)
        #expect(vpn.addressing == .vpn)
    }

    @Test("what has no effect without a VPN is said")
    func unused() throws {
        func unused(_ p2p: String, _ rest: String = "") throws -> String {
            try #require(try Self.candidate(Self.text(p2p: p2p, rest: rest)).settings).unused.joined()
        }
        let servers = "  auto: {ha: {master_nodes: 2}}\n  vpn: {create: false}"
        #expect(try unused(servers).contains("no address moves between the servers"))
        #expect(
            !(try unused(servers, "kubevip: {eip: 192.168.1.9, interface: ens18}").contains(
                "no address moves")))
        #expect(try unused("  vpn: {create: false, api_address: 10.1.0.250}").contains("p2p.vpn.api_address"))
        #expect(!(try unused("  vpn: {api_address: 10.1.0.250}").contains("p2p.vpn.api_address")))
    }

    @Test("every value of the cloud-config is a key's: none changes unseen")
    func complete() throws {
        let rests = Self.atOnce.map { ($0.0, $0.1) } + Self.foundations.map { ($0.0, "") }
        for (p2p, rest) in rests {
            var (old, new) = (
                try Self.candidate(Self.text()).configuration,
                try Self.candidate(Self.text(p2p: p2p, rest: rest)).configuration
            )
            (old.warnings, old.positions, new.warnings, new.positions) = ([], [:], [], [:])
            // Its position is what tells a log level that is asked for from the default.
            if p2p.contains("loglevel") { continue }
            #expect(old != new)
        }
        // A value that is added to the model has to be added to the keys, and to this count.
        let mesh = P2PConfiguration()
        #expect(Mirror(reflecting: mesh).children.count == 16)
        #expect(Mirror(reflecting: mesh.vpn).children.count == 15)
        #expect(Mirror(reflecting: NodeConfiguration().k3s).children.count == 6)
        #expect(Mirror(reflecting: NodeConfiguration().kubeVIP).children.count == 8)
        #expect(Set(ConfigurationKey.all.map(\.path)).count == ConfigurationKey.all.count)
    }

    @Test("another token is another network, and no word of it is shown")
    func token() throws {
        let other = try NetworkToken.generate().text
        let found = try changes(Self.text(), Self.text(token: other))
        #expect(found.map(\.outcome) == [.restart])
        let line = try #require(found.first?.line)
        #expect(line == "p2p.network_token (/oem/90.yaml:3:18) is another")
    }

    @Test("the quorum is only settled once there is a cluster")
    func quorum() throws {
        let new = Self.text(p2p: "  minimum_nodes: 3")
        #expect(try changes(Self.text(), new, isFounded: false).map(\.outcome) == [.restart])
        #expect(try changes(Self.text(), new, isFounded: true).map(\.outcome) == [.applied])
    }

    @Test("the cluster's token stays what the cluster was founded with")
    func clusterToken() throws {
        let new = Self.text(rest: "k3s: {args: [--token=0123456789abcdef]}")
        let found = try changes(Self.text(), new)
        guard case .refused(let why)? = found.first?.outcome else {
            Issue.record("it was not refused: \(found)")
            return
        }
        #expect(why.contains("k3s token rotate"))
        #expect(found.first?.line.contains("0123456789abcdef") == false)
        #expect(try changes(Self.text(), new, isFounded: false).map(\.outcome) == [.restart])
    }

    @Test("what changes is shown, secrets are not")
    func masked() throws {
        let old = Self.text(rest: "k3s: {args: [--disable=traefik, --node-name=a], env: {HIDDEN: one}}")
        let new = Self.text(
            p2p: "  auto: {ha: {external_db: 'mysql://u:hush@h/d'}}",
            rest: "k3s: {args: [--disable=traefik, --agent-token=hush, --node-name=b], env: {HIDDEN: hush}}")
        let lines = try changes(old, new).map(\.line)
        #expect(lines.count == 3)
        #expect(lines[0].hasSuffix("unset → mysql://u:***@h/d"))
        #expect(
            lines[1].hasSuffix(
                "k3s.args (/oem/90.yaml:6:13): ---node-name=a +--agent-token=*** +--node-name=b"))
        #expect(lines[2].hasSuffix(": HIDDEN"))
        #expect(!lines.joined().contains("hush"))
    }

    // MARK: when

    private struct Driver {
        var core: ConfigurationReload
        var now = Instant.zero
        var effects: [ConfigurationReload.Effect] = []

        mutating func put(_ input: ConfigurationReload.Input, at seconds: Double) {
            now = ConfigurationReloadTests.second(seconds)
            effects = core.receive(input, at: now)
        }

        /// What the effects are, by name.
        var names: [String] {
            effects.map { effect in
                switch effect {
                case .read: "read"
                case .apply(_, let changes): "apply \(changes.map(\.path))"
                case .restart(let changes): "restart \(changes.map(\.path))"
                case .keep(let lines): "keep \(lines)"
                case .unchanged: "unchanged"
                }
            }
        }
    }

    private func driver() throws -> Driver {
        Driver(core: ConfigurationReload(current: try Self.candidate(Self.text()), at: .zero))
    }

    @Test("files are read once they have been left alone for a second, and after ten whatever happens")
    func settling() throws {
        var driver = try self.driver()
        for step in 0..<18 {
            driver.put(.touched, at: 1 + Double(step) * 0.5)
            #expect(driver.names == [])
        }
        #expect(driver.core.nextDeadline == Self.second(10.5))
        driver.put(.touched, at: 10.4)
        #expect(driver.core.nextDeadline == Self.second(11))
        driver.put(.tick, at: 11)
        #expect(driver.names == ["read"])
        // A change meanwhile is looked at afterwards.
        driver.put(.touched, at: 11.1)
        #expect(driver.names == [])
        driver.put(.same, at: 11.2)
        #expect(driver.core.nextDeadline == Self.second(12.1))
    }

    @Test("without a word of a change they are read once a minute")
    func patrol() throws {
        var driver = try self.driver()
        #expect(driver.core.nextDeadline == Self.second(60))
        driver.put(.tick, at: 60)
        #expect(driver.names == ["read"])
        #expect(driver.core.nextDeadline == nil)
        driver.put(.same, at: 61)
        #expect(driver.names == [])
        #expect(driver.core.nextDeadline == Self.second(121))
    }

    @Test("who asks is answered at once, also when nothing changed")
    func asked() throws {
        var driver = try self.driver()
        driver.put(.asked, at: 3)
        #expect(driver.names == ["read"])
        driver.put(.same, at: 3)
        #expect(driver.names == ["unchanged"])
        driver.put(.asked, at: 4)
        driver.put(.broken(["a"]), at: 4)
        driver.put(.asked, at: 5)
        driver.put(.same, at: 5)
        #expect(driver.names == [#"keep ["a"]"#])
    }

    @Test("what cannot be used is told once, and the former configuration stays until a good one is there")
    func broken() throws {
        var driver = try self.driver()
        driver.put(.asked, at: 1)
        driver.put(.broken(["line 3"]), at: 1)
        #expect(driver.names == [#"keep ["line 3"]"#])
        #expect(driver.core.problems == ["line 3"])
        driver.put(.tick, at: 61)
        driver.put(.broken(["line 3"]), at: 61)
        #expect(driver.names == [])
        driver.put(.asked, at: 70)
        driver.put(.read(try Self.candidate(Self.text(p2p: "  role: master")), isFounded: true), at: 70)
        #expect(driver.names == [#"apply ["p2p.role"]"#])
        #expect(driver.core.problems == [])
        #expect(driver.core.current.configuration.p2p?.role == .master)
        // The broken file is mended to what runs already.
        driver.put(.asked, at: 80)
        driver.put(.broken(["line 4"]), at: 80)
        driver.put(.asked, at: 90)
        driver.put(.read(driver.core.current, isFounded: true), at: 90)
        #expect(driver.names == ["apply []", "unchanged"])
        #expect(driver.core.problems == [])
    }

    @Test("a restart takes all changes with it, and is the last that is done")
    func restart() throws {
        var driver = try self.driver()
        driver.put(.asked, at: 1)
        let new = Self.text(p2p: "  role: master\n  network_id: other")
        driver.put(.read(try Self.candidate(new), isFounded: true), at: 1)
        #expect(driver.names == [#"restart ["p2p.network_id", "p2p.role"]"#])
        driver.put(.asked, at: 2)
        #expect(driver.names == [])
        #expect(driver.core.nextDeadline == nil)
    }

    @Test("one change that is refused keeps all of them out")
    func refused() throws {
        var driver = try self.driver()
        driver.put(.asked, at: 1)
        let new = Self.text(p2p: "  role: master", rest: "k3s: {args: [--token=0123456789abcdef]}")
        driver.put(.read(try Self.candidate(new), isFounded: true), at: 1)
        #expect(driver.names.first?.hasPrefix("keep") == true)
        #expect(driver.core.current.configuration.p2p?.role == nil)
        #expect(driver.core.problems.count == 1)
    }

    @Test("a node without a mesh takes up K3s' settings, and starts again for a mesh")
    func standalone() throws {
        let old = "#cloud-config\nk3s: {enabled: true}\n"
        let found = try changes(old, "#cloud-config\nk3s: {enabled: true, args: [--debug]}\n")
        #expect(found.map(\.path) == ["k3s.args"])
        #expect(found.map(\.outcome) == [.applied])
        let joined = try changes(old, Self.text(rest: "k3s: {enabled: true}"))
        #expect(joined.contains { $0.path == "p2p.network_token" && $0.outcome == .restart })
    }

    // MARK: the kernel

    @Test("a change in a folder below a watched one is told")
    func inotify() async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/reload-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder + "/inner", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (told, teller) = AsyncStream.makeStream(of: Void.self)
        let watch = try #require(
            await DirectoryWatch.start(
                on: MultiThreadedEventLoopGroup.singleton, logger: .init(label: "test")
            ) { teller.yield() })
        watch.watch([folder, "/no-such-folder"])
        var changes = told.makeAsyncIterator()
        try Data("a".utf8).write(to: URL(fileURLWithPath: folder + "/inner/new.yaml"))
        #expect(await changes.next() != nil)
        await watch.stop()
    }
}
