/// Decides each generated setting, and who wins where the user set the same one.
///
/// A command-line argument beats the config file, the config file beats the environment, and lists
/// given on the command line and in the file are joined or replaced depending on whom one asks
/// (contract/k3s.md §1.3). So that the user wins everywhere and no list is given twice:
///
/// - a key that the user's arguments or variables set is left out of the file;
/// - `tls-san`, of which both parts are needed, goes to the command line as a whole.
struct ConfigBuilder {
    /// The outcome.
    struct Settled {
        var config: ConfigFile
        /// The words after the command: what must stand beside the user's arguments, and these.
        var arguments: [String]
        var warnings: [K3sWarning]
        /// K3s' data folder, when the user chose one.
        var dataFolder: String?
        /// The node's name, when the user chose one.
        var nodeName: String?
    }

    private let role: K3sRole
    private let facts: NodeFacts
    private let block: UserSettings.Block
    private let arguments: UserArguments
    private var config: ConfigFile
    private var leading: [String] = []
    private var warnings: [K3sWarning] = []

    private var command: K3sCommand { role.command }
    private var blockName: String { command == .server ? "k3s" : "k3s-agent" }

    init(role: K3sRole, facts: NodeFacts, block: UserSettings.Block) throws(K3sConfigurationError) {
        self.role = role
        self.facts = facts
        self.block = block
        self.arguments = try UserArguments(block.arguments)
        self.config = ConfigFile(command: role.command)
    }

    consuming func build() throws(K3sConfigurationError) -> Settled {
        try addJoinData()
        if case .asGiven(let command) = role {
            if command == .server, block.embeddedRegistry { try put("embedded-registry", .bool(true)) }
        } else if !block.replacesArguments {
            try addGenerated()
        }
        try checkArguments()
        return Settled(
            config: config, arguments: leading + arguments.words, warnings: warnings,
            dataFolder: userValue("data-dir"), nodeName: userValue("node-name"))
    }

    /// What ties the node to its cluster. It is never replaced as a whole: without it a server founds a
    /// cluster of its own (contract/k3s.md §2, §20.4).
    private mutating func addJoinData() throws(K3sConfigurationError) {
        switch role {
        case .foundingServer(let founding):
            try founding.token.checkFounding()
            try put("token", .string(founding.token.secret))
            if let datastore = founding.externalDatastore {
                if arguments.sets("cluster-init") { throw .datastoreExcludesClusterInit }
                try put("datastore-endpoint", .string(datastore))
            } else if founding.isHighlyAvailable {
                if !block.replacesArguments { try put("cluster-init", .bool(true)) }
                // On SQLite `server` would turn the next start into a join (§2, row 3).
                if let standby = founding.standby { try put("server", .string(standby.text)) }
            }
        case .server(let join):
            try join.token.checkJoiningServer()
            try put("token", .string(join.token.secret))
            if let datastore = join.externalDatastore {
                try put("datastore-endpoint", .string(datastore))
            } else {
                try put("server", .string(join.server.text))
            }
        case .agent(let join):
            try put("token", .string(join.token.secret))
            try put("server", .string(join.server.text))
        case .left: break
        case .asGiven: break
        }
        if arguments.sets("token"), arguments.value(of: "token")?.isEmpty ?? true {
            throw .tokenMissing(command: command)
        }
    }

    /// Names and addresses.
    private mutating func addGenerated() throws(K3sConfigurationError) {
        if !userSets("with-node-id") { try put("node-name", .string(facts.name.text)) }
        if let network = facts.network {
            try put("node-ip", .list([network.address.text]))
            try put("flannel-iface", .string(network.interface))
            if command == .server { try put("advertise-address", .string(network.address.text)) }
        }
        guard command == .server else { return }
        var names: [String] = []
        for name in [facts.apiAddress?.text].compactMap(\.self) + facts.certificateNames
        where !names.contains(name) {
            names.append(name)
        }
        if arguments.sets("tls-san") {
            leading += names.map { "--tls-san=" + $0 }
        } else if !names.isEmpty {
            try config.set("tls-san", to: .list(names), appending: true)
        }
        if block.embeddedRegistry { try put("embedded-registry", .bool(true)) }
    }

