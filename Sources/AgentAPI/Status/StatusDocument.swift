package import Timing

/// What a node knows about itself and about the others: the answer of `GET /api/v1/status` and of
/// `kairos-agent p2p status`.
///
/// The field names are a promise to scripts; `docs/status.md` documents them. What is not known is left
/// out: an absent field means "unknown" or "does not apply", never zero or false.
package struct StatusDocument: Hashable, Sendable, Codable {
    /// The version of this format. It grows when a field changes its meaning, not when one is added.
    package static let currentFormat = 1

    package var format = Self.currentFormat
    /// When the document was made.
    package var asOf: Timestamp
    /// This node.
    package var node: Node
    /// The cloud-config that the node runs with; absent while nothing is known of it.
    package var configuration: Configuration?
    /// The K3s service of this node; absent while it has none.
    package var k3s: K3s?
    /// The address that always leads to a server; absent while the node knows of none.
    package var api: API?
    /// What this node is waiting for, in the order of the boot; empty when all is done.
    package var waiting: [WaitingItem] = []
    /// All nodes of the network that are known, this one included.
    package var nodes: [Peer] = []
    /// What an operator should look at, as sentences.
    package var warnings: [String] = []
    /// Counters by name, counted since the agent started.
    package var counters: [String: UInt64] = [:]

    package init(asOf: Timestamp, node: Node) {
        self.asOf = asOf
        self.node = node
    }

    /// This node.
    package struct Node: Hashable, Sendable, Codable {
        /// The host's name.
        package var name: String
        /// Kairos' name of the node: machine ID and host name.
        package var uuid: String?
        /// The peer ID, in base 58.
        package var peer: String?
        /// The ledger bucket of the cluster.
        package var networkID: String?
        /// The agent's version.
        package var version: String
        /// The VPN address with the size of its network: `10.1.0.2/24`.
        package var address: String?
        /// `master`, `master/clusterinit`, `master/ha` or `worker`.
        package var role: String?
        /// How far the boot has come.
        package var state: NodeState
        /// How long the agent has been running, in seconds.
        package var uptimeSeconds: UInt64

        package init(
            name: String, uuid: String? = nil, peer: String? = nil, networkID: String? = nil, version: String,
            address: String? = nil, role: String? = nil, state: NodeState, uptimeSeconds: UInt64
        ) {
            self.name = name
            self.uuid = uuid
            self.peer = peer
            self.networkID = networkID
            self.version = version
            self.address = address
            self.role = role
            self.state = state
            self.uptimeSeconds = uptimeSeconds
        }

        package enum CodingKeys: String, CodingKey {
            case name, uuid, peer, version, address, role, state
            case networkID = "network_id"
            case uptimeSeconds = "uptime_seconds"
        }
    }

    /// The address that always leads to a server.
    package struct API: Hashable, Sendable, Codable {
        /// The VPN address, without the size of its network.
        package var address: String
        /// The peer ID of the server that holds it, as far as this node knows.
        package var holder: String?
        /// Since when this node knows it to be there.
        package var since: Timestamp?
        /// On a server: what keeps it from holding the address, as a sentence.
        package var problem: String?

        package init(address: String, holder: String?, since: Timestamp?, problem: String?) {
            self.address = address
            self.holder = holder
            self.since = since
            self.problem = problem
        }
    }

    /// The cloud-config that the node runs with.
    package struct Configuration: Hashable, Sendable, Codable {
        /// The files that it was merged from, earlier ones first.
        package var files: [String]
        /// Since when the node runs with it.
        package var since: Timestamp
        /// Why what is on disk is not what the node runs with, a sentence each with file, line and key; empty
        /// when it is.
        package var problems: [String]

        package init(files: [String], since: Timestamp, problems: [String]) {
            self.files = files
            self.since = since
            self.problems = problems
        }

        /// How a warning about such a problem begins.
        package static let notUsed = "the cloud-config on disk is not used, the former one stays: "
    }

    /// How far the boot of a node has come.
    package enum NodeState: String, Hashable, Sendable, Codable, CaseIterable {
        /// Something is still being waited for.
        case starting
        /// The node has its address and its role, and its K3s runs.
        case ready
        /// The node was ready and something that it needs is gone or fails.
        case degraded
        /// The agent is going down.
        case stopping
    }

    /// The K3s service of this node.
    package struct K3s: Hashable, Sendable, Codable {
        /// The service's name: `k3s` or `k3s-agent`.
        package var unit: String
        /// The service's state in systemd's words: `active`, `activating`, `failed`, `inactive`, or `missing`.
        package var state: String
        /// What went wrong, as a sentence.
        package var problem: String?
        /// The last lines of the service's log, when it fails.
        package var log: [String]
        /// Whether this server is a full member of its etcd, and not a learner; absent where it has no etcd or
        /// nobody could be asked.
        package var isVoter: Bool?
        /// What K3s would be restarted for, while this server waits for its turn.
        package var wantsRestart: String?
        /// The peer ID of the server whose turn it is, as far as this one has granted it.
        package var restarting: String?

        package init(
            unit: String, state: String, problem: String? = nil, log: [String] = [], isVoter: Bool? = nil,
            wantsRestart: String? = nil, restarting: String? = nil
        ) {
            self.unit = unit
            self.state = state
            self.problem = problem
            self.log = log
            self.isVoter = isVoter
            self.wantsRestart = wantsRestart
            self.restarting = restarting
        }

        package enum CodingKeys: String, CodingKey {
            case unit, state, problem, log, restarting
            case isVoter = "voter"
            case wantsRestart = "wants_restart"
        }
    }

    /// One thing that is being waited for.
    package struct WaitingItem: Hashable, Sendable, Codable {
        /// The step of the boot: `configuration`, `mesh`, `address`, `device`, `election`, `role`, `join`, `k3s`.
        package var step: String
        /// What the step needs.
        package var what: String
        /// What an operator can do about it.
        package var remedy: String?
        /// When the wait began.
        package var since: Timestamp

        package init(step: String, what: String, remedy: String? = nil, since: Timestamp) {
            self.step = step
            self.what = what
            self.remedy = remedy
            self.since = since
        }
    }

    /// A node of the network as this node sees it.
    package struct Peer: Hashable, Sendable, Codable {
        /// What this node can say about the other's presence.
        package enum State: String, Hashable, Sendable, Codable, CaseIterable {
            /// It is this node.
            case own = "self"
            case connected
            /// It is here, and reached through others; a connection is made when something is sent to it.
            case reachable
            /// It was seen not long ago, and no connection comes about.
            case unreachable
            /// It has not been seen for long.
            case gone
        }

        /// The host's name.
        package var name: String?
        /// Kairos' name of the node: machine ID and host name.
        package var uuid: String?
        /// The peer ID, in base 58.
        package var peer: String?
        /// The VPN address, without the size of its network.
        package var address: String?
        /// `master`, `master/clusterinit`, `master/ha` or `worker`.
        package var role: String?
        /// What this node can say about the other's presence.
        package var state: State
        /// How packets reach it; absent without a connection.
        package var link: Link?
        /// The time that a ping takes there and back, in milliseconds.
        package var roundTripMilliseconds: Double?
        /// When it was last heard of.
        package var lastSeen: Timestamp?
        /// Whether the members have agreed that the node is gone: it left, or was forgotten. Absent otherwise.
        package var isForgotten: Bool?

        package init(
            name: String? = nil, uuid: String? = nil, peer: String? = nil, address: String? = nil,
            role: String? = nil, state: State, link: Link? = nil, roundTripMilliseconds: Double? = nil,
            lastSeen: Timestamp? = nil, isForgotten: Bool? = nil
        ) {
            self.name = name
            self.uuid = uuid
            self.peer = peer
            self.address = address
            self.role = role
            self.state = state
            self.link = link
            self.roundTripMilliseconds = roundTripMilliseconds
            self.lastSeen = lastSeen
            self.isForgotten = isForgotten
        }

        package enum CodingKeys: String, CodingKey {
            case name, uuid, peer, address, role, state, link
            case roundTripMilliseconds = "round_trip_ms"
            case lastSeen = "last_seen"
            case isForgotten = "forgotten"
        }
    }

    /// How packets reach another node.
    package struct Link: Hashable, Sendable, Codable {
        /// The ways there are.
        package enum Kind: String, Hashable, Sendable, Codable, CaseIterable {
            case direct
            /// Through another peer.
            case relayed
        }

        /// What carries the packets over it.
        package enum Packets: String, Hashable, Sendable, Codable, CaseIterable {
            /// Sealed UDP datagrams.
            case datagrams
            /// A stream of the connection.
            case stream
        }

        package var kind: Kind
        /// The other end's multiaddr.
        package var address: String?
        /// What carries the packets; absent while the two have no addresses.
        package var packets: Packets?

        package init(kind: Kind, address: String? = nil, packets: Packets? = nil) {
            self.kind = kind
            self.address = address
            self.packets = packets
        }
    }

    package enum CodingKeys: String, CodingKey {
        case format, node, configuration, k3s, api, waiting, nodes, warnings, counters
        case asOf = "as_of"
    }
}

