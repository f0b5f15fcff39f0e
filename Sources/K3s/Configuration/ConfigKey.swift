/// One key of a K3s config file: a long flag without its dashes, and what K3s takes for it.
package struct ConfigKey: Hashable, Sendable {
    /// What a key's value is.
    package enum Kind: Hashable, Sendable {
        case string
        case int
        case bool
        /// A Go duration such as `5m0s`.
        case duration
        /// A YAML list; on the command line the flag repeated.
        case list
    }

    /// The flag's long name.
    package let name: String
    /// The value's kind.
    package let kind: Kind
    /// The commands that know the key. An agent exits on one that it does not know.
    package let commands: Set<K3sCommand>
    /// The flag's one-letter name. K3s accepts it in files too; it is never generated.
    package let alias: String?
    /// The environment variable K3s reads when the flag is given nowhere else.
    package let variable: String?
    /// Whether K3s splits one item at its commas.
    package let splitsCommas: Bool

    init(
        _ name: String, _ kind: Kind, _ commands: Set<K3sCommand>, alias: String? = nil,
        variable: String? = nil,
        splitsCommas: Bool = false
    ) {
        self.name = name
        self.kind = kind
        self.commands = commands
        self.alias = alias
        self.variable = variable
        self.splitsCommas = splitsCommas
    }

    /// The key called `name`, by its long or its one-letter name.
    package static func named(_ name: String) -> ConfigKey? {
        byName[name]
    }

    /// The key whose value K3s would take from the environment `variable`.
    package static func read(fromVariable variable: String) -> ConfigKey? {
        byVariable[variable]
    }

    /// Whether the value is a secret, which is masked wherever it is shown.
    package var isSecret: Bool {
        switch name {
        case "token", "agent-token", "vpn-auth", "datastore-endpoint", "etcd-s3-access-key",
            "etcd-s3-secret-key", "etcd-s3-session-token":
            true
        default: false
        }
    }

    private static let byName: [String: ConfigKey] = {
        var keys: [String: ConfigKey] = [:]
        for key in table {
            keys[key.name] = key
            if let alias = key.alias { keys[alias] = key }
        }
        return keys
    }()

    private static let byVariable: [String: ConfigKey] = {
        var keys: [String: ConfigKey] = [:]
        for key in table {
            if let variable = key.variable { keys[variable] = key }
        }
        return keys
    }()
}
