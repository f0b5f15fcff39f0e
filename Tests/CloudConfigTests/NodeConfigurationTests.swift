import MeshNetwork
import TestSupport
import Testing

@testable import CloudConfig

/// Reads a configuration out of texts that stand for files `0.yaml`, `1.yaml` and so on.
func configuration(_ texts: String...) throws -> NodeConfiguration {
    try NodeConfiguration(files: texts.enumerated().map { SourceFile(path: "\($0).yaml", text: $1) })
}

/// The problems that such a configuration has.
func problems(_ texts: String...) -> [String] {
    do throws(ConfigurationFailure) {
        _ = try NodeConfiguration(files: texts.enumerated().map { SourceFile(path: "\($0).yaml", text: $1) })
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

@Suite("The typed model")
struct NodeConfigurationTests {
    @Test("the example of the issue reads as it is meant, and the hostname's template is left alone")
    func example() throws {
        let node = try configuration(
            """
            #cloud-config
            hostname: kairoslab-{{ trunc 4 .MachineID }}
            p2p:
              disable_dht: true
              minimum_nodes: 3
              network_token: "\(Tokens.valid)"
            """)
        let p2p = try #require(node.p2p)
        #expect(node.hostname == "kairoslab-{{ trunc 4 .MachineID }}")
        #expect(p2p.disableDHT && !p2p.vpn.dht)
        #expect(p2p.requiredNodes == 3)
        let token = try NetworkToken(Tokens.valid)
        #expect(p2p.networkToken == token)
        #expect(p2p.isAutoEnabled && p2p.electsRoles && !p2p.isHighlyAvailable)
        #expect(p2p.vpn.createsInterface && p2p.vpn.carriesKubernetes)
        #expect(p2p.vpn.addressing == .automatic(network: VPNConfiguration.defaultNetwork))
        #expect(p2p.networkID == "kairos" && p2p.role == nil && p2p.logLevel == .debug)
        #expect(p2p.vpn.interfaceName == "edgevpn0" && p2p.vpn.mtu == nil && p2p.vpn.multicastDNS)
        #expect(node.warnings.isEmpty)
        #expect(node.positions["p2p.minimum_nodes"] == SourcePosition(file: "0.yaml", line: 5, column: 18))
    }

    @Test("every field of the blocks is read")
    func allFields() throws {
        let node = try configuration(
            """
            p2p:
              network_token: "\(Tokens.valid)"
              network_id: lab
              role: worker
              dns: yes
              disable_dht: false
              loglevel: warn
              minimum_nodes: 5
              dynamic_roles: true
              bootstrap_peers: [\(Self.peer)]
              auto:
                enable: false
                ha: {enable: true, master_nodes: 2, external_db: "mysql://u:p@h/db"}
              vpn:
                create: false
                use: false
                api_address: 10.1.0.250
                env: {EDGEVPNMTU: 1300, EDGEVPNDHT: false, HEALTHCHECKINTERVAL: "60"}
            k3s: {enabled: true, args: [--disable=traefik, 7], env: {K3S_TOKEN: x, N: 1}, replace_args: true,
              replace_env: true, embedded_registry: true}
            k3s-agent: {enabled: false, args: [--node-label=a=b]}
            k0s: {enabled: false, args: [--single]}
            k0s-worker: {env: {A: b}}
            kubevip: {enable: true, eip: 192.168.1.110, interface: ens18, static_pod: true, version: v1, image: i,
              manifest_url: https://x/y, config: {enableServices: true}}
            """)
        let p2p = try #require(node.p2p)
        #expect(p2p.networkID == "lab" && p2p.role == .worker && p2p.dns && !p2p.disableDHT)
        #expect(p2p.logLevel == .warn && p2p.minimumNodes == 5 && p2p.dynamicRoles)
        #expect(p2p.autoEnable == false && !p2p.electsRoles && p2p.isAutoEnabled)
        #expect(p2p.isHighlyAvailable && p2p.additionalServers == 2)
        #expect(p2p.externalDatabase?.revealed == "mysql://u:p@h/db")
        #expect(p2p.bootstrapPeers == [Self.peer])
        #expect(!p2p.vpn.createsInterface && !p2p.vpn.carriesKubernetes)
        #expect(p2p.vpn.mtu == 1300 && !p2p.vpn.dht && p2p.vpn.apiAddress == 0x0A01_00FA)
        #expect(node.k3s.isEnabled && node.k3s.arguments == ["--disable=traefik", "7"])
        #expect(node.k3s.environment.revealed == ["K3S_TOKEN": "x", "N": "1"])
        #expect(node.k3s.replacesArguments && node.k3s.replacesEnvironment && node.k3s.embeddedRegistry)
        #expect(node.k3sAgent.enabled == false && node.k3sAgent.arguments == ["--node-label=a=b"])
        #expect(node.k0s.arguments == ["--single"] && node.k0sWorker.environment["A"] == "b")
        #expect(node.kubeVIP.isEnabled && node.kubeVIP.address == "192.168.1.110" && node.kubeVIP.staticPod)
        #expect(
            node.kubeVIP.interface == "ens18" && node.kubeVIP.version == "v1" && node.kubeVIP.image == "i")
        #expect(node.kubeVIP.settings?["enableServices"]?.value.scalar?.text == "true")
        #expect(node.warnings.map(\.keyPath) == ["p2p.vpn.env.HEALTHCHECKINTERVAL"])
    }

    private static let peer =
        "/ip4/192.168.1.10/tcp/4001/p2p/12D3KooWLbZfrJsPWpE4A9YzLvhqot6vPrEMvAQ62oJyZBZDriXk"

    @Test("no block p2p is no mesh; an empty one is a mesh with every default")
    func presence() throws {
        #expect(try configuration("hostname: a").p2p == nil)
        #expect(try configuration("p2p:\nk3s: {enabled: true}").p2p != nil)
        #expect(try configuration("p2p: {}\nk3s: {enabled: true}").p2p?.requiredNodes == 2)
    }

    @Test("role: none, an empty role, an empty token and minimum_nodes: 0 are unset")
    func unset() throws {
        let p2p = try configuration(
            "p2p: {role: none, network_token: '', minimum_nodes: 0}\nk3s-agent: {enabled: true}"
        ).p2p
        #expect(p2p?.role == nil && p2p?.networkToken == nil && p2p?.requiredNodes == 2)
        #expect(p2p?.isAutoEnabled == false)
        #expect(try configuration("p2p: {role: ''}\nk3s: {enabled: true}").p2p?.role == nil)
    }

    @Test(
        "high availability is on when asked for or when a number is given, and off when refused",
        arguments: [
            ("{}", false, 0), ("{master_nodes: 2}", true, 2), ("{enable: true}", true, 0),
            ("{enable: true, master_nodes: 2}", true, 2), ("{enable: false, master_nodes: 2}", false, 0),
        ])
    func highAvailability(ha: String, isOn: Bool, servers: Int) throws {
        let p2p = try configuration("p2p: {network_token: \(Tokens.valid), auto: {ha: \(ha)}}").p2p
        #expect(p2p?.isHighlyAvailable == isOn && p2p?.additionalServers == servers)
    }

    @Test(
        "how long a server may be away is a number and a unit",
        arguments: [
            ("1m", 60), ("90s", 90), ("24h", 86_400), ("7d", 604_800), ("365d", 31_536_000), ("''", nil),
            ("~", nil),
        ] as [(String, Int64?)])
    func replaceAfter(text: String, seconds: Int64?) throws {
        let block = "p2p: {network_token: \(Tokens.valid), auto: {ha: {replace_after: \(text)}}}"
        #expect(try configuration(block).p2p?.replaceServersAfter == seconds.map { .seconds($0) })
    }

    @Test(
        "a duration that is none, or out of reason, is refused",
        arguments: ["59s", "366d", "1w", "m", "-5m", "1.5h", "1 h", "60", "99999999999999999999d", "1h30m"])
    func badReplaceAfter(text: String) throws {
        let block = "p2p: {network_token: \(Tokens.valid), auto: {ha: {replace_after: '\(text)'}}}"
        let failure = #expect(throws: ConfigurationFailure.self) { try configuration(block) }
        #expect(failure?.problems.first?.keyPath == "p2p.auto.ha.replace_after")
    }

    @Test(
        "a wrong value is refused with its place, what was found and what is accepted",
        arguments: [
            (
                "minimum_nodes: three", "2:18",
                #"minimum_nodes: found "three" (a string); a whole number from 1 to 256 is accepted"#
            ),
            (
                "minimum_nodes: 257", "2:18",
                #"minimum_nodes: found "257" (a whole number); a whole number from 1 to 256 is accepted"#
            ),
            (
                "minimum_nodes: -1", "2:18",
                #"minimum_nodes: found "-1" (a whole number); a whole number from 1 to 256 is accepted"#
            ),
            (
                "minimum_nodes: 2.5", "2:18",
                #"minimum_nodes: found "2.5" (a decimal number); a whole number from 1 to 256 is accepted"#
            ),
            (
                "minimum_nodes: 99999999999999999999999", "2:18",
                #"minimum_nodes: found "99999999999999999999999" (a whole number); a whole number from 1 to 256 is accepted"#
            ),
            (
                "minimum_nodes: {a: b}", "2:18",
                "minimum_nodes: found a map; a whole number from 1 to 256 is accepted"
            ),
            (
                "minimum_nodes: [3]", "2:18",
                "minimum_nodes: found a list; a whole number from 1 to 256 is accepted"
            ),
            (
                "dns: 1", "2:8",
                #"dns: found "1" (a whole number); true or false, without quotes, is accepted"#
            ),
            (
                "dns: 'true'", "2:8",
                #"dns: found "true" (a string); true or false, without quotes, is accepted"#
            ),
            ("role: server", "2:9", #"role: found "server" (a string); master, worker or none is accepted"#),
            (
                "network_id: a b", "2:15",
                #"network_id: found "a b" (a string); a text of 1 to 128 characters without white space and slashes is accepted"#
            ),
            ("auto: true", "2:9", #"auto: found "true" (a boolean); a map is accepted"#),
            (
                "auto: {ha: {master_nodes: x}}", "2:29",
                #"auto.ha.master_nodes: found "x" (a string); a whole number from 1 to 100 is accepted"#
            ),
            (
                "bootstrap_peers: x", "2:20",
                #"bootstrap_peers: found "x" (a string); a list, each item a multiaddr with a peer ID, such as /ip4/192.168.1.10/tcp/4001/p2p/12D3Koo…, is accepted"#
            ),
            (
                "bootstrap_peers: [/ip4/1.2.3.4/tcp/1]", "2:21",
                #"bootstrap_peers[0]: found "/ip4/1.2.3.4/tcp/1" (a string); a multiaddr with a peer ID, such as /ip4/192.168.1.10/tcp/4001/p2p/12D3Koo…, is accepted"#
            ),
            (
                "vpn: {address: 10.1.0.0/24}", "2:18",
                #"vpn.address: found "10.1.0.0/24" (a string); a host's IPv4 address with its network's size, such as 10.1.0.5/24, is accepted"#
            ),
            (
                "vpn: {api_address: 10.2.0.1}", "2:22",
                #"vpn.api_address: found "10.2.0.1"; a host's address of the network 10.1.0.0/24 is accepted"#
            ),
            ("vpn: {env: [A=b]}", "2:14", "vpn.env: found a list; a map of names and texts is accepted"),
            ("vpn: {env: {A: [b]}}", "2:18", "vpn.env.A: found a list; text is accepted"),
            (
                "vpn: {env: {EDGEVPNMTU: big}}", "2:27",
                #"vpn.env.EDGEVPNMTU: found "big"; a whole number from 576 to 65535 is accepted"#
            ),
            ("vpn: {env: {DHCP: maybe}}", "2:21", #"vpn.env.DHCP: found "maybe"; true or false is accepted"#),
        ])
    func wrongValues(line: String, place: String, message: String) {
        #expect(
            problems("p2p:\n  \(line)\n  network_token: \(Tokens.valid)\n") == [
                "0.yaml:\(place): p2p.\(message)"
            ])
    }

    @Test("every problem is told at once, in the order of the model")
    func allProblems() {
        let found = problems("p2p: {dns: 5, role: x, network_token: \(Tokens.valid)}\nk3s: {args: a, env: 3}")
        #expect(found.count == 4)
    }

    @Test(
        "p2p and k3s must be maps",
        arguments: ["p2p: true", "p2p: [a]", "k3s: yes", "k3s-agent: [x]", "kubevip: 1"])
    func blocksAreMaps(text: String) {
        #expect(problems(text).count == 1)
        #expect(problems(text).first?.hasSuffix("a map is accepted") == true)
    }

    @Test(
        "an unknown key under p2p is a warning with the nearest known key",
        arguments: [
            ("minimum_node: 3", "p2p.minimum_node", "p2p.minimum_nodes"), ("roel: x", "p2p.roel", "p2p.role"),
            ("netwrok_token: x", "p2p.netwrok_token", "p2p.network_token"),
            ("ha: {master_nodes: 2}", "p2p.ha", "p2p.auto.ha"),
            ("vpn: {vpn: true}", "p2p.vpn.vpn", "p2p.vpn.create"),
            ("vpn: {env: {EDGEVPNMTUU: 1}}", "p2p.vpn.env.EDGEVPNMTUU", "EDGEVPNMTU"),
            ("auto: {enabled: true}", "p2p.auto.enabled", "p2p.auto.enable"),
        ])
    func unknownKeys(line: String, key: String, nearest: String) throws {
        let warnings = try configuration("p2p:\n  network_token: \(Tokens.valid)\n  \(line)").warnings
        #expect(warnings.map(\.keyPath) == [key])
        #expect(warnings.map(\.kind) == [.unknownKey(nearest: nearest)])
        #expect(warnings.first?.description.hasSuffix("unknown key; did you mean \(nearest)?") == true)
    }

    @Test("a key that resembles nothing is a warning without a guess; keys of other programs are none")
    func farKeys() throws {
        let node = try configuration(
            "p2p: {network_token: \(Tokens.valid), xyzzyplugh: 1}\nusers: []\nstages: {}")
        #expect(node.warnings.map(\.kind) == [.unknownKey(nearest: nil)])
    }

    @Test("the block of old releases is pointed out")
    func legacy() throws {
        #expect(
            try configuration("kairos: {network_token: x}").warnings.map(\.kind) == [
                .unknownKey(nearest: "p2p")
            ])
    }

    @Test("a mesh without a token is a contradiction that says how to make one")
    func noToken() throws {
        for text in [
            "p2p: {}", "p2p: {auto: {enable: true}}", "p2p: {network_token: ''}",
            "p2p: {network_token: null}",
        ] {
            let failure = #expect(throws: ConfigurationFailure.self) { try configuration(text) }
            #expect(failure?.exitCode == 78)
            #expect(failure?.description.contains("kairos-agent p2p token generate") == true)
            #expect(failure?.problems.first?.keyPath == "p2p.network_token")
        }
    }

    @Test("every token of the vectors is taken or refused at its line, and never shown")
    func tokens() throws {
        struct Case: Decodable {
            var kind: String
            var name: String
            var token: String
        }
        struct File: Decodable { var cases: [Case] }
        let cases = try Vectors.load("token.json", as: File.self).cases
        #expect(!cases.isEmpty)
        for entry in cases {
            let token = entry.token.unicodeScalars.map { $0 == "\n" ? "\\n" : $0 == "\r" ? "\\r" : "\($0)" }
                .joined()
            let found = problems("p2p:\n  network_token: \"\(token)\"\nk3s: {enabled: true}")
            // Which tokens are right is the network's to say; here it counts that its word reaches the line.
            do throws(NetworkTokenError) {
                _ = try NetworkToken(entry.token)
                #expect(found.isEmpty, "\(entry.name)")
            } catch {
                if entry.kind == "absent" { continue }
                #expect(found.count == 1, "\(entry.name)")
                #expect(found.first?.hasPrefix("0.yaml:2:18: p2p.network_token: ") == true, "\(entry.name)")
                #expect(found.first?.contains("\(error)") == true, "\(entry.name)")
                if entry.token.count > 20 {
                    #expect(found.first?.contains(entry.token.prefix(20)) == false, "\(entry.name)")
                }
            }
        }
    }

    @Test(
        "a token that cannot be meant is wrong data, with the way to a right one",
        arguments: [
            "%%%", "b3RwOg==", "e3t7", "aGVsbG8=", "PASTE-THE-OUTPUT-OF-kairos-agent-p2p-token-generate-HERE",
        ])
    func badTokens(token: String) {
        let failure = #expect(throws: ConfigurationFailure.self) {
            try configuration("p2p: {network_token: '\(token)', auto: {enable: true}}")
        }
        #expect(failure?.exitCode == 65)
        #expect(failure?.problems.count == 1)
        #expect(failure?.description.contains("kairos-agent p2p token generate") == true)
    }

    @Test("two distributions at once are a warning that names the one that goes first")
    func twoDistributions() throws {
        let warnings = try configuration("k3s: {enabled: true}\nk3s-agent: {enabled: true}").warnings
        #expect(warnings.map(\.keyPath) == ["k3s-agent.enabled"])
    }

    @Test("no secret is in any message, print or dump")
    func secrets() throws {
        let secret = "hunter2hunter2"
        let found = problems(
            """
            p2p:
              network_token: [\(secret)]
              auto: {ha: {external_db: {\(secret): 1}}}
              vpn: {env: {EDGEVPNTOKEN: [\(secret)]}}
            k3s: {env: {K3S_TOKEN: {x: \(secret)}}, args: [[\(secret)]]}
            k3s-agent: {args: "--token=\(secret)", env: \(secret)}
            """)
        #expect(found.count == 7)
        #expect(!found.joined().contains(secret))
        let node = try configuration(
            "p2p: {auto: {ha: {external_db: \(secret)}}, vpn: {env: {X: \(secret)}}}\nk3s: {enabled: true, env: {A: \(secret)}}"
        )
        var dumped = "\(node) \(String(reflecting: node)) \(node.warnings)"
        dump(node, to: &dumped)
        #expect(!dumped.contains(secret))
    }

    @Test("a message stays one line whatever was written")
    func oneLine() {
        let found = problems(
            "p2p: {role: \"a\\nb\\u0007\\u202e\(String(repeating: "x", count: 500))\", network_token: \(Tokens.valid)}"
        )
        #expect(found.first?.contains("\n") == false)
        #expect(found.first?.contains("\u{202E}") == false)
        #expect((found.first?.count ?? 999) < 200)
    }

    @Test("the problem of a merged value names the file that gave the value")
    func originSurvivesMerge() {
        let first = "p2p: {network_token: \(Tokens.valid), minimum_nodes: 3}"
        #expect(problems(first, "\n\np2p:\n  minimum_nodes: 2000").first?.hasPrefix("1.yaml:4:18: ") == true)
        #expect(
            problems("p2p: {minimum_nodes: 2000}", "p2p: {network_token: \(Tokens.valid)}").first?.hasPrefix(
                "0.yaml:1:22: ") == true)
    }
}

