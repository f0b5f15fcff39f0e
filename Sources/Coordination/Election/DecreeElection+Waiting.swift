internal import LibP2P

extension DecreeElection {
    /// What the election waits for, in an operator's words, or nil when there is a server.
    package struct Obstacle: Hashable, Sendable {
        package let what: String
        package let remedy: String?
    }

    /// What keeps this node from knowing the founder; nil once it knows.
    package var obstacle: Obstacle? {
        guard certificate == nil else { return nil }
        if let reason = diskFailure {
            return Obstacle(
                what: "its vote to be written to disk: \(reason)",
                remedy: "free space on, or make writable, the persistent partition (/usr/local)")
        }
        if !contradiction.isEmpty {
            let names = contradiction.map(\.uuid).joined(separator: " and ")
            return Obstacle(
                what: "the members to agree on the cluster: they hold certificates of clusters of \(names)",
                remedy:
                    "see `kairos-agent p2p status` on them; set up anew, or stop, those that do not belong")
        }
        if foundingIsOver {
            return Obstacle(
                what: "a member to tell of the cluster, which has been founded",
                remedy: "check that the servers and voters of the cluster are up")
        }
        let quorum = configuration.scope.quorum
        let present = presentMembers
        if present.count < quorum {
            let names = present.values.map(\.name).sorted().joined(separator: ", ")
            let missing = quorum - present.count
            var remedy: String?
            if let (peer, other) = membersOfOtherScopes.min(by: { $0.key < $1.key }),
                other.quorum != quorum
            {
                remedy =
                    "p2p.minimum_nodes is \(quorum) here and \(other.quorum) on \(peer): set the same number everywhere"
            }
            return Obstacle(
                what: "\(missing) more node\(missing == 1 ? "" : "s") to elect the server"
                    + " (\(present.count) of \(quorum) are here: \(names))",
                remedy: remedy)
        }
        if CandidateOrder.candidates(among: present).isEmpty {
            return Obstacle(
                what: "a node that may become the server: all \(present.count) have p2p.role worker",
                remedy: "remove p2p.role from one node, or set it to master")
        }
        return Obstacle(what: "the votes of \(quorum) nodes for the server", remedy: nil)
    }
}
