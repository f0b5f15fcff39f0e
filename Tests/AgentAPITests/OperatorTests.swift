import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing
import Timing

@testable import AgentAPI

@Suite("The operator's words", .timeLimit(.minutes(1)))
struct OperatorTests {
    private static let nodes: [StatusDocument.Peer] = [
        .init(name: "a", uuid: "1-a", peer: "12D3A", address: "10.1.0.1", state: .own),
        .init(name: "b", uuid: "2-b", peer: "12D3B", address: "10.1.0.2", state: .connected),
        .init(name: "c", uuid: "3-c", peer: "12D3C", address: "10.1.0.3", state: .unreachable),
        .init(name: "twin", uuid: "4-twin", peer: "12D3D", address: "10.1.0.4", state: .gone),
        .init(name: "twin", uuid: "5-twin", peer: "12D3E", state: .connected),
        .init(peer: "12D3F", state: .gone),
    ]

    private static let gone = KnownNode(peer: "12D3C", uuid: "3-c", name: "c", address: "10.1.0.3")

    @Test(
        "a node that is gone is named by host name, UUID, peer ID or address",
        arguments: ["c", "C", "3-c", "12D3C", "10.1.0.3"])
    func resolve(name: String) throws {
        #expect(try KnownNode.gone(named: name, among: Self.nodes) == Self.gone)
    }