@Suite("The mesh's environment variables")
struct VPNConfigurationTests {
    private func vpn(_ text: String) throws -> VPNConfiguration {
        try #require(try configuration("p2p: {network_token: \(Tokens.valid), vpn: \(text)}").p2p).vpn
    }

    private func interface(_ text: String) throws -> IPv4Interface { try #require(IPv4Interface(text)) }

    @Test("an address given is fixed")
    func address() throws {
        #expect(try vpn("{address: 10.1.0.5/16}").addressing == .fixed(interface("10.1.0.5/16")))
        #expect(try vpn("{address: ''}").addressing == .automatic(network: VPNConfiguration.defaultNetwork))
    }

    @Test("ADDRESS names the network while DHCP is on, and is the node's address when it is off")
    func addressVariable() throws {
        #expect(
            try vpn("{env: {ADDRESS: 10.9.0.1/24}}").addressing
                == .automatic(network: interface("10.9.0.1/24")))
        #expect(
            try vpn("{env: {ADDRESS: 10.9.0.0/16, DHCP: true}}").addressing.network.networkText
                == "10.9.0.0/16")
        #expect(
            try vpn("{env: {ADDRESS: 10.9.0.1/24, DHCP: false}}").addressing
                == .fixed(interface("10.9.0.1/24")))
        #expect(
            try vpn("{env: {ADDRESS: 10.9.0.1/24, DHCP: 'false'}, address: 10.9.0.1/24}").addressing
                == .fixed(interface("10.9.0.1/24")))
    }

    @Test(
        "addresses that contradict each other are refused",
        arguments: [
            "{env: {DHCP: false}}", "{env: {DHCP: false, ADDRESS: 10.1.0.1/24}, address: 10.1.0.2/24}",
            "{env: {ADDRESS: 10.1.0.1/24}, address: 10.2.0.2/24}",
        ])
    func contradictions(text: String) {
        let failure = #expect(throws: ConfigurationFailure.self) { try vpn(text) }
        #expect(failure?.problems.count == 1)
        #expect(failure?.exitCode == 78)
    }

    @Test(
        "addresses that no node can have are refused",
        arguments: [
            "10.1.0.5", "10.1.0.0/24", "10.1.0.255/24", "10.1.0.1/33", "10.1.0.1/31", "10.1.0.1/4",
            "10.1.0/24",
            "10.1.0.256/24",
            "010.1.0.1/24", "10.1.0.1/024", "fd00::1/64", "10.1.0.1/", "/24", "x", "127.0.0.1/8",
            "10.1.0.1/24/24", "10.1.0.1/+4",
        ])
    func badAddresses(address: String) {
        let failure = #expect(throws: ConfigurationFailure.self) { try vpn("{address: \(address)}") }
        #expect(failure?.exitCode == 65)
        #expect(throws: ConfigurationFailure.self) { try vpn("{env: {ADDRESS: \(address), DHCP: 'false'}}") }
    }

    @Test("the API's address is a host of the network and not this node's own")
    func apiAddress() throws {
        #expect(
            try vpn("{address: 10.9.0.5/24, api_address: 10.9.0.250}").apiAddress
                == IPv4Interface.address("10.9.0.250"))
        for address in ["10.9.0.5", "10.9.0.0", "10.9.0.255", "10.9.1.1", "10.9.0.250/24"] {
            #expect(throws: ConfigurationFailure.self) {
                try vpn("{address: 10.9.0.5/24, api_address: \(address)}")
            }
        }
    }

    @Test("the variables that concern the mesh are read with their types")
    func variables() throws {
        let peer = "/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWLbZfrJsPWpE4A9YzLvhqot6vPrEMvAQ62oJyZBZDriXk"
        let p2p = try #require(
            try configuration(
                """
                p2p:
                  network_token: \(Tokens.valid)
                  disable_dht: true
                  bootstrap_peers: [\(peer)]
                  vpn:
                    env:
                      IFACE: mesh0
                      EDGEVPNMDNS: "0"
                      EDGEVPNDHT: "true"
                      EDGEVPNLISTENMADDRS: "/ip4/0.0.0.0/tcp/4001, /ip6/::/tcp/4001"
                      EDGEVPNBOOTSTRAPPEERS: "\(peer),\(peer.replacing("10.0.0.1", with: "10.0.0.2"))"
                      EDGEVPNLOGLEVEL: error
                      DHCPLEASEDIR: /var/lease
                      APILISTEN: unix:///run/x.sock
                      EDGEVPNMAXCONNS: 50
                """
            ).p2p)
        #expect(p2p.vpn.interfaceName == "mesh0" && !p2p.vpn.multicastDNS && p2p.vpn.dht)
        #expect(p2p.vpn.listenAddresses == ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"])
        #expect(p2p.bootstrapPeers == [peer, peer.replacing("10.0.0.1", with: "10.0.0.2")])
        #expect(p2p.vpn.logLevel == .error && p2p.vpn.leaseDirectory == "/var/lease")
        #expect(p2p.vpn.apiListener == .unix(path: "/run/x.sock") && p2p.vpn.maximumConnections == 50)
    }

    @Test(
        "a listener is a socket or an address with a port",
        arguments: [
            ("127.0.0.1:8080", VPNConfiguration.APIListener.tcp(host: "127.0.0.1", port: 8080)),
            (":80", .tcp(host: "0.0.0.0", port: 80)), ("[::1]:80", .tcp(host: "::1", port: 80)),
            ("unix:///x", .unix(path: "/x")), ("unix://x", nil), ("8080", nil), ("a:0", nil),
            ("a:65536", nil),
            ("::1:80", nil), ("unix:///" + String(repeating: "x", count: 107), nil), ("", nil),
        ])
    func listeners(text: String, listener: VPNConfiguration.APIListener?) {
        #expect(VPNConfiguration.APIListener(text) == listener)
    }

    @Test("API: false turns the listener off")
    func apiOff() throws {
        #expect(try vpn("{env: {API: false, APILISTEN: '127.0.0.1:1'}}").apiListener == nil)
    }

    @Test(
        "variables that cannot be meant are refused at their line",
        arguments: [
            "IFACE: a/b", "IFACE: sixteencharacter", "EDGEVPNMTU: 100", "EDGEVPNMTU: 70000",
            "EDGEVPNMDNS: perhaps",
            "EDGEVPNLISTENMADDRS: 0.0.0.0:1", "EDGEVPNBOOTSTRAPPEERS: /ip4/1.2.3.4/tcp/1",
            "DHCPLEASEDIR: lease",
            "APILISTEN: x", "EDGEVPNLOGLEVEL: loud", "EDGEVPNMAXCONNS: -1", "ADDRESS: x", "1BAD: x",
        ])
    func badVariables(line: String) throws {
        let found = problems("p2p:\n  network_token: \(Tokens.valid)\n  vpn:\n    env:\n      \(line)\n")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("0.yaml:5:") == true)
    }

    @Test("variables of EdgeVPN that have no effect here are a warning")
    func unused() throws {
        let warnings = try configuration(
            "p2p: {network_token: \(Tokens.valid), vpn: {env: {EDGEVPNPRIVKEYCACHE: true, EDGEVPNTOKEN: x}}}"
        ).warnings
        #expect(warnings.map(\.keyPath) == ["p2p.vpn.env.EDGEVPNPRIVKEYCACHE", "p2p.vpn.env.EDGEVPNTOKEN"])
    }
}

