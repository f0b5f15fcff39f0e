import Foundation
import TestSupport
import Testing
import Timing

@testable import AgentAPI

@Suite("The routes of the API")
struct APIRoutesTests {
    private func routes(_ source: FixedSource = FixedSource(), at moment: UnixTime = Samples.moment)
        -> APIRoutes
    {
        APIRoutes(statusSource: source, ledgerSource: source, clock: FixedTime(wall: moment))
    }

    /// One of the three captured EdgeVPN nodes: its ledger and its answers.
    private struct Captured {
        var folder: String
        var source: FixedSource

        init(_ node: Int) throws {
            folder = "live/node\(node)"
            let ledger: [String: [String: String]] = try Vectors.load("\(folder)/09-ledger.json")
            let summary: EdgeVPNAnswers.Summary = try Vectors.load("\(folder)/01-summary.json")
            let machines: [EdgeVPNAnswers.Machine] = try Vectors.load("\(folder)/02-machines.json")
            source = FixedSource(
                view: LedgerView(
                    buckets: ledger, localPeer: summary.localPeer,
                    roomPeers: Set(machines.filter(\.inRoom).map(\.record.peer)),
                    knownPeerCount: summary.knownPeers,
                    blockIndex: summary.blockIndex))
        }

        /// A captured answer as a value, so that the order of keys does not matter.
        func answer(_ name: String) throws -> NSObject {
            try Self.value(String(decoding: Vectors.data("\(folder)/\(name).json"), as: UTF8.self))
        }

        static func value(_ text: String) throws -> NSObject {
            let value = try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
            return try #require(value as? NSObject)
        }
    }

    /// When the answers of `vectors/live` were taken.
    private static let captured = UnixTime(seconds: 1_795_376_144)

    @Test(
        "the ledger is answered as a real EdgeVPN node answers it", arguments: 1...3,
        [
            ("/api/ledger", "09-ledger"), ("/api/ledger/machines", "10-ledger_machines"),
            ("/api/ledger/machines/10.1.0.1", "11-ledger_machines_10.1.0.1"),
            ("/api/ledger/healthcheck", "12-ledger_healthcheck"), ("/api/ledger/kairos", "13-ledger_kairos"),
            ("/api/ledger/kairos/role", "14-ledger_kairos_role"),
            ("/api/ledger/kairos/note", "15-ledger_kairos_note"),
            ("/api/ledger/kairos/gone", "16-ledger_kairos_gone"), ("/api/ledger/dns", "17-ledger_dns"),
            ("/api/ledger/dns/web%5C.example%5C.", "18-ledger_dns_web_5C.example_5C."),
            ("/api/ledger/dhcp", "19-ledger_dhcp"), ("/api/ledger/dhcp/leader", "20-ledger_dhcp_leader"),
            ("/api/ledger/nothing", "21-ledger_nothing"),
            ("/api/ledger/nothing/here", "22-ledger_nothing_here"),
            ("/api/summary", "01-summary"),
        ])
    func ledger(node: Int, route: (path: String, file: String)) async throws {
        let captured = try Captured(node)
        let answer = await routes(captured.source, at: Self.captured).answer(method: "GET", path: route.path)
        #expect(answer.status == 200)
        #expect(answer.body.hasSuffix("\n"))
        #expect(try Captured.value(answer.body) == captured.answer(route.file))
    }

    @Test(
        "machines and nodes are answered as a real EdgeVPN node answers them, the order aside",
        arguments: 1...3)
    func machines(node: Int) async throws {
        let captured = try Captured(node)
        let routes = routes(captured.source, at: Self.captured)
        for (path, file) in [("/api/machines", "02-machines"), ("/api/nodes", "03-nodes")] {
            let answer = await routes.answer(method: "GET", path: path)
            let ours = try #require(Captured.value(answer.body) as? [NSDictionary])
            let theirs = try #require(captured.answer(file) as? [NSDictionary])
            #expect(Set(ours) == Set(theirs))
            #expect(ours.count == theirs.count)
        }
    }

    @Test(
        "a machine is online while it is connected or its heartbeat is young, and says truly whether it is connected"
    )
    func online() throws {
        var view = LedgerView(
            buckets: [
                "machines": Dictionary(
                    uniqueKeysWithValues: ["a", "b", "c", "me"].map {
                        ("10.1.0.\($0)", "{\"PeerID\":\"\($0)\"}")
                    }),
                "healthcheck": [
                    "a": "\"2026-11-22T23:31:00Z\"", "b": "\"2026-11-22T23:29:00Z\"", "c": "nonsense",
                ],
            ], localPeer: "me")
        view.connectedPeers = ["c"]
        let answers = EdgeVPNAnswers(view: view, now: Samples.moment)
        #expect(answers.machines.map(\.online) == [true, false, true, true])
        #expect(answers.machines.map(\.connected) == [false, false, true, false])
        #expect(answers.nodes.map(\.peer) == ["me"])
    }

    @Test("values of the ledger that are no machines are left out")
    func foreignMachines() {
        let view = LedgerView(
            buckets: ["machines": ["1": "", "2": "[]", "3": "{\"PeerID\":5}", "4": "{}"]], localPeer: "me")
        #expect(EdgeVPNAnswers(view: view, now: Samples.moment).machines.map(\.record.peer) == [""])
    }

    @Test("the status is answered as JSON")
    func status() async throws {
        let answer = await routes().answer(method: "GET", path: "/api/v1/status")
        #expect(answer.status == 200)
        #expect(try StatusText.document(fromJSON: answer.body.utf8) == Samples.ready)
    }

    @Test("health is 200 when the node is ready, else 503 with the state")
    func health() async {
        #expect(
            await routes().answer(method: "GET", path: "/api/v1/healthz")
                == .init(status: 200, body: "{\"state\":\"ready\"}\n"))
        let waiting = routes(FixedSource(document: Samples.waiting))
        #expect(await waiting.answer(method: "GET", path: "/api/v1/healthz").status == 503)
    }

    @Test(
        "what is not there is 404, in EdgeVPN's shape",
        arguments: [
            "/", "/api", "/api/v1", "/api/v1/nothing", "/api/peergate", "/api/ledger/a/b/c", "/status", "//",
            "/x/summary",
        ])
    func notFound(path: String) async {
        #expect(
            await routes().answer(method: "GET", path: path)
                == .init(status: 404, body: "{\"message\":\"Not Found\"}\n"))
    }

    @Test("what would change something is refused", arguments: ["PUT", "POST", "DELETE", "PATCH", "X"])
    func readOnly(method: String) async {
        #expect(await routes().answer(method: method, path: "/api/ledger/a/b").status == 405)
    }

    @Test(
        "paths are split and unescaped",
        arguments: [
            ("/a/b", ["a", "b"]), ("/a%2Fb/c", ["a/b", "c"]), ("/a/?x=/y", ["a"]), ("/%C5%BC", ["ż"]),
            ("/a//b", ["a", "", "b"]),
            ("/", []), ("", nil), ("a", nil), ("/%", nil), ("/%4", nil), ("/%GG", nil), ("/%FF", nil),
        ] as [(String, [String]?)])
    func segments(path: String, segments: [String]?) {
        #expect(APIRoutes.segments(of: path) == segments)
    }
}
