internal import AgentAPI
internal import ArgumentParser
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// `kairos-agent p2p status`.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show this node, what it waits for, and all nodes of the network.",
        discussion: """
            The fields of json and yaml are documented in docs/status.md. When the agent is not running, its \
            last known state is shown, if it left one, and the exit code is 69.
            """)

    @Option(name: .shortAndLong, help: "How to print it.")
    var output = OutputFormat.table

    @Flag(help: "Show it again every second until interrupted.")
    var watch = false

    @OptionGroup var location: RootOption

    /// How long an answer is waited for. The agent gives it from memory, in milliseconds.
    private static let patience = Duration.seconds(5)

    func run() async throws {
        let socket = UnixSocket.ofAgent(root: location.root)
        guard watch else {
            if let exitCode = try await show(socket) { throw exitCode }
            return
        }
        while !Task.isCancelled {
            if output == .table, Terminal.isInteractive {
                // Home, then clear to the end: no flicker, and nothing is left of a longer table.
                Terminal.print("\u{1B}[H\u{1B}[J", terminator: "")
            }
            _ = try await show(socket)
            try await Task.sleep(for: .seconds(1))
        }
    }

    /// Prints the status once; the exit code when the agent did not give it.
    private func show(_ socket: UnixSocket) async throws -> ExitCode? {
        do throws(APIClient.Problem) {
            let document = try await APIClient.status(at: socket, timeout: Self.patience)
            try? print(document)
            return nil
        } catch {
            let now = SystemTime().wallClock()
            let last = StatusRecord(besideSocket: socket).read()
            var said = "kairos-agent: \(error)"
            if case .notRunning = error {
                said += "; \(remedy)"
            }
            if let last {
                said += "\nIts last known state, \(Age.text(from: last.asOf.time, to: now)) old, follows."
            }
            Terminal.note(said)
            if let last { try? print(last) }
            return ExitCode(error.exitCode)
        }
    }

    /// What starts an agent again.
    private var remedy: String {
        guard location.root == "/" else {
            return "start it with `kairos-agent start --root \(location.root)`"
        }
        return
            "start it with `systemctl start kairos-agent`, and see `journalctl -u kairos-agent` for why it stopped"
    }

    private func print(_ document: StatusDocument) throws {
        switch output {
        case .table:
            Terminal.print(
                StatusText.table(document, now: SystemTime().wallClock()), terminator: watch ? "\n" : "")
        case .json:
            // One line a document while watching, which programs can read as it comes.
            Terminal.print(try StatusText.json(document, pretty: !watch))
        case .yaml:
            Terminal.print((watch ? "---\n" : "") + (try StatusText.yaml(document)), terminator: "")
        }
    }
}
