/// What the cloud-config says about K3s: the blocks `k3s` and `k3s-agent` (contract/kairos.md §1.2).
package struct UserSettings: Hashable, Sendable {
    /// One block.
    package struct Block: Hashable, Sendable {
        /// Arguments for the command line. They win over what the agent generates.
        package var arguments: [String] = []
        /// Environment variables of the service.
        package var environment: [String: String] = [:]
        /// Whether `arguments` take the place of everything generated but the join data: a server
        /// without `server` and `token` would found a cluster of its own.
        package var replacesArguments = false
        /// Whether `environment` takes the place of everything else: environment files of the unit,
        /// too, are not read then.
        package var replacesEnvironment = false
        /// Whether servers share images peer to peer. Agents follow their servers.
        package var embeddedRegistry = false

        package init(
            arguments: [String] = [], environment: [String: String] = [:], replacesArguments: Bool = false,
            replacesEnvironment: Bool = false, embeddedRegistry: Bool = false
        ) {
            self.arguments = arguments
            self.environment = environment
            self.replacesArguments = replacesArguments
            self.replacesEnvironment = replacesEnvironment
            self.embeddedRegistry = embeddedRegistry
        }
    }

    /// The block `k3s`, for servers.
    package var server: Block
    /// The block `k3s-agent`.
    package var agent: Block

    package init(server: Block = Block(), agent: Block = Block()) {
        self.server = server
        self.agent = agent
    }

    /// The block for `command`.
    package func block(for command: K3sCommand) -> Block {
        switch command {
        case .server: server
        case .agent: agent
        }
    }

    /// The cluster token the user sets for servers, by argument or environment, if any: the token that
    /// the founding node must publish instead of a generated one.
    ///
    /// - Throws: `K3sConfigurationError` when it is empty, malformed or unfit for a first server.
    package func clusterToken() throws(K3sConfigurationError) -> ClusterToken? {
        let argument = try UserArguments(server.arguments).value(of: "token")
        let variable = server.environment["K3S_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        guard let text = argument ?? variable else { return nil }
        let token = try ClusterToken(text)
        try token.checkFounding()
        return token
    }
}
