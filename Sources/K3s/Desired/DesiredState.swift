/// Everything that must be true on the node for K3s to run in its role.
package struct DesiredState: Hashable, Sendable {
    /// Who runs K3s.
    package enum Supervision: Hashable, Sendable {
        /// systemd, by K3s' own unit with a drop-in.
        case systemd(agentUnit: String)
        /// This agent, as a child process.
        case childProcess
    }

    /// One file of ours.
    package struct File: Hashable, Sendable {
        /// What reads it, which decides what a change entails.
        package enum Purpose: Hashable, Sendable {
            case config
            case environment
            case unit
            /// The agent's word that the unit may start.
            case permit
            /// What the cluster applies; K3s reads it while it runs.
            case manifest
        }

        /// The absolute path.
        package let path: String
        /// What reads it.
        package let purpose: Purpose
        /// The content. The mode is always 0600: arguments and variables, too, can hold secrets.
        package let content: String
    }

    /// What K3s is.
    package let role: K3sRole
    /// The founding that the role stands on: data of an earlier one are not gone on with.
    package let epoch: UInt64
    /// Where the files are.
    package let layout: K3sLayout
    /// Who runs K3s.
    package let supervision: Supervision
    /// The settings in this agent's config file.
    package private(set) var config: ConfigFile
    /// The words after the binary, complete.
    package let arguments: [String]
    /// The variables the user gives.
    package let environment: EnvironmentFile
    /// Files of ours that must not.
    package let absent: [String]
    /// The role that the operator's hooks know it by; nil where none are run.
    package let hookRole: String?
    /// Manifests that the cluster is to have.
    package let manifests: [File]
    /// Manifests that must not be, removed only if they are ours.
    package let absentManifests: [String]
    /// Drop-ins that stock Kairos may have left, removed only if they have its shape.
    package let stockOverrides: [String]
    /// What the operator should know about the settings.
    package let warnings: [K3sWarning]
    /// Changes when something changes for which K3s must be restarted.
    package let fingerprint: Fingerprint

    /// The name under which the node is known in the cluster; nil when it leaves.
    package let nodeName: String?

    /// Whether this server goes as soon as it is out of etcd: it runs until then, so that the others keep their
    /// majority and can take it out, and must not come back by itself afterwards (contract/k3s.md §11.2).
    package var isDeparting = false

    private let interface: String?
    private let replacesEnvironment: Bool
    /// Whether the unit's own command line will not do.
    private let overridesCommandLine: Bool

    /// The command that K3s runs as.
    package var command: K3sCommand { role.command }

    /// Works out the state for `role` on a node with `facts`, as the user's `settings` bend it.
    ///
    /// - Throws: `K3sConfigurationError` when there is no configuration that could work.
    package init(
        role: K3sRole, epoch: UInt64 = 1, facts: NodeFacts, settings: UserSettings = UserSettings(),
        layout: K3sLayout = K3sLayout(),
        supervision: Supervision, kubeVIP: KubeVIP? = nil, hookRole: String? = nil
    ) throws(K3sConfigurationError) {
        let command = role.command
        let block = settings.block(for: command)
        let settled = try ConfigBuilder(role: role, facts: facts, block: block).build()
        let environment = try EnvironmentFile(block.environment)
        self.role = role
        self.epoch = epoch
        self.nodeName = settled.nodeName ?? facts.name.text
        let placed = settled.dataFolder.map(layout.withData) ?? layout
        self.layout = placed
        self.supervision = supervision
        self.config = settled.config
        self.environment = environment
        self.warnings = settled.warnings
        let manifests = command == .server ? kubeVIP?.files(in: placed) ?? [] : []
        self.manifests = manifests
        self.hookRole = hookRole
        let wanted = command == .server ? kubeVIP?.wantedPaths(in: placed) ?? [] : []
        self.absentManifests = KubeVIP.places(in: placed).filter { !wanted.contains($0) }

        // Where the user chose another interface, ours is nothing to wait for.
        self.interface = settled.config["flannel-iface"] == nil ? nil : facts.network?.interface
        self.replacesEnvironment = block.replacesEnvironment
        self.overridesCommandLine = !settled.arguments.isEmpty

        var arguments = [command.rawValue]
        var absent = environment.variables.isEmpty ? [layout.environmentFile] : []
        switch supervision {
        case .systemd:
            absent.append(layout.unitDropIn(command.other))
            self.stockOverrides = K3sCommand.allCases.map(layout.stockOverride)
        case .childProcess:
            if !layout.isSystem, settled.dataFolder == nil { arguments += ["--data-dir", layout.dataFolder] }
            self.stockOverrides = []
        }
        self.arguments = arguments + settled.arguments
        self.absent = absent
        self.fingerprint = Self.fingerprint(
            config: settled.config, arguments: self.arguments, environment: environment, role: role)
    }

    /// The state of a node that is no part of the cluster of `epoch` any more: no K3s, nothing of ours,
    /// its data set aside.
    package init(leaving epoch: UInt64, layout: K3sLayout = K3sLayout(), supervision: Supervision) {
        role = .left
        manifests = []
        absentManifests = KubeVIP.places(in: layout)
        hookRole = nil
        self.epoch = epoch
        self.layout = layout
        self.supervision = supervision
        nodeName = nil
        config = ConfigFile(command: .server)
        arguments = []
        environment = .none
        var absent = [layout.dropIn, layout.environmentFile, layout.appliedRecord]
        if case .systemd = supervision { absent += K3sCommand.allCases.map(layout.unitDropIn) }
        self.absent = absent
        stockOverrides = []
        warnings = []
        fingerprint = Fingerprint()
        interface = nil
        replacesEnvironment = false
        overridesCommandLine = false
    }

    /// The same, without the server to join. On a founder whose data are still SQLite, `server` would
    /// have the next start join another cluster instead of migrating (contract/k3s.md §2, row 3).
    package func withoutStandby() -> DesiredState {
        var state = self
        state.config.remove("server")
        return state
    }

    /// Whether the cluster is kept outside of the node.
    package var usesExternalDatastore: Bool {
        switch role {
        case .foundingServer(let founding): founding.externalDatastore != nil
        case .server(let join): join.externalDatastore != nil
        case .agent, .left, .asGiven: false
        }
    }

    /// The agent's word that the unit may start; nil where nothing but this agent starts K3s.
    package var startPermit: File? {
        guard case .systemd = supervision, role != .left else { return nil }
        return File(path: layout.startPermit(command), purpose: .permit, content: "epoch \(epoch)\n")
    }

    /// Files of ours that must exist, when K3s' binary is `binary`.
    package func files(binary: String) -> [File] {
        if role == .left { return [] }
        var files = [File(path: layout.dropIn, purpose: .config, content: config.rendered())]
        if !environment.variables.isEmpty {
            files.append(
                File(path: layout.environmentFile, purpose: .environment, content: environment.rendered()))
        }
        if case .systemd(let agentUnit) = supervision {
            let unit = UnitDropIn(
                agentUnit: agentUnit, interface: interface, startPermit: layout.startPermit(command),
                environmentFile: environment.variables.isEmpty ? nil : layout.environmentFile,
                replacesEnvironmentFiles: replacesEnvironment,
                commandLine: overridesCommandLine ? [binary] + arguments : nil)
            files.append(File(path: layout.unitDropIn(command), purpose: .unit, content: unit.rendered()))
        }
        return files + manifests
    }

    /// How a child process runs K3s with `binary`.
    ///
    /// Below a root K3s is told of its config file by variable, which wins over an option
    /// (contract/k3s.md §1.1).
    package func launch(binary: String) -> LaunchDescription {
        var variables = environment.variables
        if !layout.isSystem { variables["K3S_CONFIG_FILE"] = layout.configFile }
        return LaunchDescription(
            program: binary, arguments: arguments, environment: variables,
            inheritsEnvironment: !replacesEnvironment, logFile: layout.logFile(command))
    }

    /// Over everything K3s reads of ours, as K3s reads it: neither comments nor the order of keys count.
    private static func fingerprint(
        config: ConfigFile, arguments: [String], environment: EnvironmentFile, role: K3sRole
    ) -> Fingerprint {
        var fingerprint = Fingerprint()
        for word in arguments { fingerprint.add(field: word) }
        fingerprint.add(field: "")
        for (name, value) in environment.variables.sorted(by: { $0.key < $1.key }) {
            fingerprint.add(field: name)
            fingerprint.add(field: value)
        }
        fingerprint.add(field: "")
        for entry in config.entries.sorted(by: { $0.key.name < $1.key.name }) {
            // A founder's `server` has no effect while its data exist (contract/k3s.md §2, row 1): it is
            // written for a later start and no reason to restart.
            if case .foundingServer = role, entry.key.name == "server" { continue }
            fingerprint.add(field: entry.writtenKey)
            fingerprint.add(field: entry.value.summary)
        }
        return fingerprint
    }
}
