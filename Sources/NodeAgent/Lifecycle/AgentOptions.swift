/// What the command line says about a run.
package struct AgentOptions: Hashable, Sendable {
    /// The folder that takes the place of `/`.
    package var root: String
    /// The folders of the cloud-config; empty for the usual ones under the root.
    package var configDirectories: [String]

    package init(root: String = "/", configDirectories: [String] = []) {
        self.root = root
        self.configDirectories = configDirectories
    }
}

/// Why the agent cannot start or go on.
package struct AgentFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong and what to do about it.
    package let description: String
    /// The exit code, of sysexits(3).
    package let exitCode: Int32

    package init(_ description: String, exitCode: Int32) {
        self.description = description
        self.exitCode = exitCode
    }

    /// The agent ends in order to be started again by its supervisor, for these changes of the cloud-config.
    static func startAgain(_ changes: [ConfigurationChange]) -> AgentFailure {
        AgentFailure(
            "the cloud-config changed, and the agent is to be started again for it: "
                + changes.map(\.line).joined(separator: "; "), exitCode: Code.startAgain)
    }

    /// The exit codes of sysexits(3) that starting can end with.
    package enum Code {
        package static let data: Int32 = 65
        package static let unavailable: Int32 = 69
        package static let software: Int32 = 70
        package static let cannotCreate: Int32 = 73
        package static let inputOutput: Int32 = 74
        /// The agent is to be started again, with another configuration.
        package static let startAgain: Int32 = 75
        package static let permission: Int32 = 77
        package static let configuration: Int32 = 78
    }
}
