internal import Foundation
internal import Logging
internal import TestSupport
internal import Testing
internal import Timing

@testable import K3s

/// What is written, read by a program that is as strict about it as K3s.
@Suite("K3s' stand-in under the controller", .serialized)
struct StandInTests {
    /// A node below a root of its own.
    struct Node {
        let folder = TemporaryFolder()
        let manager: ChildProcessManager
        let controller: K3sController
        let running: Task<Void, Never>

        var layout: K3sLayout { K3sLayout(root: folder.path) }

        init() throws {
            let standIn = Vectors.repository.appendingPathComponent("Tests/EndToEnd/k3s-stand-in").path
            FileSystem.makeFolders(folder.path + "/usr/bin")
            symlink(standIn, folder.path + "/usr/bin/k3s")
            manager = try ChildProcessManager()
            let controller = K3sController(
                manager: manager, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            self.controller = controller
            running = Task { await controller.run() }
        }

        func desire(_ role: K3sRole, address: String, name: String, settings: UserSettings = UserSettings())
            async throws
        {
            let facts = NodeFacts(
                name: NodeName(hostName: "same-name", peerID: Array(name.utf8)),
                network: .init(address: try NodeAddress(address), interface: "lo"),
                apiAddress: try NodeAddress("127.0.0.10"))
            await controller.desire(
                try DesiredState(
                    role: role, facts: facts, settings: settings, layout: layout, supervision: .childProcess))
        }

        func ready(_ what: String) async throws {
            let deadline = SystemTime().now() + .seconds(60)
            while SystemTime().now() < deadline {
                if await controller.report?.isReady ?? false { return }
                try await Task.sleep(for: .milliseconds(20))
            }
            Issue.record("waited 60 s for \(what): \(String(describing: await controller.report))")
        }

        func end() async {
            running.cancel()
            await running.value
            await manager.shutDown()
        }
    }

    @Test(
        "a founder and two agents of equal host name come up with what they are given, and end with the agent"
    )
    func cluster() async throws {
        let server = try Node()
        let agents = [try Node(), try Node()]
        let token = ClusterToken.generate()
        let port = "17643"
        let arguments = UserSettings(
            server: .init(arguments: ["--https-listen-port=\(port)", "--tls-san=k8s.example.org"]))
        try await server.desire(
            .foundingServer(.init(token: token)), address: "127.0.0.1", name: "server", settings: arguments)
        let join = K3sRole.Join(server: try ServerURL("https://127.0.0.1:\(port)"), token: token)
        for (index, agent) in agents.enumerated() {
            try await agent.desire(.agent(join), address: "127.0.0.1", name: "agent \(index)")
        }
        try await server.ready("the server")
        for agent in agents { try await agent.ready("an agent") }
        #expect(FileSystem.exists(server.layout.nodeToken))
        let record = try #require(FileSystem.content(of: server.layout.dataFolder + "/stand-in-record.json"))
        #expect(record.contains("k8s.example.org") && record.contains("127.0.0.10"))
        for node in [server] + agents {
            let starts = FileSystem.content(of: node.layout.dataFolder + "/stand-in-starts.jsonl") ?? ""
            #expect(starts.split(separator: "\n").count == 1)
            await node.end()
        }
    }
}
