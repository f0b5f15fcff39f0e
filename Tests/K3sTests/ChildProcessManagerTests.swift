internal import Foundation
internal import Testing
internal import Timing

@testable import K3s

/// Real processes; every wait has a bound.
@Suite("Child process manager", .serialized)
struct ChildProcessManagerTests {
    let folder = TemporaryFolder()

    func service(_ script: String, environment: [String: String] = [:], inherits: Bool = true) -> Service {
        Service(
            unit: "k3s.service",
            launch: LaunchDescription(
                program: "/bin/sh", arguments: ["-c", script], environment: environment,
                inheritsEnvironment: inherits,
                logFile: folder.path + "/log/k3s.log"))
    }

    /// Waits until `condition` holds of the status.
    func wait(
        _ manager: ChildProcessManager, until what: String, _ condition: (ServiceStatus) -> Bool
    ) async throws -> ServiceStatus {
        let deadline = SystemTime().now() + .seconds(20)
        while SystemTime().now() < deadline {
            let status = try await manager.status(of: "k3s.service")
            if condition(status) { return status }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("waited 20 s until \(what)")
        return try await manager.status(of: "k3s.service")
    }

    @Test("a child gets words, variables and a log; nothing of the agent's own; and stops when asked")
    func runs() async throws {
        let manager = try ChildProcessManager()
        setenv("K3S_TOKEN", "of the agent", 1)
        defer { unsetenv("K3S_TOKEN") }
        let script = """
            echo "value=$VALUE token=${K3S_TOKEN-none} watchdog=${WATCHDOG_USEC-none}"
            ls /proc/self/fd | wc -l
            echo to stderr >&2
            while :; do sleep 0.05; done
            """
        try await manager.start(service(script, environment: ["VALUE": "a b!$"]))
        let up = try await wait(manager, until: "the script has written") { _ in
            (try? String(contentsOfFile: folder.path + "/log/k3s.log", encoding: .utf8))?.contains("stderr")
                ?? false
        }
        #expect(up.activity == .activating)
        let lines = await manager.lastLines(of: "k3s.service", count: 3)
        #expect(lines[0] == "value=a b!$ token=none watchdog=none")
        // Standard input, output, error, and the folder that ls reads.
        #expect(lines[1].trimmingCharacters(in: .whitespaces) == "4")
        #expect(lines[2] == "to stderr")
        try await manager.stop(service(script))
        let down = try await wait(manager, until: "it is gone") { $0.activity == .inactive }
        #expect(down.failure == nil)
        await manager.shutDown()
    }

    @Test("READY=1 makes it active")
    func readiness() async throws {
        let manager = try ChildProcessManager()
        let notify = """
            import os, socket, time
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            s.sendto(b"STATUS=up\\nREADY=1\\n", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
            time.sleep(60)
            """
        try Data(notify.utf8).write(to: URL(fileURLWithPath: folder.path + "/notify.py"))
        let changes = await manager.changes()
        try await manager.start(service("exec python3 \(folder.path)/notify.py"))
        var count = 0
        for await _ in changes {
            count += 1
            if try await manager.status(of: "k3s.service").activity == .active { break }
        }
        #expect(count >= 1)
        await manager.shutDown()
        await #expect(throws: ServiceError.self) { try await manager.status(of: "k3s.service") }
    }

    @Test("one that ends is started again and its last lines and status are kept")
    func restarts() async throws {
        let manager = try ChildProcessManager()
        try await manager.start(service("echo going down; exit 3"))
        let status = try await wait(manager, until: "it was restarted") {
            $0.restarts >= 1 && $0.failure != nil
        }
        #expect(status.failure == "exit status 3")
        #expect(await manager.lastLines(of: "k3s.service", count: 1) == ["going down"])
        await manager.shutDown()
    }

    @Test("a program that is not there is told in the last lines")
    func missingProgram() async throws {
        let manager = try ChildProcessManager()
        try await manager.start(
            Service(
                unit: "k3s.service",
                launch: .init(program: folder.path + "/absent", arguments: [], logFile: folder.path + "/log"))
        )
        let status = try await wait(manager, until: "it failed") { $0.failure != nil }
        #expect(status.failure?.contains("errno 2") == true)
        #expect(await manager.lastLines(of: "k3s.service", count: 1).first?.contains("No such file") == true)
        await manager.shutDown()
    }

    @Test("one that ignores SIGTERM is killed with all that it started, and nothing is left")
    func killed() async throws {
        let manager = try ChildProcessManager(patience: .milliseconds(200))
        let script = """
            trap '' TERM
            sh -c 'trap "" TERM; echo $$ > \(folder.path)/grandchild; while :; do sleep 0.05; done' &
            echo $$ > \(folder.path)/child
            while :; do sleep 0.05; done
            """
        try await manager.start(service(script))
        _ = try await wait(manager, until: "both run") { _ in pid("child") != nil && pid("grandchild") != nil
        }
        let pids = try [#require(pid("child")), #require(pid("grandchild"))]
        let begin = SystemTime().now()
        await manager.shutDown()
        #expect(SystemTime().now() - begin < .seconds(3))
        let deadline = SystemTime().now() + .seconds(5)
        // The grandchild is reaped by whoever is init here; a zombie is gone enough.
        while pids.contains(where: isRunning), SystemTime().now() < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(!pids.contains(where: isRunning))
    }

    @Test("a restart replaces the process by one with the new description")
    func restart() async throws {
        let manager = try ChildProcessManager()
        try await manager.start(service("echo first; while :; do sleep 0.05; done"))
        _ = try await wait(manager, until: "the first runs") { _ in pid("never") == nil }
        try await manager.restart(service("echo second; while :; do sleep 0.05; done"))
        let deadline = SystemTime().now() + .seconds(20)
        while await manager.lastLines(of: "k3s.service", count: 1) != ["second"],
            SystemTime().now() < deadline
        {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(await manager.lastLines(of: "k3s.service", count: 1) == ["second"])
        #expect(try await manager.status(of: "k3s.service").restarts == 0)
        await manager.shutDown()
    }

    @Test("with replace_env nothing is inherited but PATH")
    func environment() async throws {
        let manager = try ChildProcessManager()
        try await manager.start(
            service("env > \(folder.path)/env; exec sleep 60", environment: ["A": "b"], inherits: false))
        _ = try await wait(manager, until: "it wrote its environment") { _ in
            (try? String(contentsOfFile: folder.path + "/env", encoding: .utf8))?.contains("A=b") ?? false
        }
        let text = try String(contentsOfFile: folder.path + "/env", encoding: .utf8)
        let names = Set(text.split(separator: "\n").compactMap { $0.split(separator: "=").first })
        #expect(names.subtracting(["A", "PATH", "NOTIFY_SOCKET", "PWD", "SHLVL", "_", "OLDPWD"]).isEmpty)
        await manager.shutDown()
    }

    func pid(_ name: String) -> pid_t? {
        (try? String(contentsOfFile: folder.path + "/" + name, encoding: .utf8))
            .flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    func isRunning(_ pid: pid_t) -> Bool {
        guard let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let state = status.split(separator: ")").last?.split(separator: " ").first
        else { return false }
        return state != "Z" && state != "X"
    }
}

/// A folder that goes with the test.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        path =
            FileManager.default.temporaryDirectory.appendingPathComponent("k3s-tests-\(UUID().uuidString)")
            .path
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
