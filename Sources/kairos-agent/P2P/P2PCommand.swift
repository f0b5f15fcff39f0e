internal import ArgumentParser

/// `kairos-agent p2p …`.
struct P2PCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "p2p", abstract: "The mesh: its state, its token, its configuration, its members.",
        subcommands: [
            StatusCommand.self, TokenCommand.self, ConfigCommand.self, LeaveCommand.self, ForgetCommand.self,
            ResetClusterCommand.self, RecoverCommand.self, KubeconfigCommand.self,
        ])
}

/// `kairos-agent p2p token …`.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "The secret that makes machines members of one network.",
        subcommands: [TokenGenerateCommand.self])
}

/// `kairos-agent p2p config …`.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "The cloud-config, as this agent reads it.",
        subcommands: [ConfigValidateCommand.self])
}
