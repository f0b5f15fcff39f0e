internal import Testing

@testable import K3s

@Suite("What a change shows in the log")
struct ConfigurationDiffTests {
    static func diff(_ old: String, _ new: String, _ purpose: DesiredState.File.Purpose) -> [String] {
        let file = DesiredState.File(path: "/f", purpose: purpose, content: new)
        return ConfigurationDiff(writing: file, replacing: .regular(content: old, mode: 0o600)).lines
    }

    @Test("settings are compared one by one")
    func settings() {
        #expect(
            Self.diff(
                "node-ip: [\"a\"]\ndebug: true\ntoken: x\n", "node-ip: [\"b\"]\nserver: \"u\"\ntoken: y\n",
                .config)
                == [
                    "rewrite /f", "  - debug", "  node-ip: [\"a\"] → [\"b\"]", "  + server: \"u\"",
                    "  token: *** → ***",
                ])
        #expect(Self.diff("# a\n", "# b\n", .config) == ["rewrite /f", "  (wording only)"])
        let file = DesiredState.File(path: "/f", purpose: .config, content: "server: \"u\"\n")
        #expect(
            ConfigurationDiff(writing: file, replacing: .missing).lines == ["write /f", "  + server: \"u\""])
        #expect(ConfigurationDiff(removing: "/f").lines == ["remove /f"])
    }

    @Test("a database's address is shown without its password")
    func dataSources() {
        for (text, shown) in [
            ("postgres://k3s:s3cret@10.1.0.5:5432/k3s", "postgres://k3s:***@10.1.0.5:5432/k3s"),
            ("postgres://k3s:s3@cret@10.1.0.5/k3s?password=s3cret", "postgres://k3s:***@10.1.0.5/k3s?***"),
            ("mysql://k3s:s3cret@tcp(10.1.0.5:3306)/k3s", "mysql://k3s:***@tcp(10.1.0.5:3306)/k3s"),
            ("k3s:s3cret@tcp(h)/k3s", "k3s:***@tcp(h)/k3s"),
            ("nats://s3cret@h", "nats://***@h"),
            ("https://h1:2379,https://h2:2379", "https://h1:2379,https://h2:2379"),
        ] {
            #expect(SecretMask.dataSource(text) == shown)
        }
        #expect(
            !Self.diff("", "datastore-endpoint: \"postgres://u:s3cret@h/d\"\n", .config).joined().contains(
                "s3cret"))
    }

    @Test("variables are secret unless they are known not to be")
    func variables() {
        let shown = Self.diff(
            "",
            "K3S_TOKEN=s3cret\nMINE=s3cret\nK3S_NODE_NAME=n\nHTTPS_PROXY=\"http://u:s3cret@p:1\"\nK3S_DATASTORE_ENDPOINT=\"a://u:s3cret@h\"\n",
            .environment)
        #expect(!shown.joined().contains("s3cret"), "\(shown)")
        #expect(shown.contains("  + K3S_NODE_NAME: n") && shown.contains("  + MINE: ***"))
    }

    @Test("a command line is shown without what could be secret in it")
    func commandLines() {
        let words = [
            "/usr/bin/k3s", "server", "--token", "s3cret", "--token=s3cret", "-t", "s3cret", "--debug",
            "--node-label=a=b", "--kube-apiserver-arg=oidc-client-secret=s3cret",
            "--etcd-s3-secret-key=s3cret",
            "--unheard-of=s3cret", "--unheard-of", "s3cret", "--datastore-endpoint=mysql://u:s3cret@h",
            "--kubelet-arg=max-pods=200",
        ]
        let shown = SecretMask.commandLine(words)
        #expect(!shown.joined(separator: " ").contains("s3cret"), "\(shown)")
        #expect(shown.contains("--node-label=a=b") && shown.contains("--kubelet-arg=max-pods=200"))
        #expect(shown.count == words.count)
    }
}
