import Coordination
import LibP2P
import NodeAgent
import Testing

@Suite("The roles that status shows")
struct CertifiedRolesTests {
    @Test("they are those of the certificate, whatever nodes say of themselves")
    func roles() throws {
        let node = try TestNode(servers: ["ann"])
        let (me, ann, bob) = (node.me.peerID, node.ann.peerID, node.bob.peerID)
        func card(_ forced: ForcedRole? = nil) -> MemberCard {
            // All with one label.
            MemberCard(uuid: "uuid", name: "x", forcedRole: forced)
        }
        let members = [me: card(), ann: card(.worker), bob: card(.master)]
        let decree = TestNode.decree([node.ann, node.me], [])
        let certificate = try #require(
            TestNode.certificate(decree, by: [node.ann, node.bob], in: node.scope))
        let roles = CertifiedRoles(certificate: certificate, members: members, highAvailability: true)
        #expect(roles.name(of: ann) == "master/clusterinit")
        #expect(roles.name(of: me) == "master/ha")
        #expect(roles.name(of: bob) == nil, "it is to serve and no decree names it yet")
        let stranger = Identity.generate().peerID
        #expect(roles.name(of: stranger) == nil, "a stock node")

        let alone = TestNode.decree([node.ann], [node.me.peerID])
        let later = try #require(TestNode.certificate(alone, by: [node.ann, node.bob], in: node.scope))
        let one = CertifiedRoles(
            certificate: later, members: [me: card(), ann: card(), bob: card()], highAvailability: false)
        #expect(one.name(of: ann) == "master")
        #expect(one.name(of: bob) == "worker")
        #expect(one.name(of: me) == nil, "it was forgotten")
        let silent = CertifiedRoles(certificate: later, members: [:], highAvailability: false)
        #expect(silent.name(of: ann) == "master", "a server that says nothing is one")
        let none = CertifiedRoles(certificate: nil, members: members, highAvailability: true)
        #expect([me, ann, bob].allSatisfy { none.name(of: $0) == nil })
    }
}