    /// Sets a key unless the user did.
    private mutating func put(_ name: String, _ value: ConfigValue) throws(K3sConfigurationError) {
        if userSets(name) { return }
        // Both forms of a token at once are refused or decided by K3s in its own way (§6.2).
        if name == "token", userSets("token-file") { return }
        try config.set(name, to: value)
    }

    /// Whether the user's arguments or variables set the key. An empty variable sets nothing: it would
    /// leave a server without a token.
    private func userSets(_ name: String) -> Bool {
        if arguments.sets(name) { return true }
        guard let variable = ConfigKey.named(name)?.variable else { return false }
        return block.environment[variable].map { !$0.isEmpty } ?? false
    }

    /// What the user's arguments or variables give the key.
    private func userValue(_ name: String) -> String? {
        let variable = ConfigKey.named(name)?.variable.flatMap { block.environment[$0] }
        return [arguments.value(of: name), variable].compactMap(\.self).first { !$0.isEmpty }
    }

    /// What in the user's arguments cannot work or probably is not meant.
    private mutating func checkArguments() throws(K3sConfigurationError) {
        for address in arguments.values(of: "advertise-address") where address == facts.apiAddress?.text {
            throw .advertisesAPIAddress(address)
        }
        if userSets("server"), let url = arguments.value(of: "server") { _ = try ServerURL(url) }
        for setting in arguments.settings {
            let flag = "--" + setting.name
            if let key = setting.key {
                if !key.commands.contains(command) {
                    warn(
                        "k3s \(command.rawValue) has no flag \(flag) and will not start with it", "remove it",
                        key.name)
                }
                check(key: key, setting: setting)
            } else if let replacement = ConfigKey.removed[setting.name] {
                warn("K3s has no flag \(flag) any more", "use \(replacement)", setting.name)
            } else {
                warn("\(flag) is no flag that is known of K3s", "check its spelling", setting.name)
            }
        }
        let setsNetwork = [userSets("node-ip"), userSets("flannel-iface")]
        if case .asGiven = role { return }
        let generatesNetwork = facts.network != nil && !block.replacesArguments
        if !generatesNetwork, setsNetwork.contains(true), setsNetwork.contains(false) {
            warn(
                "only one of --node-ip and --flannel-iface is set",
                "set both: the overlay does not follow node-ip")
        }
        if case .foundingServer(let founding) = role {
            if userSets("server") {
                warn("the founding server is told to join another one", "remove --server", "server")
            }
            if founding.isHighlyAvailable, founding.externalDatastore == nil, block.replacesArguments,
                !userSets("cluster-init")
            {
                warn(
                    "replace_args leaves out --cluster-init, so no further server can join",
                    "add --cluster-init")
            }
        }
    }

    private mutating func check(key: ConfigKey, setting: UserArguments.Setting) {
        switch key.name {
        case "bind-address":
            warn("--bind-address hides the API address and loopback", "remove it", key.name)
        case "cluster-reset":
            warn("--cluster-reset makes K3s reset and exit at every start", "run it once by hand", key.name)
        case "with-node-id" where command == .server:
            warn(
                "--with-node-id does not make equal host names of servers distinct", "set --node-name",
                key.name)
        case "token-file":
            warn("--token-file hides the cluster token from this agent", "use --token", key.name)
        default:
            if let value = setting.value, let better = ConfigKey.removedValues[key.name]?[value] {
                warn("K3s no longer takes --\(key.name)=\(value)", "use \(better)", key.name)
            }
        }
    }

    private mutating func warn(_ what: String, _ remedy: String, _ key: String? = nil) {
        warnings.append(K3sWarning("\(blockName).args: \(what)", remedy: remedy, key: key))
    }
}
