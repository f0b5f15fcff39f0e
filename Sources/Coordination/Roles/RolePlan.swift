package import LibP2P

/// What role a node has, given the decision about the founder. It follows from facts that every node
/// shares, so nobody has to assign it.
package enum RolePlan: Hashable, Sendable {
    /// The role, and the certificate that it stands on.
    case role(NodeRole, FoundingCertificate)
    /// No role yet: the founder is not decided.
    case undecided
    /// The cloud-config asks for what the network cannot give.
    case contradiction(what: String, remedy: String)

    /// The plan for `localPeer`, whose cloud-config forces `forcedRole` or leaves it open.
    package static func plan(
        for localPeer: PeerID, forcedRole: ForcedRole?, highAvailability: Bool,
        certificate: FoundingCertificate?
    ) -> RolePlan {
        guard let certificate else { return .undecided }
        if certificate.value.founder == localPeer {
            // The founder stays what it is whatever its cloud-config says later: its datastore is the
            // cluster.
            return .role(.founder, certificate)
        }
        switch forcedRole {
        case .worker, nil:
            return .role(.agent, certificate)
        case .master where highAvailability:
            return .role(.server, certificate)
        case .master:
            return .contradiction(
                what:
                    "p2p.role master, but \(certificate.value.uuid) founded the cluster, which has one server",
                remedy: "remove p2p.role on this node, or set p2p.auto.ha.enable on every node")
        }
    }

    /// Whether two quorums might both decide: `2 · quorum ≤ members`.
    package static func quorumsMayMiss(quorum: Int, members: Int) -> Bool {
        let (doubled, overflow) = quorum.multipliedReportingOverflow(by: 2)
        return !overflow && doubled <= members
    }
}
