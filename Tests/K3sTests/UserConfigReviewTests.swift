internal import Testing

@testable import K3s

@Suite("The user's own K3s config files")
struct UserConfigReviewTests {
    static let base = "/etc/rancher/k3s/config.yaml"
    static let own = "/etc/rancher/k3s/config.yaml.d/90-kairos-p2p.yaml"

    static func review(_ content: String, _ role: K3sRole, path: String = base) throws -> [K3sWarning] {
        UserConfigReview.review(
            [.init(path: path, content: content)], besides: try Sample.state(role).config, at: own)
    }

    @Test(
        "a server's key is fatal to an agent and is named with its file", arguments: ["disable", "tls-san+"])
    func serverKey(key: String) throws {
        let warnings = try Self.review("node-label: [\"a=b\"]\n\(key): [\"x\"]\n", .agent(Sample.join()))
        let warning = try #require(warnings.first)
        #expect(warnings.count == 1)
        #expect(warning.file == Self.base && "\(warning.key ?? "")+".hasPrefix(key))
        #expect(warning.what.contains("exits"))
        #expect(try Self.review("\(key): [\"x\"]\n", Sample.founding()).isEmpty)
    }

    @Test("an unknown key is fatal to an agent and without effect on a server")
    func unknown() throws {
        #expect(try Self.review("tls-sna: x", .agent(Sample.join())).first?.what.contains("exits") == true)
        #expect(try Self.review("tls-sna: x", Sample.founding()).first?.what.contains("ignores") == true)
        #expect(try Self.review("no-deploy: x", Sample.founding()).first?.remedy == "use disable")
    }

    @Test("an unquoted octal number, a removed value and a fixed listen address are announced")
    func values() throws {
        #expect(
            try Self.review("write-kubeconfig-mode: 0644", Sample.founding()).map(\.key) == [
                "write-kubeconfig-mode"
            ])
        #expect(try Self.review("write-kubeconfig-mode: \"0644\"", Sample.founding()).isEmpty)
        #expect(
            try Self.review("flannel-backend: wireguard", Sample.founding()).first?.remedy
                == "use wireguard-native")
        #expect(try Self.review("bind-address: 10.1.0.1", Sample.founding()).map(\.key) == ["bind-address"])
    }

    @Test("a file that is read later and replaces what is generated is announced, an earlier one is not")
    func replaced() throws {
        let text = "node-ip: [\"192.168.1.1\"]\n"
        #expect(
            try Self.review(text, Sample.founding(), path: Self.base + ".d/99-mine.yaml").map(\.key) == [
                "node-ip"
            ])
        for path in [Self.base, Self.base + ".d/50-mine.yaml"] {
            #expect(try Self.review(text, Sample.founding(), path: path).isEmpty)
        }
        let same = "node-ip: [\"10.1.0.11\"]\ntls-san+: [x]\n"
        #expect(try Self.review(same, Sample.founding(), path: Self.base + ".d/99-mine.yaml").isEmpty)
    }

    @Test("a file that is no mapping is announced, an empty one is fine")
    func shapes() throws {
        for text in ["- a\n", "a: [", "just text", "\tx: 1"] {
            #expect(try Self.review(text, Sample.founding()).count == 1, "\(text)")
        }
        for text in ["", "# nothing\n", "---\n", "~\n"] {
            #expect(try Self.review(text, Sample.founding()).isEmpty, "\(text)")
        }
    }
}
