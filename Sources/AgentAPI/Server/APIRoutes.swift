internal import Timing

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// An answer of the API: a status code and a JSON text.
struct APIAnswer: Hashable {
    var status: Int
    var body: String

    static func ok(_ body: String) -> APIAnswer { APIAnswer(status: 200, body: body) }

    /// An answer that says what is wrong, in the shape of EdgeVPN's.
    static func failure(_ status: Int, _ message: String) -> APIAnswer {
        APIAnswer(status: status, body: "{\"message\":\"\(message)\"}\n")
    }
}

/// Which answer belongs to which path. Only the paths of `OperatorRoutes` change anything.
///
/// | path | answer |
/// |---|---|
/// | `/api/v1/status` | the status document |
/// | `/api/v1/healthz` | `{"state":"ready"}`, or 503 with the state while the node is not ready |
/// | `/api/summary`, `/api/machines`, `/api/nodes`, `/api/ledger`, `/api/ledger/:bucket`,
///   `/api/ledger/:bucket/:key` | EdgeVPN's answers (contract/kairos.md §6.2) |
struct APIRoutes: Sendable {
    let statusSource: any StatusSource
    let ledgerSource: any LedgerSource
    let clock: any TimeSource
    /// What takes the operator's words; nil where none are taken.
    var operatorRoutes: OperatorRoutes?

    /// The largest body that a request may have, in bytes.
    func maximumBody(method: String, path: String) -> Int {
        guard method == "POST", let segments = Self.segments(of: path), OperatorRoutes.isPath(segments) else {
            return 0
        }
        return OperatorRoutes.maximumBody
    }

    /// The answer to a request, whose path still has its percent escapes. `mayChange` says whether who asks
    /// may change anything.
    func answer(method: String, path: String, body: [UInt8] = [], mayChange: Bool = false) async -> APIAnswer
    {
        guard let segments = Self.segments(of: path) else { return .failure(400, "Bad Request") }
        if let operatorRoutes, OperatorRoutes.isPath(segments) {
            switch method {
            case "POST":
                guard mayChange else { return .failure(403, "Forbidden") }
                return await operatorRoutes.ask(segments[2], body: body)
            case "GET", "HEAD":
                return await operatorRoutes.tell(segments[2], node: Self.query("node", of: path))
            default: return .failure(405, "Method Not Allowed")
            }
        }
        guard let route = Route(segments) else { return .failure(404, "Not Found") }
        guard method == "GET" || method == "HEAD" else { return .failure(405, "Method Not Allowed") }
        do {
            return try await answer(route)
        } catch {
            // Only an encoder can fail, and only over numbers that JSON has no text for.
            return .failure(500, "Internal Server Error")
        }
    }

    private enum Route {
        case status, health, summary, machines, nodes, ledger
        case bucket(String)
        case entry(bucket: String, key: String)

        init?(_ segments: [String]) {
            guard segments.first == "api", segments.count >= 2 else { return nil }
            switch (segments[1], segments.count) {
            case ("v1", 3) where segments[2] == "status": self = .status
            case ("v1", 3) where segments[2] == "healthz": self = .health
            case ("summary", 2): self = .summary
            case ("machines", 2): self = .machines
            case ("nodes", 2): self = .nodes
            case ("ledger", 2): self = .ledger
            case ("ledger", 3): self = .bucket(segments[2])
            case ("ledger", 4): self = .entry(bucket: segments[2], key: segments[3])
            default: return nil
            }
        }
    }

    private func answer(_ route: Route) async throws -> APIAnswer {
        switch route {
        case .status:
            return .ok(try StatusText.json(await statusSource.status(), pretty: false) + "\n")
        case .health:
            let state = await statusSource.status().node.state
            return APIAnswer(status: state == .ready ? 200 : 503, body: "{\"state\":\"\(state.rawValue)\"}\n")
        case .ledger:
            // Empty buckets are left out, as EdgeVPN does.
            return try Self.json(await ledgerSource.ledger().buckets.filter { !$0.value.isEmpty })
        case .bucket(let name):
            guard let bucket = await ledgerSource.ledger().buckets[name], !bucket.isEmpty else {
                return .ok("null\n")
            }
            return try Self.json(bucket)
        case .entry(let bucket, let key):
            return try Self.json(await ledgerSource.ledger().buckets[bucket]?[key] ?? "")
        case .summary: return try Self.json(await edgeVPN().summary)
        case .machines: return try Self.json(await edgeVPN().machines)
        case .nodes: return try Self.json(await edgeVPN().nodes)
        }
    }

    private func edgeVPN() async -> EdgeVPNAnswers {
        EdgeVPNAnswers(view: await ledgerSource.ledger(), now: clock.wallClock())
    }

    private static func json(_ value: some Encodable) throws -> APIAnswer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return .ok(String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
    }

    /// The parts between the slashes of a path, unescaped; a query is dropped. Nil when an escape is broken.
    static func segments(of path: String) -> [String]? {
        let bare = path.utf8.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        guard bare.first == UInt8(ascii: "/") else { return nil }
        var segments: [String] = []
        for part in bare.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let segment = unescaped(part) else { return nil }
            segments.append(segment)
        }
        if segments.last == "" { segments.removeLast() }
        return segments
    }

    /// The value of `name` in the query of a path, unescaped; nil when there is none or its escapes are broken.
    static func query(_ name: String, of path: String) -> String? {
        guard let mark = path.utf8.firstIndex(of: UInt8(ascii: "?")) else { return nil }
        for pair in path.utf8[path.utf8.index(after: mark)...].split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(
                separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, unescaped(parts[0]) == name { return unescaped(parts[1]) }
        }
        return nil
    }

    private static func unescaped(_ part: Substring.UTF8View) -> String? {
        var bytes: [UInt8] = []
        var rest = part
        while let byte = rest.popFirst() {
            if byte != UInt8(ascii: "%") {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexDigit), let low = rest.popFirst().flatMap(hexDigit)
            else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
