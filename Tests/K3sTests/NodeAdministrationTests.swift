internal import Foundation
internal import Synchronization
internal import Testing
internal import Timing

@testable import K3s

@Suite("What a server asks of its cluster", .serialized)
struct NodeAdministrationTests {
    let folder = TemporaryFolder()

    /// Answers in turn, and what was asked.
    final class Script: Sendable {
        private let state: Mutex<(answers: [BoundedCommand.Outcome], asked: [[String]])>
        init(_ answers: [BoundedCommand.Outcome]) { state = Mutex((answers, [])) }
        var asked: [[String]] { state.withLock { $0.asked } }
        func next(_ arguments: [String]) -> BoundedCommand.Outcome {
            state.withLock { state in
                state.asked.append(arguments)
                return state.answers.isEmpty ? .timedOut : state.answers.removeFirst()
            }
        }
    }

    func administration(_ script: Script) throws -> NodeAdministration {
        let layout = K3sLayout(root: folder.path)
        try FileSystem.write("#!/bin/sh\n", to: folder.path + "/usr/bin/k3s")
        chmod(folder.path + "/usr/bin/k3s", 0o755)
        return NodeAdministration(
            layout: layout, run: { _, arguments, _ in script.next(arguments) }, delays: [.zero, .zero])
    }

    @Test("a member's state is read, and an answer that says nothing is none")
    func voter() async throws {
        for (outcome, expected) in [
            (.ended(status: 0, output: "True\n"), true), (.ended(status: 0, output: "False"), false),
            (.ended(status: 0, output: ""), nil), (.ended(status: 1, output: "True"), nil), (.timedOut, nil),
        ] as [(BoundedCommand.Outcome, Bool?)] {
            let script = Script([outcome])
            let answer = try await administration(script).isVoter("node-1")
            #expect(answer == expected)
            #expect(
                script.asked.first?.prefix(4) == [
                    "kubectl", "--kubeconfig", folder.path + "/etc/rancher/k3s/k3s.yaml", "get",
                ])
        }
    }

    @Test("a removal is repeated until it succeeds, and then no more")
    func removal() async throws {
        let script = Script([
            .timedOut, .ended(status: 1, output: "no leader\n"), .ended(status: 0, output: ""),
        ])
        try await administration(script).remove("node-1")
        #expect(script.asked.count == 3)
        #expect(script.asked[0].contains("--ignore-not-found=true"))
        let failing = Script([.timedOut, .timedOut, .ended(status: 1, output: "a\nno leader\n")])
        await #expect(throws: NodeRemovalError.refused("no leader")) {
            try await administration(failing).remove("node-1")
        }
    }

    @Test("what is no node's name never becomes an argument")
    func names() async throws {
        for name in [
            "", "--all", "a b", "a/b", "A", "-a", "a-", ".a", "a;b", String(repeating: "a", count: 254),
        ] {
            let script = Script([])
            await #expect(throws: NodeRemovalError.nameInvalid(name)) {
                try await administration(script).remove(name)
            }
            #expect(try await administration(script).isVoter(name) == nil)
            #expect(script.asked.isEmpty)
        }
    }

    @Test("a command ends with its output, by its time, or not at all")
    func commands() {
        #expect(
            BoundedCommand.run("/bin/sh", ["-c", "echo out; echo err >&2; exit 3"], limit: .seconds(20))
                == .ended(status: 3, output: "out\nerr\n"))
        let begin = SystemTime().now()
        #expect(
            BoundedCommand.run("/bin/sh", ["-c", "sleep 60 & sleep 60"], limit: .milliseconds(200))
                == .timedOut)
        #expect(SystemTime().now() - begin < .seconds(20))
        #expect(BoundedCommand.run("/no/such", [], limit: .seconds(1)) == .notStarted(2))
        guard
            case .ended(0, let much) = BoundedCommand.run(
                "/bin/sh", ["-c", "head -c 1000000 /dev/zero | tr '\\0' x"], limit: .seconds(20))
        else { return #expect(Bool(false), "the command did not end") }
        #expect(much.utf8.count == 65536)
    }
}
