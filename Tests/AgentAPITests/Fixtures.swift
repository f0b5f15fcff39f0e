import Foundation
import Timing

@testable import AgentAPI

/// A wall clock that stands still.
struct FixedTime: TimeSource {
    var wall: UnixTime

    func now() -> Instant { .zero }
    func wallClock() -> UnixTime { wall }
}

/// A source of one status and one ledger.
struct FixedSource: StatusSource, LedgerSource {
    var document = Samples.ready
    var view = LedgerView(buckets: [:], localPeer: "me")

    func status() async -> StatusDocument { document }
    func ledger() async -> LedgerView { view }
}

enum Samples {
    static let moment = UnixTime(seconds: 1_795_391_400)

    static var ready: StatusDocument {
        var document = StatusDocument(
            asOf: Timestamp(moment),
            node: .init(
                name: "kairoslab-be24", uuid: "be249c08-kairoslab-be24", peer: "12D3KooWLbZf",
                networkID: "kairos",
                version: "0.1.0", address: "10.1.0.1/24", role: "master", state: .ready, uptimeSeconds: 3700))
        document.k3s = .init(unit: "k3s", state: "active", isVoter: true)
        document.nodes = [
            .init(
                name: "kairoslab-be24", peer: "12D3KooWLbZf", address: "10.1.0.1", role: "master", state: .own
            ),
            .init(
                name: "kairoslab-0a1b", peer: "12D3KooWAiJK", address: "10.1.0.2", role: "worker",
                state: .connected,
                link: .init(kind: .direct, address: "/ip4/192.168.1.11/tcp/4001", packets: .datagrams),
                roundTripMilliseconds: 0.44,
                lastSeen: Timestamp(moment + .seconds(-12))),
            .init(peer: "12D3KooWMAq7", state: .gone, isForgotten: true),
        ]
        document.counters = ["vpn_packets_sent": 12]
        return document
    }

    static var waiting: StatusDocument {
        var document = StatusDocument(
            asOf: Timestamp(moment),
            node: .init(name: "a", version: "0.1.0", state: .starting, uptimeSeconds: 5))
        document.waiting = [
            .init(
                step: "election", what: "2 more nodes (1 of 3 are here)",
                remedy: "boot them with the same token",
                since: Timestamp(moment + .seconds(-5))),
            .init(step: "k3s", what: "the election", since: Timestamp(moment + .seconds(-200))),
        ]
        document.k3s = .init(
            unit: "k3s", state: "failed", problem: "it ended with code 1",
            log: ["level=fatal \u{1B}[31mport taken\n"])
        document.warnings = ["2 nodes are a quorum of 2, and 4 are known"]
        return document
    }
}

/// Runs `body` with a directory of its own that is removed afterwards.
func withDirectory(_ body: (String) async throws -> Void) async throws {
    // Short, because socket paths are.
    let path = "/tmp/api-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try await body(path)
}
