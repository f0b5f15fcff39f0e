internal import Testing

@testable import K3s

/// The traps of contract/k3s.md §20, where they concern what is written.
@Suite("Traps of K3s")
struct TrapTests {
    static func roles() throws -> [K3sRole] {
        [
            try Sample.founding(),
            try Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443"),
            .server(try Sample.join()), .agent(try Sample.join()),
        ]
    }

    @Test("1: no role's file has a key that its command does not know")
    func knownKeys() throws {
        for role in try Self.roles() {
            let state = try Sample.state(
                role, server: .init(embeddedRegistry: true), agent: .init(embeddedRegistry: true))
            #expect(state.config.entries.allSatisfy { $0.key.commands.contains(role.command) })
        }
    }

    @Test("1: a flag for servers among an agent's arguments is announced")
    func serverFlagForAgent() throws {
        let state = try Sample.state(
            .agent(Sample.join()),
            agent: .init(arguments: ["--disable=traefik", "--no-flannel", "--tls-sna=x"]))
        #expect(state.warnings.map(\.key) == ["disable", "no-flannel", "tls-sna"])
        #expect(state.warnings.allSatisfy { $0.what.hasPrefix("k3s-agent.args: ") })
    }

    @Test("2: the environment holds no K3s variable of ours")
    func environment() throws {
        for role in try Self.roles() {
            #expect(try Sample.state(role).environment.variables.isEmpty)
        }
    }

    @Test("3: node-ip and flannel-iface are always set together")
    func network() throws {
        for role in try Self.roles() {
            let config = try Sample.state(role).config
            #expect(config["node-ip"] == .list(["10.1.0.11"]))
            #expect(config["flannel-iface"] == .string("edgevpn0"))
        }
        let half = try Sample.state(
            Sample.founding(), server: .init(arguments: ["--node-ip=192.168.1.5"], replacesArguments: true))
        #expect(half.warnings.contains { $0.what.contains("--flannel-iface") })
    }

    @Test("4: a server never starts without a token, whatever the user replaces")
    func tokenOnServers() throws {
        for role in try Self.roles() {
            let replaced = UserSettings.Block(
                arguments: [], environment: [:], replacesArguments: true, replacesEnvironment: true)
            let state = try Sample.state(role, server: replaced, agent: replaced)
            #expect(state.config["token"] == .string(Sample.token))
        }
        for arguments in [["--token="], ["--token", ""], ["-t"]] {
            #expect(throws: K3sConfigurationError.tokenMissing(command: .server), "\(arguments)") {
                try Sample.state(.server(Sample.join()), server: .init(arguments: arguments))
            }
        }
    }

    @Test("6: a founder on SQLite is never given a server to join")
    func standby() throws {
        let alone = try Sample.state(Sample.founding(standby: "https://10.1.0.2:6443"))
        #expect(alone.config["server"] == nil && alone.config["cluster-init"] == nil)
        let many = try Sample.state(Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443"))
        #expect(many.config["server"] != nil && many.config["cluster-init"] == .bool(true))
    }

    @Test("6: learning of a standby is no reason to restart the founder")
    func standbyWithoutRestart() throws {
        let before = try Sample.state(Sample.founding(highlyAvailable: true))
        let after = try Sample.state(Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443"))
        #expect(before.files(binary: "k3s") != after.files(binary: "k3s"))
        #expect(before.fingerprint == after.fingerprint)
    }

    @Test("8: a server advertises its own address, never the API address")
    func advertised() throws {
        for role in try Self.roles() where role.command == .server {
            let state = try Sample.state(role)
            #expect(state.config["advertise-address"] == .string("10.1.0.11"))
            #expect(state.config["bind-address"] == nil)
        }
        #expect(throws: K3sConfigurationError.advertisesAPIAddress("10.1.0.2")) {
            try Sample.state(Sample.founding(), server: .init(arguments: ["--advertise-address=10.1.0.2"]))
        }
    }

    @Test("9: names are made distinct by node-name, and with-node-id on a server is announced")
    func nodeName() throws {
        for role in try Self.roles() { #expect(try Sample.state(role).config["node-name"] != nil) }
        let state = try Sample.state(Sample.founding(), server: .init(arguments: ["--with-node-id"]))
        #expect(state.config["node-name"] == nil)
        #expect(state.warnings.contains { $0.key == "with-node-id" })
    }

    @Test("an external datastore excludes cluster-init and server")
    func datastore() throws {
        let state = try Sample.state(
            Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443", datastore: "mysql://x"))
        #expect(state.config["cluster-init"] == nil && state.config["server"] == nil)
        #expect(throws: K3sConfigurationError.datastoreExcludesClusterInit) {
            try Sample.state(
                Sample.founding(datastore: "mysql://x"), server: .init(arguments: ["--cluster-init"]))
        }
    }

    @Test("a server's URL is https with a port, an address is an address")
    func edges() throws {
        #expect(try ServerURL("https://k8s.example.org").text == "https://k8s.example.org:6443")
        #expect(try ServerURL("https://[fd00::1]:7443/").text == "https://[fd00::1]:7443")
        #expect(ServerURL(address: try NodeAddress("fd00::1")).text == "https://[fd00::1]:6443")
        for text in [
            "http://a:6443", "https://", "https://a:0", "https://a:b", "https://:6443", "https://a/b", "a",
        ] {
            #expect(throws: K3sConfigurationError.serverURLInvalid(text)) { try ServerURL(text) }
        }
        for text in ["", "10.1.0", "10.1.0.1/24", "host", "[fd00::1]", "10.1.0.1\u{0}"] {
            #expect(throws: K3sConfigurationError.addressInvalid(text)) { try NodeAddress(text) }
        }
    }
}
