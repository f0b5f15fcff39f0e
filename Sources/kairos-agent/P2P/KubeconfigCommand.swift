internal import AgentAPI
internal import ArgumentParser
internal import NodeAgent

/// `kairos-agent p2p kubeconfig`.
struct KubeconfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kubeconfig",
        abstract: "Print the cluster administrator's kubeconfig, at the API address.",
        discussion: """
            On a server it is the one that K3s wrote, with the address that always leads to a server in the place \
            of the node itself. Whoever has it can do anything to the cluster: write it to a file that nobody else \
            can read, as in (umask 077; kairos-agent p2p kubeconfig > cluster.yaml).

            The exit code is 0 when it was printed, 69 where there is none (the node is no server, its K3s is not up, \
            or the agent knows no API address), 77 without permission to read it.
            """)

    @Option(help: ArgumentHelp("The server's address, in the place of the API address.", valueName: "host"))
    var server: String?

    @OptionGroup var location: RootOption

    func run() async throws {
        let kubeconfig: Kubeconfig
        do throws(Kubeconfig.Failure) {
            kubeconfig = try Kubeconfig(root: location.root)
        } catch {
            throw Terminal.failure(error.description, exitCode: error.exitCode)
        }
        let address = try await address()
        kubeconfig.withText { before, after in
            let text = String(decoding: before, as: UTF8.self) + kubeconfig.server(at: address)
            Terminal.print(text + String(decoding: after, as: UTF8.self), terminator: "")
        }
    }

    private func address() async throws -> String {
        if let server { return server }
        do throws(APIClient.Problem) {
            let socket = UnixSocket.ofAgent(root: location.root)
            if let address = try await APIClient.status(at: socket, timeout: .seconds(5)).api?.address {
                return address
            }
        } catch {
            throw Terminal.failure("\(error); or name the server with --server", exitCode: error.exitCode)
        }
        throw Terminal.failure(
            "this network has no API address; name the server with --server",
            exitCode: AgentFailure.Code.unavailable)
    }
}