    @Test(
        "a name of none, of several, of this node, or of a connected one is refused",
        arguments: [
            ("", OperatorRefusal.Reason.unknownNode), ("d", .unknownNode), ("12D3", .unknownNode),
            ("10.1.0", .unknownNode), ("3-C", .unknownNode), ("twin", .ambiguousNode),
            ("TWIN", .ambiguousNode),
            ("a", .thisNode), ("10.1.0.1", .thisNode), ("b", .nodeConnected), ("5-twin", .nodeConnected),
        ])
    func refuse(name: String, reason: OperatorRefusal.Reason) {
        let refusal = #expect(throws: OperatorRefusal.self) {
            try KnownNode.gone(named: name, among: Self.nodes)
        }
        #expect(refusal?.reason == reason)
        #expect(refusal?.remedy.isEmpty == false)
    }

    @Test("several nodes of one name are told apart by peer, address and state")
    func candidates() throws {
        let refusal = #expect(throws: OperatorRefusal.self) {
            try KnownNode.gone(named: "twin", among: Self.nodes)
        }
        #expect(refusal?.candidates == ["peer 12D3D, 10.1.0.4, gone", "peer 12D3E, connected"])
        #expect(try KnownNode.gone(named: "12D3D", among: Self.nodes).peer == "12D3D")
    }

    private static let outcomes: [(OperatorOutcome, Int, String)] = [
        (.done("it is gone"), 200, #"{"outcome":"done","what":"it is gone"}"#),
        (.accepted("it goes"), 202, #"{"outcome":"accepted","what":"it goes"}"#),
        (
            .waitingForQuorum(.init(needed: 2, acknowledged: ["a"], missing: ["b", "c"])), 202,
            #"{"acknowledged":["a"],"missing":["b","c"],"needed":2,"outcome":"waiting"}"#
        ),
        (
            .refused(.init(.lastServer, what: "it is the last", remedy: "add one", candidates: ["x"])), 409,
            #"{"candidates":["x"],"outcome":"refused","reason":"last_server","remedy":"add one","what":"it is the last"}"#
        ),
    ]

    @Test("an outcome has a status and a text that reads back", arguments: outcomes)
    func coding(outcome: OperatorOutcome, status: Int, text: String) throws {
        let answer = OperatorRoutes.answer(outcome)
        #expect(answer == APIAnswer(status: status, body: text + "\n"))
        #expect(try JSONDecoder().decode(OperatorOutcome.self, from: Data(text.utf8)) == outcome)
    }

    @Test("every reason has an exit code of sysexits", arguments: OperatorRefusal.Reason.allCases)
    func exitCodes(reason: OperatorRefusal.Reason) {
        #expect([65, 68, 69].contains(OperatorRefusal(reason, what: "", remedy: "").exitCode))
    }

    private func routes(_ fake: OperatorFake) -> APIRoutes {
        var source = FixedSource()
        source.document.nodes = Self.nodes
        return APIRoutes(
            statusSource: source, ledgerSource: source, clock: FixedTime(wall: Samples.moment),
            operatorRoutes: OperatorRoutes(commands: fake, statusSource: source))
    }

    @Test("a word reaches the node only from one who may change things, whole and by POST")
    func routing() async {
        let fake = OperatorFake([.done("done")])
        let routes = routes(fake)
        func ask(
            _ path: String, _ body: String = "", method: String = "POST", mayChange: Bool = true
        ) async -> Int {
            await routes.answer(method: method, path: path, body: Array(body.utf8), mayChange: mayChange)
                .status
        }
        #expect(await ask("/api/v1/leave", mayChange: false) == 403)
        #expect(await ask("/api/v1/leave", method: "PUT") == 405)
        #expect(await ask("/api/v1/leave", method: "GET") == 404)
        for body in ["{", "[]", "null", "{\"node\":1}"] {
            #expect(await ask("/api/v1/leave", body) == 400, "\(body)")
        }
        #expect(await ask("/api/v1/forget", "{}") == 400)
        #expect(await ask("/api/v1/forget", #"{"node":""}"#) == 400)
        #expect(await ask("/api/v1/forget", "{\"node\":\"\(String(repeating: "x", count: 600))\"}") == 400)
        #expect(await ask("/api/v1/forget", #"{"node":"b"}"#) == 409)
        #expect(await ask("/api/v1/forget", method: "GET") == 400)
        #expect(await ask("/api/v1/reset-cluster", "{}") == 400)
        #expect(await ask("/api/v1/reset-cluster", #"{"i_know":false}"#) == 400)
        #expect(await ask("/api/v1/recover", "{}") == 400)
        #expect(await ask("/api/v1/unknown") == 404)
        #expect(await ask("/api/v1/status") == 405)
        #expect(fake.asked.isEmpty)

        #expect(await ask("/api/v1/leave", "{}") == 200)
        #expect(await ask("/api/v1/forget", #"{"node":"12D3C"}"#) == 200)
        #expect(await ask("/api/v1/reset-cluster", #"{"i_know":true}"#) == 200)
        #expect(await ask("/api/v1/recover", #"{"i_know":true}"#) == 200)
        #expect(fake.asked == [.leave, .forget(Self.gone), .resetCluster, .recover])
        #expect(await ask("/api/v1/forget?node=10%2E1.0.3", method: "GET") == 200)
        #expect(await ask("/api/v1/forget?node=12D3F", method: "GET") == 404)
        #expect(fake.asked.count == 4)
    }

    @Test("without anyone to take words there are no such paths")
    func nobody() async {
        let source = FixedSource()
        let routes = APIRoutes(
            statusSource: source, ledgerSource: source, clock: FixedTime(wall: Samples.moment))
        #expect(await routes.answer(method: "POST", path: "/api/v1/leave", mayChange: true).status == 404)
    }

    @Test("only root and the agent's own user may change things")
    func credentials() {
        #expect(PeerCredentials(user: 0).mayChange(agent: 1000))
        #expect(PeerCredentials(user: 1000).mayChange(agent: 1000))
        #expect(!PeerCredentials(user: 1001).mayChange(agent: 1000))
        #expect(!PeerCredentials().mayChange(agent: 0))
    }

    private func withServer(
        _ fake: OperatorFake, _ body: (UnixSocket) async throws -> Void
    ) async throws {
        try await withDirectory { directory in
            let socket = UnixSocket(path: directory + "/api.sock")
            var source = FixedSource()
            source.document.nodes = Self.nodes
            let server = APIServer(
                socket: socket, status: source, ledger: source, commands: fake,
                clock: FixedTime(wall: Samples.moment),
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await server.run() }
                let end = ContinuousClock.now + .seconds(10)
                while socket.inode == nil, ContinuousClock.now < end {
                    try await Task.sleep(for: .milliseconds(2))
                }
                try await body(socket)
                group.cancelAll()
                try await group.waitForAll()
            }
        }
    }

    @Test("a client follows a word over the socket until it is done, and asks for it once")
    func follow() async throws {
        let wait = OperatorOutcome.waitingForQuorum(.init(needed: 2, acknowledged: ["a"], missing: ["b"]))
        let fake = OperatorFake([wait, wait, .accepted("its address is freed"), .done("c is forgotten")])
        try await withServer(fake) { socket in
            let seen = Seen()
            let outcome = try await APIClient.carryOut(
                .forget(node: "c"), at: socket, wait: .seconds(10), interval: .milliseconds(5)
            ) { seen.add($0) }
            #expect(outcome == .done("c is forgotten"))
            #expect(seen.outcomes == [wait, .accepted("its address is freed"), outcome])
            #expect(fake.asked == [.forget(Self.gone)])
        }
    }

    @Test("a client does not wait longer than it was told, and a refusal ends at once")
    func patience() async throws {
        let fake = OperatorFake([.accepted("it goes"), .accepted("it goes")])
        try await withServer(fake) { socket in
            #expect(
                try await APIClient.carryOut(.leave, at: socket, wait: .zero) == .accepted("it goes"))
            #expect(
                try await APIClient.carryOut(
                    .leave, at: socket, wait: .milliseconds(20), interval: .milliseconds(5))
                    == .accepted("it goes"))
            guard
                case .refused(let refusal) = try await APIClient.carryOut(
                    .forget(node: "nobody"), at: socket, wait: .seconds(60))
            else {
                Issue.record("a node that nobody knows was forgotten")
                return
            }
            #expect(refusal.reason == .unknownNode)
        }
    }

    @Test("a body that is too large is refused by its word alone")
    func largeBody() async throws {
        let fake = OperatorFake([.done("done")])
        try await withServer(fake) { socket in
            let client = APIClient(
                socket: socket, timeout: .seconds(5), eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
            let padding = String(repeating: " ", count: OperatorRoutes.maximumBody)
            let (code, _) = try await client.exchange(
                .init(method: .POST, path: "/api/v1/leave", body: Array("{\(padding)}".utf8)))
            #expect(code == 413)
            #expect(fake.asked.isEmpty)
        }
    }
}

/// Outcomes in the order in which they came.
private final class Seen: Sendable {
    private let list = Mutex<[OperatorOutcome]>([])

    func add(_ outcome: OperatorOutcome) { list.withLock { $0.append(outcome) } }
    var outcomes: [OperatorOutcome] { list.withLock { $0 } }
}
