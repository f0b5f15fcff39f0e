package import Coordination
package import LibP2P

/// The roles of all nodes as `status` shows them: what the members' newest certificate makes of each. What nodes
/// say of themselves in stock's keys is signed by nobody, and names and UUIDs are labels, so neither counts.
package struct CertifiedRoles: Sendable {
    private let certificate: DecreeCertificate?
    private let members: [PeerID: MemberCard]
    private let highAvailability: Bool

    /// `members` are the nodes that are known from their own registers.
    package init(certificate: DecreeCertificate?, members: [PeerID: MemberCard], highAvailability: Bool) {
        self.certificate = certificate
        self.members = members
        self.highAvailability = highAvailability
    }

    /// The stock name of the role of `peer`; nil while nothing is decided, for a node that was forgotten or waits
    /// for its role, and for one that is no member, such as a stock node.
    package func name(of peer: PeerID) -> String? {
        guard let decree = certificate?.decree, decree.isServer(peer) || members[peer] != nil else {
            return nil
        }
        return RolePlan.plan(
            for: peer, forcedRole: members[peer]?.forcedRole, highAvailability: highAvailability,
            certificate: certificate
        ).role?.stockName(highAvailability: highAvailability)
    }
}
