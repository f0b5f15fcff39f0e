package import LibP2P

/// What role a node has, given the newest decree. It follows from facts that every node shares, so
/// nobody has to assign it.
package enum RolePlan: Hashable, Sendable {
    /// The role, and the certificate that it stands on.
    case role(NodeRole, DecreeCertificate)
    /// No role yet: nothing is decided.
    case undecided
    /// A member that is to serve by its cloud-config, until a decree names it.
    case willServe(DecreeCertificate)
    /// The members have agreed that this node is gone: it left, or was away for good and is back.
    case forgotten(DecreeCertificate)
    /// The cloud-config asks for what the network cannot give.
    case contradiction(what: String, remedy: String)

    /// The plan for `localPeer`, whose cloud-config forces `forcedRole` or leaves it open.
    package static func plan(
        for localPeer: PeerID, forcedRole: ForcedRole?, highAvailability: Bool,
        certificate: DecreeCertificate?
    ) -> RolePlan {
        guard let certificate else { return .undecided }
        let decree = certificate.decree
        if decree.isForgotten(localPeer) { return .forgotten(certificate) }
        if decree.isServer(localPeer) {
            // A server stays what it is whatever its cloud-config says later: its datastore is the
            // cluster.
            return .role(decree.founder.peer == localPeer ? .founder : .server, certificate)
        }
        switch forcedRole {
        case .worker, nil:
            return .role(.agent, certificate)
        case .master where highAvailability:
            return .willServe(certificate)
        case .master:
            return .contradiction(
                what:
                    "p2p.role master, but \(decree.founder.uuid) founded the cluster, which has one server",
                remedy: "remove p2p.role on this node, or set p2p.auto.ha.enable on every node")
        }
    }

    /// The role, when there is one.
    package var role: NodeRole? {
        if case .role(let role, _) = self { return role }
        return nil
    }

    /// Whether two quorums might both decide: `2 · quorum ≤ members`.
    package static func quorumsMayMiss(quorum: Int, members: Int) -> Bool {
        let (doubled, overflow) = quorum.multipliedReportingOverflow(by: 2)
        return !overflow && doubled <= members
    }
}
