package import Timing
internal import Yams

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// The shapes in which a status is printed.
package enum StatusText {
    /// The document as JSON with sorted keys, which is what the API sends.
    package static func json(_ document: StatusDocument, pretty: Bool) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }

    /// The document that JSON text spells.
    package static func document(fromJSON bytes: some Sequence<UInt8>) throws -> StatusDocument {
        try JSONDecoder().decode(StatusDocument.self, from: Data(bytes))
    }

    /// The document as YAML, with the same fields.
    package static func yaml(_ document: StatusDocument) throws -> String {
        let encoder = YAMLEncoder()
        encoder.options.sortKeys = true
        encoder.options.width = -1
        return try encoder.encode(document)
    }

    /// The document for people: this node, what it waits for, all nodes. `now` dates the ages.
    package static func table(_ document: StatusDocument, now: UnixTime) -> String {
        StatusTable(document: document, now: now).text
    }
}

/// Lays a status out for a terminal.
private struct StatusTable {
    let document: StatusDocument
    let now: UnixTime

    var text: String {
        var blocks = [node]
        if !document.warnings.isEmpty {
            blocks.append("WARNINGS\n" + document.warnings.map { "  \(Printable.line($0))\n" }.joined())
        }
        if !document.waiting.isEmpty { blocks.append(waiting) }
        if let log = document.k3s?.log, !log.isEmpty {
            blocks.append("LAST LINES OF K3S\n" + log.map { "  \(Printable.line($0))\n" }.joined())
        }
        blocks.append(nodes)
        return blocks.joined(separator: "\n")
    }

    private var node: String {
        let node = document.node
        var rows = [
            ["node", node.name], ["state", node.state.rawValue], ["address", node.address ?? unknown],
            ["role", node.role ?? unknown],
        ]
        if let k3s = document.k3s {
            rows.append(["k3s", "\(k3s.unit) \(k3s.state)" + (k3s.problem.map { ": \($0)" } ?? "")])
            if let isVoter = k3s.isVoter { rows.append(["etcd", isVoter ? "full member" : "learner"]) }
            if let reason = k3s.wantsRestart {
                let holder = k3s.restarting.map { "it is the turn of \($0)" } ?? "nobody has the turn"
                rows.append(["restart", "wanted for \(reason); \(holder)"])
            }
        } else {
            rows.append(["k3s", "not set up yet"])
        }
        rows.append(["peer", node.peer ?? unknown])
        if let uuid = node.uuid { rows.append(["uuid", uuid]) }
        rows.append(["network", node.networkID ?? unknown])
        rows.append([
            "agent", "version \(node.version), up \(Age.text(seconds: Int64(clamping: node.uptimeSeconds)))",
        ])
        return Self.columns(rows.map { $0.map(Printable.line) })
    }

    private var waiting: String {
        var lines: [[String]] = []
        for item in document.waiting {
            let age = Age.text(from: item.since.time, to: now)
            lines.append([Printable.line(item.step), "for \(Printable.line(item.what)), since \(age) ago"])
            if let remedy = item.remedy { lines.append(["", "-> \(Printable.line(remedy))"]) }
        }
        return "WAITING\n" + Self.columns(lines, indent: "  ")
    }

    private var nodes: String {
        var rows = [["NAME", "ADDRESS", "ROLE", "STATE", "LINK", "RTT", "SEEN", "PEER"]]
        for node in document.nodes {
            rows.append(
                [
                    node.name ?? unknown, node.address ?? unknown, node.role ?? unknown,
                    node.state.rawValue + (node.isForgotten == true ? ", forgotten" : ""),
                    Self.link(of: node), Self.roundTrip(node.roundTripMilliseconds), seen(node),
                    node.peer ?? unknown,
                ].map(Printable.line))
        }
        return document.nodes.isEmpty ? "NODES\n  none known yet\n" : Self.columns(rows)
    }

    /// What is printed for what is not known.
    private var unknown: String { "-" }

    private static func link(of node: StatusDocument.Peer) -> String {
        guard let link = node.link else { return "-" }
        return [link.kind.rawValue, link.address, link.packets.map { "(\($0.rawValue))" }]
            .compactMap(\.self).joined(separator: " ")
    }

    private static func roundTrip(_ milliseconds: Double?) -> String {
        guard let milliseconds, milliseconds.isFinite, milliseconds >= 0 else { return "-" }
        let tenths = Int64(clamping: Int(exactly: (min(milliseconds, 1e12) * 10).rounded()) ?? 0)
        return "\(tenths / 10).\(tenths % 10) ms"
    }

    private func seen(_ node: StatusDocument.Peer) -> String {
        if node.state == .own { return "-" }
        guard let time = node.lastSeen?.time else { return "never" }
        return Age.text(from: time, to: now) + " ago"
    }

    /// Rows as columns that are as wide as their widest cell; the last one is not padded.
    private static func columns(_ rows: [[String]], indent: String = "") -> String {
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            var line = indent
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 {
                    line += String(repeating: " ", count: widths[column] - cell.count + 2)
                }
            }
            return line + "\n"
        }.joined()
    }
}

/// How long ago something was, for people.
package enum Age {
    /// `12s`, `3m20s`, `5h12m`, `8d3h`; a moment that lies ahead, by a clock that was set back, is `0s`.
    package static func text(from earlier: UnixTime, to later: UnixTime) -> String {
        text(seconds: (later - earlier).wholeNanoseconds / 1_000_000_000)
    }

    /// The same for a number of seconds.
    package static func text(seconds: Int64) -> String {
        let seconds = max(0, seconds)
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m\(seconds % 60)s"
        case ..<86_400: return "\(seconds / 3600)h\(seconds / 60 % 60)m"
        default: return "\(seconds / 86_400)d\(seconds / 3600 % 24)h"
        }
    }
}

/// Text of others on a terminal: names come from the ledger, log lines from a service.
enum Printable {
    /// `text` in one line without control characters, which could move the cursor or colour what follows.
    static func line(_ text: String) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(1000) {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: shown.append("\u{FFFD}")
            default: shown.append(scalar)
            }
        }
        return String(shown)
    }
}
