internal import ArgumentParser
internal import NodeAgent

/// `kairos-agent start`.
struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Run the agent in the foreground.",
        discussion: """
            It reads the cloud-config, joins the mesh, takes an address, takes part in the election of the K3s \
            server, and configures and starts K3s. It ends on SIGTERM or SIGINT.
            """)

    @OptionGroup var location: RootOption

    @Option(
        name: .customLong("config"),
        help: ArgumentHelp(
            "A directory of cloud-config files in place of the usual ones; may be given several times, the later"
                + " one wins.", valueName: "dir"))
    var configDirectories: [String] = []

    func run() async throws {
        do {
            try await Agent.run(AgentOptions(root: location.root, configDirectories: configDirectories))
        } catch {
            throw Terminal.failure(error.description, exitCode: error.exitCode)
        }
    }
}
