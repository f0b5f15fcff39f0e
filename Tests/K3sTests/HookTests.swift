import Foundation
import Logging
import Testing
import Timing

@testable import K3s

@Suite("The operator's hooks", .timeLimit(.minutes(1)))
struct HookTests {
    private func withRoot(_ body: (String) async throws -> Void) async throws {
        let root = "/tmp/hooks-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(
            atPath: root + "/usr/bin", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await body(root)
    }

    private func runner(_ root: String, patience: Duration = .seconds(20)) -> HookRunner {
        HookRunner(
            layout: HookLayout(K3sLayout(root: root)), supervision: .childProcess, patience: patience,
            time: SystemTime(), logger: Logger(label: "test"))
    }

    private func install(_ script: String, at path: String) throws {
        try Data("#!/bin/sh\n\(script)\n".utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    }

    private func log(_ root: String) -> [String] {
        (try? String(contentsOfFile: root + "/log", encoding: .utf8))?
            .split(separator: "\n").map(String.init) ?? []
    }

    @Test("stages run by their names, the bootstrap with its program after it, each once")
    func once() async throws {
        try await withRoot { root in
            try install("echo \"$@\" >>\(root)/log", at: root + "/usr/bin/kairos-agent")
            try install("echo hook >>\(root)/log", at: root + "/usr/bin/kairos-agent.bootstrap.hook")
            let stages: [HookStage] = [
                .bootstrap, .before(role: "master/clusterinit"), .after(role: "master/clusterinit"),
            ]
            let expected = [
                "run-stage kairos-agent.bootstrap", "hook",
                "run-stage provider-kairos.bootstrap.before.master/clusterinit",
                "run-stage provider-kairos.bootstrap.after.master/clusterinit",
            ]
            // The second runner is the agent after a restart.
            for runner in [runner(root), runner(root)] {
                for stage in stages + stages { await runner.run(stage) }
            }
            #expect(log(root) == expected)
            // The next boot has an empty /run: its bootstrap is another, the roles are the same.
            try FileManager.default.removeItem(atPath: root + "/run")
            let next = runner(root)
            for stage in stages { await next.run(stage) }
            await next.run(.before(role: "worker"))
            #expect(
                log(root) == expected + expected.prefix(2)
                    + ["run-stage provider-kairos.bootstrap.before.worker"])
        }
    }

    @Test("nothing runs where there is nothing, and never this program itself")
    func nothing() async throws {
        try await withRoot { root in
            await runner(root).run(.bootstrap)
            try FileManager.default.createSymbolicLink(
                atPath: root + "/usr/bin/kairos-agent", withDestinationPath: "/proc/self/exe")
            await runner(root).run(.before(role: "worker"))
            #expect(log(root).isEmpty)
        }
    }

    @Test("a program that hangs is ended with what it started, and its output is bounded")
    func bounds() async throws {
        try await withRoot { root in
            try install("sleep 60 & yes; sleep 60", at: root + "/usr/bin/noisy")
            var start = ContinuousClock.now
            var outcome = HookProcess.Outcome(end: .notStarted(ETXTBSY), output: [])
            // A child that another test forks meanwhile may hold the program open for writing until it executes.
            for _ in 0..<500 where outcome.end == .notStarted(ETXTBSY) {
                try await Task.sleep(for: .milliseconds(10))
                start = ContinuousClock.now
                outcome = await HookProcess.run(
                    [root + "/usr/bin/noisy"], patience: .milliseconds(300), time: SystemTime())
            }
            #expect(outcome.end == .timedOut)
            #expect(outcome.output.count <= 10)
            #expect(ContinuousClock.now - start < .seconds(20))
        }
    }

    @Test("how a program ended is told")
    func ends() async throws {
        try await withRoot { root in
            try install("echo first; printf last; exit 3", at: root + "/fails")
            try install("kill -9 $$", at: root + "/dies")
            func run(_ name: String) async throws -> HookProcess.Outcome {
                var outcome = HookProcess.Outcome(end: .notStarted(ETXTBSY), output: [])
                for _ in 0..<500 where outcome.end == .notStarted(ETXTBSY) {
                    try await Task.sleep(for: .milliseconds(10))
                    outcome = await HookProcess.run([root + name], patience: .seconds(20), time: SystemTime())
                }
                return outcome
            }
            #expect(try await run("/fails") == .init(end: .exited(3), output: ["first", "last"]))
            #expect(try await run("/dies").end == .signalled(9))
            #expect(try await run("/none").end == .notStarted(ENOENT))
        }
    }
}
