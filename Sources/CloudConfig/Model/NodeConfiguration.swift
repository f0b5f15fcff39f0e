/// Everything that a node's cloud-config says to this agent: read, merged and checked.
package struct NodeConfiguration: Equatable, Sendable {
    /// `hostname` as written. Its template (`{{ trunc 4 .MachineID }}`) is for the machine's first stages;
    /// here it is left alone.
    package var hostname: String?
    /// The mesh; nil when there is no block `p2p`.
    package var p2p: P2PConfiguration?
    /// The block `k3s`: servers.
    package var k3s = KubernetesConfiguration()
    /// The block `k3s-agent`.
    package var k3sAgent = KubernetesConfiguration()
    /// The block `k0s`: controllers.
    package var k0s = KubernetesConfiguration()
    /// The block `k0s-worker`.
    package var k0sWorker = KubernetesConfiguration()
    /// One address for API servers on a plain LAN.
    package var kubeVIP = KubeVIPConfiguration()
    /// The files that were merged, earlier ones first.
    package var sources: [String] = []
    /// What is odd and does no harm.
    package var warnings: [ConfigurationProblem] = []
    /// Where each value that was read stands, by key path: `p2p.minimum_nodes`.
    package var positions: [String: SourcePosition] = [:]

    package init() {}

    /// Reads the configuration of a node: the default directories under `root`, or `directories` instead.
    ///
    /// - Throws: `ConfigurationFailure` with every problem of the first step that fails: reading, parsing,
    ///   merging, checking.
    package static func load(
        root: String = "/", directories: [String] = []
    ) throws(ConfigurationFailure) -> NodeConfiguration {
        let discovery = Discovery(root: root, directories: directories)
        let found = try discovery.scan()
        guard !found.files.isEmpty else {
            throw ConfigurationFailure(
                found.warnings
                    + [ConfigurationProblem(.nothingFound(directories: discovery.directories), at: nil)])
        }
        return try NodeConfiguration(files: found.files, warnings: found.warnings)
    }

    /// Merges `files`, the later ones over the earlier ones, and checks the result.
    ///
    /// - Throws: `ConfigurationFailure` with every problem of the first step that fails.
    package init(files: [SourceFile], warnings: [ConfigurationProblem] = []) throws(ConfigurationFailure) {
        var warnings = warnings
        var problems: [ConfigurationProblem] = []
        var documents: [ConfigurationNode] = []
        for file in files {
            var reader = YAMLReader(file)
            do {
                documents.append(try reader.read())
            } catch {
                problems.append(error)
            }
            warnings += reader.warnings
        }
        guard problems.isEmpty else { throw ConfigurationFailure(problems) }
        let start = SourcePosition(file: files.first?.path ?? "", line: 1, column: 1)
        var merged = ConfigurationNode(.map(ConfigurationMap()), at: start)
        for document in documents { merged = try merged.merged(with: document) }
        try self.init(merged: merged.map ?? ConfigurationMap())
        self.warnings = warnings + self.warnings
        sources = files.map(\.path)
    }

    private init(merged: ConfigurationMap) throws(ConfigurationFailure) {
        let findings = Findings()
        let reader = MapReader(merged, path: "", findings: findings)
        hostname = reader.text("hostname").nonEmpty
        if let block = reader.map("p2p") {
            p2p = P2PConfiguration(block, findings: findings)
        } else if let entry = merged["p2p"], case .null = entry.value.content {
            // The key alone means "configured", with everything at its default.
            p2p = P2PConfiguration()
        }
        k3s = KubernetesConfiguration(reader.map("k3s"), hasRegistry: true)
        k3sAgent = KubernetesConfiguration(reader.map("k3s-agent"), hasRegistry: true)
        k0s = KubernetesConfiguration(reader.map("k0s"), hasRegistry: false)
        k0sWorker = KubernetesConfiguration(reader.map("k0s-worker"), hasRegistry: false)
        kubeVIP = KubeVIPConfiguration(reader.map("kubevip"))
        warnAboutSlips(merged, findings)
        check(merged, findings)
        guard findings.errors.isEmpty else { throw ConfigurationFailure(findings.errors) }
        warnings = findings.warnings
        positions = findings.positions
    }

    /// Top-level keys belong to many programs, so only those are named that are surely meant for this one.
    private func warnAboutSlips(_ merged: ConfigurationMap, _ findings: Findings) {
        let slips = [
            "kairos": "p2p", "k3s_agent": "k3s-agent", "k0s_worker": "k0s-worker", "kube-vip": "kubevip",
        ]
        for entry in merged.entries {
            if let meant = slips[entry.key] {
                findings.warning(.unknownKey(nearest: meant), at: entry.keyPosition, key: entry.key)
            }
        }
    }

    /// Checks what no single value shows.
    private func check(_ merged: ConfigurationMap, _ findings: Findings) {
        if let p2p {
            let position = merged["p2p"]?.value.position
            if p2p.networkToken == nil, p2p.autoEnable == true, findings.errors.isEmpty {
                findings.error(
                    .contradiction(
                        "p2p.auto.enable is true and there is no p2p.network_token", remedy: Self.tokenRemedy),
                    at: position, key: "p2p.network_token")
            } else if p2p.networkToken == nil, !choosesDistribution, findings.errors.isEmpty {
                findings.error(
                    .contradiction(
                        "there is a block p2p, but neither a network_token nor an enabled k3s or k3s-agent",
                        remedy: Self.tokenRemedy),
                    at: position, key: "p2p.network_token")
            }
        }
        let chosen = [("k3s", k3s), ("k3s-agent", k3sAgent), ("k0s", k0s), ("k0s-worker", k0sWorker)]
            .filter { $0.1.isEnabled }.map(\.0)
        for later in chosen.dropFirst() {
            findings.warning(
                .withoutEffect("\(chosen[0]).enabled is true as well and goes first"),
                at: findings.positions["\(later).enabled"], key: "\(later).enabled")
        }
    }

    private static let tokenRemedy =
        "make one with `kairos-agent p2p token generate` and put the same one on every node"

    /// Whether a distribution and role are chosen by hand.
    package var choosesDistribution: Bool {
        k3s.isEnabled || k3sAgent.isEnabled || k0s.isEnabled || k0sWorker.isEnabled
    }
}