/// A moment of the wall clock, written as RFC 3339 in UTC with milliseconds: `2026-11-22T23:50:00.123Z`.
package struct Timestamp: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    /// The moment.
    package let time: UnixTime

    package init(_ time: UnixTime) {
        self.time = time
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.time < right.time }

    /// Reads RFC 3339 with any number of decimals and any offset; nil when the text is something else.
    package init?(_ text: String) {
        var cursor = Substring(text)[...]
        func number(_ digits: Int, in range: ClosedRange<Int64>) -> Int64? {
            let taken = cursor.prefix(digits)
            guard taken.utf8.count == digits, taken.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
                let value = Int64(taken), range.contains(value)
            else { return nil }
            cursor = cursor.dropFirst(digits)
            return value
        }
        func skip(_ characters: String) -> Character? {
            guard let first = cursor.first, characters.contains(first) else { return nil }
            cursor = cursor.dropFirst()
            return first
        }
        guard let year = number(4, in: 1...9999), skip("-") != nil, let month = number(2, in: 1...12),
            skip("-") != nil, let day = number(2, in: 1...31), skip("Tt ") != nil,
            let hour = number(2, in: 0...23), skip(":") != nil, let minute = number(2, in: 0...59),
            skip(":") != nil, let second = number(2, in: 0...60)
        else { return nil }
        var nanoseconds: Int64 = 0
        if skip(".") != nil {
            let digits = cursor.prefix { $0.isASCII && $0.isNumber }
            guard !digits.isEmpty,
                let value = Int64(
                    String(digits.prefix(9)) + String(repeating: "0", count: max(0, 9 - digits.count)))
            else { return nil }
            nanoseconds = value
            cursor = cursor.dropFirst(digits.count)
        }
        var offset: Int64 = 0
        if skip("Zz") == nil {
            guard let sign = skip("+-"), let hours = number(2, in: 0...23), skip(":") != nil,
                let minutes = number(2, in: 0...59)
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (sign == "-" ? -1 : 1)
        }
        guard cursor.isEmpty else { return nil }
        let days = Self.days(year: year, month: month, day: day)
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
        time = UnixTime(seconds: seconds) + .nanoseconds(nanoseconds)
    }

    package var description: String {
        let milliseconds = (time.nanoseconds % 1_000_000_000 + 1_000_000_000) % 1_000_000_000 / 1_000_000
        let days = time.seconds.dividedDown(by: 86_400)
        let second = time.seconds - days * 86_400
        let date = Self.date(days: days)
        func padded(_ value: Int64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))"
            + "T\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
            + ".\(padded(milliseconds, 3))Z"
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let timestamp = Timestamp(text) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "no moment in RFC 3339: \(text.prefix(64))"))
        }
        self = timestamp
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    // MARK: the proleptic Gregorian calendar, in days since 1970-01-01

    /// Counted in years that begin in March, so that the leap day is a year's last.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = year.dividedDown(by: 400)
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = shifted.dividedDown(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month: month,
            day: dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        )
    }
}

extension Int64 {
    /// The quotient rounded towards the past. The divisor is positive.
    fileprivate func dividedDown(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
