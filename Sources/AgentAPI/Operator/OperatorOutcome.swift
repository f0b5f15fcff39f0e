/// How an operator's word stands.
package enum OperatorOutcome: Hashable, Sendable {
    /// It is done; the sentence says what came of it.
    case done(String)
    /// It is under way and needs nobody's consent any more; the sentence says what is being done.
    case accepted(String)
    /// It takes effect once enough nodes have acknowledged it.
    case waitingForQuorum(QuorumWait)
    /// It is not done, and nothing was changed.
    case refused(OperatorRefusal)

    /// Whether nothing will change it any more.
    package var isFinal: Bool {
        switch self {
        case .done, .refused: true
        case .accepted, .waitingForQuorum: false
        }
    }
}

/// Whose acknowledgement a word still needs.
package struct QuorumWait: Hashable, Sendable {
    /// How many nodes must acknowledge.
    package var needed: Int
    /// The nodes that have, by name or peer ID.
    package var acknowledged: [String]
    /// The nodes that could and have not, by name or peer ID.
    package var missing: [String]

    package init(needed: Int, acknowledged: [String], missing: [String]) {
        self.needed = needed
        self.acknowledged = acknowledged
        self.missing = missing
    }
}

/// Why a word is not carried out.
package struct OperatorRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of reasons; their names are a promise to scripts.
    package enum Reason: String, Hashable, Sendable, Codable, CaseIterable {
        /// No node is known by that name.
        case unknownNode = "unknown_node"
        /// Several nodes are known by that name.
        case ambiguousNode = "ambiguous_node"
        /// The node is this one, which can go by itself.
        case thisNode = "this_node"
        /// The node is connected, so it is not gone.
        case nodeConnected = "node_connected"
        /// The cluster has no other server that could go on.
        case lastServer = "last_server"
        /// There is no cluster yet.
        case noCluster = "no_cluster"
        /// Another change has to end first.
        case busy
        /// This agent has no mesh, so it has no cluster to change.
        case noMesh = "no_mesh"
        /// The node has left or was forgotten already.
        case alreadyGone = "already_gone"
    }

    package var reason: Reason
    /// What stands in the way, as a sentence.
    package var what: String
    /// What an operator can do about it.
    package var remedy: String
    /// The nodes that the name could mean.
    package var candidates: [String]

    package init(_ reason: Reason, what: String, remedy: String, candidates: [String] = []) {
        self.reason = reason
        self.what = what
        self.remedy = remedy
        self.candidates = candidates
    }

    package var description: String {
        let list = candidates.isEmpty ? "" : " (\(candidates.joined(separator: "; ")))"
        return "\(what)\(list); \(remedy)"
    }

    /// The code of sysexits(3) that says the most.
    package var exitCode: Int32 {
        switch reason {
        case .unknownNode, .ambiguousNode: 68
        case .thisNode, .nodeConnected, .alreadyGone: 65
        case .lastServer, .noCluster, .busy, .noMesh: 69
        }
    }
}

extension OperatorOutcome: Codable {
    private enum Kind: String, Codable {
        case done, accepted, waiting, refused
    }

    private enum CodingKeys: String, CodingKey {
        case outcome, what, needed, acknowledged, missing, reason, remedy, candidates
    }

    package init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        switch try fields.decode(Kind.self, forKey: .outcome) {
        case .done: self = .done(try fields.decode(String.self, forKey: .what))
        case .accepted: self = .accepted(try fields.decode(String.self, forKey: .what))
        case .waiting:
            self = .waitingForQuorum(
                QuorumWait(
                    needed: try fields.decode(Int.self, forKey: .needed),
                    acknowledged: try fields.decode([String].self, forKey: .acknowledged),
                    missing: try fields.decode([String].self, forKey: .missing)))
        case .refused:
            self = .refused(
                OperatorRefusal(
                    try fields.decode(OperatorRefusal.Reason.self, forKey: .reason),
                    what: try fields.decode(String.self, forKey: .what),
                    remedy: try fields.decode(String.self, forKey: .remedy),
                    candidates: try fields.decodeIfPresent([String].self, forKey: .candidates) ?? []))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .done(let what):
            try fields.encode(Kind.done, forKey: .outcome)
            try fields.encode(what, forKey: .what)
        case .accepted(let what):
            try fields.encode(Kind.accepted, forKey: .outcome)
            try fields.encode(what, forKey: .what)
        case .waitingForQuorum(let wait):
            try fields.encode(Kind.waiting, forKey: .outcome)
            try fields.encode(wait.needed, forKey: .needed)
            try fields.encode(wait.acknowledged, forKey: .acknowledged)
            try fields.encode(wait.missing, forKey: .missing)
        case .refused(let refusal):
            try fields.encode(Kind.refused, forKey: .outcome)
            try fields.encode(refusal.reason, forKey: .reason)
            try fields.encode(refusal.what, forKey: .what)
            try fields.encode(refusal.remedy, forKey: .remedy)
            if !refusal.candidates.isEmpty { try fields.encode(refusal.candidates, forKey: .candidates) }
        }
    }
}
