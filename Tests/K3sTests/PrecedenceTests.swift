internal import Testing

@testable import K3s

@Suite("Who wins where the user sets what is generated")
struct PrecedenceTests {
    @Test("a scalar given as argument is the user's, in whatever form it is written")
    func scalarArgument() throws {
        for arguments in [["--flannel-iface=eth1"], ["--flannel-iface eth1"], ["-flannel-iface", "eth1"]] {
            let state = try Sample.state(Sample.founding(), server: .init(arguments: arguments))
            #expect(state.config["flannel-iface"] == nil, "\(arguments)")
            #expect(state.config["node-ip"] != nil)
        }
    }

    @Test("node-ip given as argument, by name or letter, is not given in the file too")
    func nodeAddress() throws {
        for arguments in [["--node-ip=192.168.1.9"], ["-i 192.168.1.9"]] {
            let state = try Sample.state(.agent(Sample.join()), agent: .init(arguments: arguments))
            #expect(state.config["node-ip"] == nil, "\(arguments)")
            #expect(state.config["flannel-iface"] == .string("edgevpn0"))
        }
    }

    @Test("tls-san of both goes to one place: the command line, ours first")
    func listOfBoth() throws {
        let state = try Sample.state(
            Sample.founding(), server: .init(arguments: ["--tls-san=k8s.example.org", "--tls-san", "b"]))
        #expect(state.config["tls-san"] == nil)
        #expect(
            state.arguments == [
                "server", "--tls-san=10.1.0.2", "--tls-san=k8s.example.org", "--tls-san", "b",
            ])
    }

    @Test("tls-san in our file adds to that of the user's files")
    func listAppended() throws {
        let entry = try #require(
            try Sample.state(Sample.founding()).config.entries.first { $0.key.name == "tls-san" })
        #expect(entry.appends && entry.value == .list(["10.1.0.2"]))
    }

    @Test("a variable K3s would read is not overruled by our file, unless it is empty")
    func variables() throws {
        let given = try Sample.state(
            .agent(Sample.join()),
            agent: .init(environment: [
                "K3S_TOKEN": "users", "K3S_URL": "https://other:6443", "K3S_NODE_NAME": "n",
            ]))
        for name in ["token", "server", "node-name"] { #expect(given.config[name] == nil) }
        let empty = try Sample.state(.agent(Sample.join()), agent: .init(environment: ["K3S_TOKEN": ""]))
        #expect(empty.config["token"] == .string(Sample.token))
    }

    @Test("the block of the other command has no effect")
    func otherBlock() throws {
        let state = try Sample.state(
            .agent(Sample.join()), server: .init(arguments: ["--disable=traefik"], environment: ["A": "b"]))
        #expect(state.arguments == ["agent"])
        #expect(state.environment.variables.isEmpty)
    }

    @Test("the user's token for servers is the one to publish")
    func clusterToken() throws {
        #expect(try UserSettings().clusterToken() == nil)
        let byArgument = UserSettings(
            server: .init(arguments: ["--token=abc"], environment: ["K3S_TOKEN": "def"]))
        #expect(try byArgument.clusterToken()?.secret == "abc")
        #expect(
            try UserSettings(server: .init(environment: ["K3S_TOKEN": "def"])).clusterToken()?.secret == "def"
        )
        #expect(throws: K3sConfigurationError.tokenUnfitForFounding(.full)) {
            try UserSettings(server: .init(arguments: ["-t", "K10abc"])).clusterToken()
        }
    }

    @Test("arguments are split as Kairos' command line splits them")
    func splitting() throws {
        let cases: [([String], [String])] = [
            (["--a b"], ["--a", "b"]), (["--a 'b c'"], ["--a", "b c"]),
            (["--a=\"b c\" d"], ["--a=b c", "d"]),
            (["it's"], ["it's"]), (["--a='open"], ["--a='open"]), (["", "  "], []),
            (["--re=\\d+", "x\\ y"], ["--re=\\d+", "x y"]),
            (["--json={\"a\":\"b\"}"], ["--json={\"a\":\"b\"}"]),
            (["a''b", "''"], ["a''b", ""]),
        ]
        for (items, words) in cases { #expect(try UserArguments(items).words == words, "\(items)") }
        #expect(throws: K3sConfigurationError.self) { try UserArguments(["a\u{0}b"]) }
    }

    @Test("a switch takes no value from the next word")
    func switches() throws {
        let arguments = try UserArguments([
            "--disable-scheduler", "--node-name", "x", "--debug=false", "word",
        ])
        #expect(arguments.settings.map(\.name) == ["disable-scheduler", "node-name", "debug"])
        #expect(arguments.value(of: "node-name") == "x")
        #expect(arguments.value(of: "debug") == "false")
    }

    @Test("words reach systemd literally")
    func unitQuoting() {
        #expect(UnitDropIn.quoted("--node-ip=10.1.0.1,fd00::1") == "--node-ip=10.1.0.1,fd00::1")
        #expect(UnitDropIn.quoted("") == "\"\"")
        #expect(UnitDropIn.quoted(";") == "\";\"")
        #expect(
            UnitDropIn.quoted("a $HOME 5% \"q\" \\ \n\u{1}") == "\"a $$HOME 5%% \\\"q\\\" \\\\ \\n\\x01\"")
    }
}
