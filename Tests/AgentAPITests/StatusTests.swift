import Foundation
import Testing
import Timing

@testable import AgentAPI

@Suite("The status document")
struct StatusTests {
    @Test("the field names are those of docs/status.md, and what is unknown is left out")
    func fieldNames() throws {
        let json = try StatusText.json(Samples.ready, pretty: false)
        #expect(
            json == #"{"as_of":"2026-11-22T23:50:00.000Z","counters":{"vpn_packets_sent":12},"format":1,"#
                + #""k3s":{"log":[],"state":"active","unit":"k3s","voter":true},"node":{"address":"10.1.0.1/24","name":"kairoslab-be24","#
                + #""network_id":"kairos","peer":"12D3KooWLbZf","role":"master","state":"ready","uptime_seconds":3700,"#
                + #""uuid":"be249c08-kairoslab-be24","version":"0.1.0"},"nodes":["#
                + #"{"address":"10.1.0.1","name":"kairoslab-be24","peer":"12D3KooWLbZf","role":"master","state":"self"},"#
                + #"{"address":"10.1.0.2","last_seen":"2026-11-22T23:49:48.000Z","link":{"address":"/ip4/192.168.1.11/tcp/4001","kind":"direct","packets":"datagrams"},"#
                + #""name":"kairoslab-0a1b","peer":"12D3KooWAiJK","role":"worker","round_trip_ms":0.44,"state":"connected"},"#
                + #"{"forgotten":true,"peer":"12D3KooWMAq7","state":"gone"}],"waiting":[],"warnings":[]}"#)
        #expect(
            try StatusText.json(Samples.waiting, pretty: false).contains(
                #""waiting":[{"remedy":"boot them with the same token","since":"2026-11-22T23:49:55.000Z","step":"election","#
            ))
    }

    @Test("a document survives its JSON", arguments: [false, true])
    func roundTrip(pretty: Bool) throws {
        for document in [Samples.ready, Samples.waiting] {
            #expect(
                try StatusText.document(fromJSON: StatusText.json(document, pretty: pretty).utf8) == document)
        }
    }

    @Test("YAML has the same fields")
    func yaml() throws {
        let yaml = try StatusText.yaml(Samples.ready)
        #expect(yaml.contains("network_id: kairos\n"))
        #expect(
            yaml.contains("as_of: 2026-11-22T23:50:00.000Z\n")
                || yaml.contains("as_of: '2026-11-22T23:50:00.000Z'\n"))
        #expect(yaml.contains("round_trip_ms: 4.4e-1\n") || yaml.contains("round_trip_ms: 0.44\n"))
    }

    @Test("every field is documented in docs/status.md")
    func documented() throws {
        let text = try String(
            contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent()
                .deletingLastPathComponent().appendingPathComponent("docs/status.md"), encoding: .utf8)
        var full = Samples.waiting
        full.node = Samples.ready.node
        full.nodes = [
            .init(
                name: "a", uuid: "b", peer: "c", address: "d", role: "e", state: .connected,
                link: .init(kind: .direct, address: "f"), roundTripMilliseconds: 1, lastSeen: full.asOf)
        ]
        func names(_ value: Any, under path: String) -> [String] {
            switch value {
            case let map as [String: Any]:
                return map.flatMap { key, value -> [String] in
                    let own = path.isEmpty ? key : "\(path).\(key)"
                    return [own] + (key == "counters" ? [] : names(value, under: own))
                }
            case let list as [Any]: return list.flatMap { names($0, under: path + "[]") }
            default: return []
            }
        }
        let json = try JSONSerialization.jsonObject(with: Data(StatusText.json(full, pretty: false).utf8))
        for name in Set(names(json, under: "")) {
            #expect(text.contains("`\(name)`"), "\(name) is not documented")
        }
        for state in StatusDocument.NodeState.allCases { #expect(text.contains("`\(state.rawValue)`")) }
        for state in StatusDocument.Peer.State.allCases { #expect(text.contains("`\(state.rawValue)`")) }
        for kind in StatusDocument.Link.Kind.allCases { #expect(text.contains("`\(kind.rawValue)`")) }
    }

    @Test("the table of a settled node is aligned, with ages, and dashes for what is not known")
    func table() {
        #expect(
            StatusText.table(Samples.ready, now: Samples.moment) == """
                node     kairoslab-be24
                state    ready
                address  10.1.0.1/24
                role     master
                k3s      k3s active
                etcd     full member
                peer     12D3KooWLbZf
                uuid     be249c08-kairoslab-be24
                network  kairos
                agent    version 0.1.0, up 1h1m

                NAME            ADDRESS   ROLE    STATE            LINK                                           RTT     SEEN     PEER
                kairoslab-be24  10.1.0.1  master  self             -                                              -       -        12D3KooWLbZf
                kairoslab-0a1b  10.1.0.2  worker  connected        direct /ip4/192.168.1.11/tcp/4001 (datagrams)  0.4 ms  12s ago  12D3KooWAiJK
                -               -         -       gone, forgotten  -                                              -       never    12D3KooWMAq7

                """)
    }

    @Test("a server that waits for its turn to restart says for what, and whose turn it is")
    func turn() throws {
        var document = Samples.ready
        document.k3s = .init(
            unit: "k3s", state: "active", isVoter: false, wantsRestart: "other settings (token)",
            restarting: "12D3")
        let json = try StatusText.json(document, pretty: false)
        #expect(
            json.contains(
                #""k3s":{"log":[],"restarting":"12D3","state":"active","unit":"k3s","voter":false,"wants_restart":"other settings (token)"}"#
            ))
        let table = StatusText.table(document, now: Samples.moment)
        #expect(table.contains("etcd     learner\n"))
        #expect(table.contains("restart  wanted for other settings (token); it is the turn of 12D3\n"))
        document.k3s?.restarting = nil
        #expect(StatusText.table(document, now: Samples.moment).contains("; nobody has the turn\n"))
    }

    @Test("the table of a node that waits says for what, since when, and what can be done")
    func waiting() {
        #expect(
            StatusText.table(Samples.waiting, now: Samples.moment) == """
                node     a
                state    starting
                address  -
                role     -
                k3s      k3s failed: it ended with code 1
                peer     -
                network  -
                agent    version 0.1.0, up 5s

                WARNINGS
                  2 nodes are a quorum of 2, and 4 are known

                WAITING
                  election  for 2 more nodes (1 of 3 are here), since 5s ago
                            -> boot them with the same token
                  k3s       for the election, since 3m20s ago

                LAST LINES OF K3S
                  level=fatal \u{FFFD}[31mport taken\u{FFFD}

                NODES
                  none known yet

                """)
    }

    @Test(
        "odd numbers do not break the table",
        arguments: [Double.nan, .infinity, -.infinity, -1, 1e300, 0, 0.04, 9.96])
    func numbers(milliseconds: Double) {
        var document = Samples.ready
        document.nodes[1].roundTripMilliseconds = milliseconds
        document.nodes[1].lastSeen = Timestamp(UnixTime(nanoseconds: .min))
        document.node.uptimeSeconds = .max
        #expect(StatusText.table(document, now: UnixTime(nanoseconds: .max)).contains("kairoslab-0a1b"))
    }

    @Test(
        "ages are short and never negative",
        arguments: [
            (0, "0s"), (59, "59s"), (60, "1m0s"), (3599, "59m59s"), (3600, "1h0m"), (86_400, "1d0h"),
            (-5, "0s"),
        ])
    func ages(seconds: Int64, text: String) {
        #expect(Age.text(seconds: seconds) == text)
    }

    @Test(
        "moments are written and read as RFC 3339",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (-1_000_000, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
            (1_795_391_400_123_000_000, "2026-11-22T23:50:00.123Z"),
            (-2_203_891_200_000_000_000, "1900-03-01T00:00:00.000Z"),
            (4_107_542_399_000_000_000, "2100-02-28T23:59:59.000Z"),
        ] as [(Int64, String)])
    func timestamps(nanoseconds: Int64, text: String) {
        #expect(Timestamp(UnixTime(nanoseconds: nanoseconds)).description == text)
        #expect(Timestamp(text)?.time.nanoseconds == nanoseconds)
    }

    @Test("the texts of Go are read: any decimals, any offset")
    func goTimestamps() {
        #expect(Timestamp("2026-11-22T19:34:36Z") == Timestamp("2026-11-22T20:34:36+01:00"))
        #expect(Timestamp("2026-11-22T19:34:36.949891499Z")?.time.nanoseconds == 1_795_376_076_949_891_499)
    }

    @Test(
        "what is no moment is refused",
        arguments: [
            "", "2026", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00+1:00", "٢٠٢٦-01-01T00:00:00Z",
            "2026-01-01T00:00:00.٢Z",
        ])
    func badTimestamps(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test("every moment of the clock's range survives its text", arguments: [UInt64(7)])
    func timestampRoundTrip(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<10_000 {
            let milliseconds = Int64.random(
                in: Int64.min / 1_000_000...Int64.max / 1_000_000, using: &generator)
            let stamp = Timestamp(UnixTime(nanoseconds: milliseconds * 1_000_000))
            #expect(Timestamp(stamp.description) == stamp, "seed \(seed): \(stamp)")
        }
        #expect(!Timestamp(UnixTime(nanoseconds: .min)).description.isEmpty)
        #expect(!Timestamp(UnixTime(nanoseconds: .max)).description.isEmpty)
    }

    @Test(
        "bytes that are no document are an error and nothing worse",
        arguments: ["", "{", "[]", "{}", "null", #"{"format":1,"as_of":"x"}"#])
    func badDocuments(text: String) {
        #expect(throws: (any Error).self) { try StatusText.document(fromJSON: text.utf8) }
    }
}
