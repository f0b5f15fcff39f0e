internal import AgentAPI
internal import ArgumentParser
internal import CloudConfig

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The command line: it parses, calls and prints. Exit codes are those of sysexits(3).
@main
struct KairosAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kairos-agent",
        abstract: "The node agent of Kairos: a mesh VPN between machines, and K3s over it.",
        discussion: """
            Machines that share a network token in their cloud-config find each other, form an encrypted mesh, \
            take an address each, elect a K3s server and join it. See `kairos-agent p2p status` for how far a \
            machine has come and what it waits for.

            Exit codes: 0 done, 64 wrong usage, 65 wrong data, 66 no input, 68 no such node, \
            69 the agent is not running or cannot do it, 73 cannot create a file, 74 input or output error, \
            75 not done yet, 77 no permission, 78 wrong configuration.
            """,
        version: AgentVersion.current,
        subcommands: [StartCommand.self, P2PCommand.self, UUIDCommand.self, VersionCommand.self])
}

/// `kairos-agent uuid`.
struct UUIDCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uuid", abstract: "Print this machine's Kairos UUID.",
        discussion: """
            It is the machine ID and the host's name, or what the environment variable UUID says. It is printed \
            without a line end, as scripts expect it.
            """)

    @OptionGroup var location: RootOption

    func run() throws {
        do throws(MachineIdentity.Problem) {
            let machine = try MachineIdentity(root: location.root, environment: Terminal.environment)
            Terminal.print(machine.uuid, terminator: "")
        } catch {
            throw Terminal.failure(error.description, exitCode: EX_NOINPUT)
        }
    }
}

/// `kairos-agent version`.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    func run() {
        Terminal.print(AgentVersion.current)
    }
}

/// `--root DIR`, which moves everything that the agent reads and writes.
struct RootOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The directory that takes the place of /, for several nodes on one machine.", valueName: "dir"))
    var root = "/"
}

/// The shapes of output that programs and people can choose.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case table, json, yaml
}
