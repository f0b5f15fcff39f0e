internal import Foundation
internal import Logging
internal import MeshNetwork
internal import Testing
internal import Timing

@testable import K3s

/// The whole loop with real files and real processes, below a root.
@Suite("K3s below a root", .serialized)
struct K3sControllerTests {
    let folder = TemporaryFolder()

    /// Something that runs like K3s: says what it was given, is ready, and waits.
    func installProgram(_ body: String = "") throws {
        let script = """
            #!/usr/bin/env python3
            import os, signal, socket, sys, time
            open(os.environ["K3S_CONFIG_FILE"] + ".d/../started", "a").write(" ".join(sys.argv[1:]) + "\\n")
            \(body)
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            s.sendto(b"READY=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
            signal.pause()
            """
        let path = folder.path + "/usr/bin/k3s"
        try FileSystem.write(script, to: path)
        chmod(path, 0o755)
    }

    var layout: K3sLayout { K3sLayout(root: folder.path) }
    var starts: [String] {
        (FileSystem.content(of: folder.path + "/etc/rancher/k3s/started") ?? "").split(separator: "\n").map(
            String.init)
    }

    func state(_ role: K3sRole, agent: UserSettings.Block = .init()) throws -> DesiredState {
        try Sample.state(role, agent: agent, layout: layout, supervision: .childProcess)
    }

    /// Runs `body` beside a running controller.
    func withController(_ body: (K3sController) async throws -> Void) async throws {
        let manager = try ChildProcessManager(patience: .milliseconds(500))
        let controller = K3sController(
            manager: manager, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { await controller.run() }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(controller)) } catch { outcome = .failure(error) }
        running.cancel()
        await running.value
        await manager.shutDown()
        try outcome.get()
    }

    func wait(
        _ controller: K3sController, until what: String, _ condition: (K3sReport?) -> Bool
    ) async throws {
        let deadline = SystemTime().now() + .seconds(30)
        while SystemTime().now() < deadline {
            if condition(await controller.report) { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record(
            "waited 30 s until \(what); the report is \(String(describing: await controller.report))")
    }

    @Test("files first, then K3s, then the sentinel; another role replaces all of it")
    func life() async throws {
        try installProgram()
        try await withController { controller in
            let agent = try state(.agent(Sample.join()), agent: .init(environment: ["A": "b"]))
            await controller.desire(agent)
            try await wait(controller, until: "the agent is ready") { $0?.isReady ?? false }
            #expect(starts == ["agent --data-dir \(layout.dataFolder)"])
            for file in agent.files(binary: "") {
                #expect(FileSystem.state(of: file.path) == .regular(content: file.content, mode: 0o600))
            }
            try await wait(controller, until: "the sentinel is there") { _ in
                FileSystem.exists(layout.sentinel)
            }
            #expect(FileSystem.content(of: layout.appliedRecord) == "\(agent.fingerprint)")

            let server = try state(.server(Sample.join()))
            await controller.desire(server)
            try await wait(controller, until: "the server is ready") {
                $0?.unit == "k3s.service" && $0?.isReady ?? false
            }
            #expect(starts.count == 2 && starts.last == "server --data-dir \(layout.dataFolder)")
            #expect(FileSystem.state(of: layout.environmentFile) == .missing)
            let text = try #require(FileSystem.content(of: layout.dropIn))
            #expect(text.contains("advertise-address"))
        }
    }

    @Test("a changed join URL restarts the agent once, the same wish again does nothing")
    func change() async throws {
        try installProgram()
        try await withController { controller in
            await controller.desire(try state(.agent(Sample.join())))
            try await wait(controller, until: "it is ready") { $0?.isReady ?? false }
            await controller.desire(try state(.agent(Sample.join("https://10.1.0.9:6443"))))
            try await wait(controller, until: "it was started again") {
                $0?.isReady ?? false && starts.count == 2
            }
            await controller.desire(try state(.agent(Sample.join("https://10.1.0.9:6443"))))
            try await Task.sleep(for: .milliseconds(300))
            #expect(starts.count == 2)
        }
    }

    @Test("without a binary the node says so, and starts K3s once there is one")
    func missingBinary() async throws {
        guard !FileSystem.isProgram("/usr/bin/k3s"), !FileSystem.isProgram("/usr/local/bin/k3s") else {
            return
        }
        try await withController { controller in
            let state = try state(.agent(Sample.join()))
            await controller.desire(state)
            try await wait(controller, until: "it waits for the binary") {
                $0?.waiting?.what.contains(folder.path + "/usr/bin/k3s") ?? false
            }
            try await wait(controller, until: "the file is there") { _ in FileSystem.exists(layout.dropIn) }
            #expect(starts.isEmpty)
            try installProgram()
            try await wait(controller, until: "it runs") { $0?.isReady ?? false }
        }
    }

    @Test("where a file cannot be written nothing is started and nothing is half-written")
    func unwritable() async throws {
        try installProgram()
        // A file where a folder must be: the same for root and for others.
        try FileSystem.write("in the way", to: folder.path + "/etc/rancher/k3s/config.yaml.d")
        try await withController { controller in
            await controller.desire(try state(.agent(Sample.join())))
            try await wait(controller, until: "it tells of the file") {
                $0?.waiting?.what.contains("config.yaml.d") ?? false
            }
            #expect(starts.isEmpty)
            #expect(FileSystem.content(of: folder.path + "/etc/rancher/k3s/config.yaml.d") == "in the way")
        }
    }

    @Test("K3s that ends again and again is a crash loop with its last lines")
    func crashLoop() async throws {
        try installProgram("print('level=fatal msg=no'); sys.exit(1)")
        try await withController { controller in
            await controller.desire(try state(.agent(Sample.join())))
            try await wait(controller, until: "it is a crash loop") { $0?.isCrashLooping ?? false }
            let report = await controller.report
            #expect(report?.lastLines.last == "level=fatal msg=no")
            #expect(report?.waiting?.step == .k3s)
        }
    }
}