/// Network tokens for the tests.
enum Tokens {
    /// A token as `edgevpn -g -b` prints it; see `vectors/token.json`.
    static let valid =
        "b3RwOgogIGRodDoKICAgIGludGVydmFsOiAzNjAKICAgIGtleTogcWVENnBCMGw5TExrWVBmajd3dU9GS1ZOcHlyREJxNEozMkNlMlpKMXR2UAogICAgbGVuZ3RoOiA0MwogIGNyeXB0bzoKICAgIGludGVydmFsOiAzNjAKICAgIGtleTogNEttREZiZkxWQ0RqR3RDajNBZ1dlQWV2QlI3OUpkSnRGNG1pMzRhdnlaMAogICAgbGVuZ3RoOiA0Mwpyb29tOiBQZHBYczQxd1RqeDBnRzJ5cDJJSVZuTjZqMzlyd0E5RGI4WTR1b0ZXTHdrCnJlbmRlenZvdXM6IDExbmpBNklOMlRlclAzc2ZWT2ROdEVocG52WWZ1clpkeGxYSHVDelR2ZkYKbWRuczogUE13RHNKTUVJYVJRNHFJQ0R0SEE0eW9HVHBEWGViSFZzMVhkN2FmaXhpbwptYXhfbWVzc2FnZV9zaXplOiAyMDk3MTUyMAo="
}

@Suite("Guessing what was meant")
struct NearestNameTests {
    @Test(
        "edit distance counts insertions, deletions, replacements and swaps",
        arguments: [
            ("", "", 0), ("a", "", 1), ("abc", "acb", 1), ("kitten", "sitting", 3), ("role", "roel", 1),
        ])
    func distance(left: String, right: String, distance: Int) {
        #expect(NearestName.distance(Array(left.utf8), Array(right.utf8)) == distance)
    }

    @Test("what resembles nothing has no nearest name")
    func far() {
        #expect(NearestName.of("xyzzyplugh", among: ["role", "dns", "network_token"]) == nil)
        #expect(NearestName.of(String(repeating: "a", count: 100_000), among: ["role"]) == nil)
    }
}
