import LibP2P
import MeshNetwork
import Multiformats
import Testing
import Timing

@Suite("Membership")
struct MembershipTests {
    private let peer = Identity.generate().peerID

    private func connection(_ number: UInt64) -> ConnectionInfo {
        ConnectionInfo(
            id: ConnectionID(rawValue: number), direction: .inbound, remoteAddress: .loopback,
            localAddress: .loopback, channelBinding: [1])
    }

    @Test("a peer joins by proof, not by connecting, and leaves with its last connection")
    func lifecycle() throws {
        var membership = Membership()
        let start = Instant.zero
        #expect(membership.receive(.swarm(.peerConnected(peer, connection(1))), at: start) == [])
        #expect(membership.admitted == [])
        #expect(membership.receive(.standing(peer, .proving), at: start) == [])
        #expect(membership.receive(.standing(peer, .admitted), at: start) == [.joined(peer)])
        #expect(membership.receive(.standing(peer, .admitted), at: start) == [])
        #expect(membership.admitted == [peer])
        let later = start + .seconds(5)
        #expect(membership.receive(.swarm(.connectionAdded(peer, connection(2))), at: later) == [])
        #expect(
            membership.receive(.swarm(.connectionRemoved(peer, ConnectionID(rawValue: 1))), at: later) == [])
        _ = membership.receive(.swarm(.roundTrip(peer, .milliseconds(3))), at: later)
        let member = try #require(membership.member(peer))
        #expect(member.connections.map(\.id.rawValue) == [2])
        #expect(
            member.roundTrip == .milliseconds(3) && member.lastSeen == later && member.connectedSince == start
        )
        #expect(membership.receive(.swarm(.peerDisconnected(peer)), at: later) == [.left(peer)])
        #expect(membership.receive(.standing(peer, nil), at: later) == [])
        #expect(membership.admitted == [] && membership.member(peer) == nil)
        #expect(membership.departed.map(\.peer) == [peer])
        _ = membership.receive(.swarm(.peerConnected(peer, connection(3))), at: later)
        #expect(membership.departed.isEmpty)
    }

    @Test("stock nodes are counted apart")
    func stock() {
        var membership = Membership()
        _ = membership.receive(.swarm(.peerConnected(peer, connection(1))), at: .zero)
        #expect(membership.receive(.standing(peer, .stock), at: .zero) == [.stockJoined(peer)])
        #expect(membership.stock == [peer] && membership.admitted == [])
        #expect(
            membership.receive(.standing(peer, .admitted), at: .zero) == [.stockLeft(peer), .joined(peer)])
        #expect(membership.receive(.swarm(.peerDisconnected(peer)), at: .zero) == [.left(peer)])
    }

    @Test("a peer that was never admitted leaves nothing behind")
    func strangers() {
        var membership = Membership()
        _ = membership.receive(.swarm(.peerConnected(peer, connection(1))), at: .zero)
        #expect(membership.receive(.swarm(.peerDisconnected(peer)), at: .zero) == [])
        #expect(membership.departed.isEmpty && membership.connected.isEmpty)
    }

    @Test("what is remembered of absent peers and failed dials is bounded")
    func bounds() {
        var membership = Membership()
        for number in 0..<(Membership.maximumRemembered * 2) {
            let other = Identity.generate().peerID
            let now = Instant.zero + .seconds(number)
            _ = membership.receive(.swarm(.peerConnected(other, connection(1))), at: now)
            _ = membership.receive(.standing(other, .admitted), at: now)
            _ = membership.receive(.swarm(.peerDisconnected(other)), at: now)
            _ = membership.receive(.swarm(.dialFailed(other, reason: "refused")), at: now)
        }
        #expect(membership.departed.count == Membership.maximumRemembered)
        #expect(membership.dialFailures.count <= Membership.maximumRemembered)
        // Those seen last are the ones kept.
        #expect(
            membership.departed.allSatisfy {
                $0.lastSeen >= Instant.zero + .seconds(Membership.maximumRemembered)
            })
    }
}
