internal import Testing
internal import Timing
internal import Yams

@testable import K3s

@Suite("K3s config file")
struct ConfigFileTests {
    @Test("a key the command does not know cannot be written", arguments: ConfigKey.table)
    func onlyKnownKeys(key: ConfigKey) throws {
        for command in K3sCommand.allCases {
            var file = ConfigFile(command: command)
            let value: ConfigValue =
                switch key.kind {
                case .string, .duration: .string("x")
                case .int: .int(1)
                case .bool: .bool(true)
                case .list: .list(["x"])
                }
            if key.commands.contains(command) {
                try file.set(key.name, to: value)
                #expect(file[key.name] == value)
            } else {
                #expect(throws: K3sConfigurationError.keyUnknown(name: key.name, command: command)) {
                    try file.set(key.name, to: value)
                }
            }
        }
    }

    @Test("a one-letter name is not generated, and a value of another kind is refused")
    func refused() {
        var file = ConfigFile(command: .server)
        #expect(throws: K3sConfigurationError.self) { try file.set("t", to: .string("x")) }
        #expect(throws: K3sConfigurationError.valueUnsuitable(name: "token")) {
            try file.set("token", to: .int(5))
        }
        #expect(throws: K3sConfigurationError.valueUnsuitable(name: "node-ip")) {
            try file.set("node-ip", to: .string("10.1.0.1"))
        }
    }

    @Test("what a parser would turn into something else is quoted")
    func quoted() throws {
        var file = ConfigFile(command: .server)
        try file.set("write-kubeconfig-mode", to: .string("0644"))
        try file.set("cluster-init", to: .bool(false))
        try file.set("https-listen-port", to: .int(7443))
        try file.set("token", to: .string("1e5"))
        try file.set("node-label", to: .list(["yes", "2026-01-01"]))
        try file.set("tls-san", to: .list([]), appending: true)
        let lines = file.rendered().split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(
            lines == [
                "write-kubeconfig-mode: \"0644\"", "cluster-init: false", "https-listen-port: 7443",
                "token: \"1e5\"", "node-label:", "  - \"yes\"", "  - \"2026-01-01\"", "tls-san+: []",
            ])
    }

    @Test("whatever the strings hold, a YAML parser gives them back", arguments: 0..<200)
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var file = ConfigFile(command: .server)
        let text = RandomText.make(using: &generator)
        let items = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
            RandomText.make(using: &generator)
        }
        try file.set("token", to: .string(text))
        try file.set("node-label", to: .list(items), appending: true)
        let node = try #require(try Yams.compose(yaml: file.rendered())?.mapping, "seed \(seed)")
        #expect(node.count == 2)
        let token = try #require(node["token"]?.scalar)
        #expect(token.string == text && token.style == .doubleQuoted, "seed \(seed)")
        #expect(node["node-label+"]?.sequence?.map { $0.scalar?.string } == items, "seed \(seed)")
    }

    @Test("what parsers treat differently is escaped")
    func escapes() {
        #expect(
            YAMLText.quoted("\u{FEFF}a\u{2028}\u{85}\u{0}é\u{1F600}")
                == "\"\\uFEFFa\\u2028\\x85\\x00é\u{1F600}\"")
    }

    @Test("the table has the keys of both commands")
    func table() {
        #expect(ConfigKey.table.count { $0.commands.contains(.server) } == 125)
        #expect(ConfigKey.table.count { $0.commands.contains(.agent) } == 46)
        #expect(ConfigKey.named("t")?.name == "token")
        #expect(ConfigKey.read(fromVariable: "K3S_URL")?.name == "server")
        #expect(ConfigKey.named("tls-sna") == nil)
    }
}

/// Strings with everything that breaks writers.
enum RandomText {
    static func make(using generator: inout SeededGenerator, controls: Bool = true) -> String {
        let nasty: [Unicode.Scalar] = [
            "\"", "'", "\\", "$", "!", "`", "%", ":", "#", "-", " ", "\n", "\t", "=", ";", "{", "é",
            "\u{2028}",
            "\u{1F600}", "0",
        ]
        let control: [Unicode.Scalar] = ["\r", "\u{1}", "\u{7F}", "\u{85}", "\u{1B}"]
        var view = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...24, using: &generator) {
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: view.append(nasty.randomElement(using: &generator) ?? "a")
            case 1 where controls: view.append(control.randomElement(using: &generator) ?? "a")
            default: view.append(Unicode.Scalar(UInt8.random(in: 0x61...0x7A, using: &generator)))
            }
        }
        return String(view)
    }
}
