import LibP2P
import Multiformats
import Testing
import Timing

@testable import MeshNetwork

@Suite("What the overlay makes of peers that were heard of")
struct OverlayDiscoveryTests {
    private let member = Identity.generate()

    private func overlay() -> Overlay {
        Overlay(
            identity: Identity.generate(), scope: [1, 2, 3], version: 1,
            generator: SeededGenerator(seed: 1), at: .zero)
    }

    private func address(_ number: Int) throws -> Multiaddr {
        try Multiaddr("/ip4/10.0.\(number / 250).\(number % 250 + 1)/tcp/4001")
    }

    /// Runs the overlay's clock.
    private func run(_ overlay: inout Overlay, from start: Instant, to end: Instant) {
        var now = start
        while overlay.nextDeadline <= end {
            now = max(now, overlay.nextDeadline)
            _ = overlay.receive(.tick, at: now)
        }
    }

    @Test("who proves nothing gets no place in the rings, and only a few are dialled at once")
    func noPlace() throws {
        var overlay = overlay()
        for number in 0..<100 {
            let peer = Identity.generate().peerID
            _ = overlay.receive(.discovered(peer, [try address(number)], isProven: false), at: .zero)
            #expect(overlay.dialClass(of: peer) == .unproven)
        }
        #expect(overlay.neighbours.count == Overlay.maximumResolving)
        _ = overlay.receive(.discovered(member.peerID, [try address(1)], isProven: true), at: .zero)
        #expect(overlay.neighbours.contains(member.peerID))
        #expect(overlay.dialClass(of: member.peerID) == .recorded)
    }

    @Test("peers that stay silent give way, so that one more is dialled, and none is dialled for ever")
    func silentPeers() throws {
        var overlay = overlay()
        for number in 0..<8 {
            let peer = Identity.generate().peerID
            _ = overlay.receive(.discovered(peer, [try address(number)], isProven: false), at: .zero)
        }
        let stock = Identity.generate().peerID
        let heard = Instant.zero + .seconds(1)
        _ = overlay.receive(.discovered(stock, [try address(9)], isProven: false), at: heard)
        #expect(!overlay.neighbours.contains(stock))
        run(&overlay, from: heard, to: .zero + .seconds(31))
        #expect(overlay.neighbours == [stock])
        run(&overlay, from: .zero + .seconds(31), to: .zero + .seconds(50))
        #expect(overlay.neighbours.isEmpty)
        _ = overlay.receive(.stock(stock), at: .zero + .seconds(50))
        #expect(overlay.neighbours == [stock])
    }

    @Test("who proves nothing cannot say where a member is, and a proof outdoes what was said before")
    func addresses() throws {
        var overlay = overlay()
        let (right, wrong) = (try address(1), try address(2))
        _ = overlay.receive(.discovered(member.peerID, [wrong], isProven: false), at: .zero)
        let effects = overlay.receive(.discovered(member.peerID, [right], isProven: true), at: .zero)
        #expect(effects.contains(.keep(true, member.peerID, [right])))
        _ = overlay.receive(.discovered(member.peerID, [wrong], isProven: false), at: .zero + .seconds(1))
        #expect(overlay.addresses(of: member.peerID) == [right])
    }

    @Test("peers that prove nothing are few, and push out no member")
    func bounded() throws {
        var overlay = overlay()
        _ = overlay.receive(.discovered(member.peerID, [try address(1)], isProven: true), at: .zero)
        for number in 0..<600 {
            let now = Instant.zero + .seconds(1) + .milliseconds(number)
            _ = overlay.receive(
                .discovered(Identity.generate().peerID, [try address(number)], isProven: false), at: now)
        }
        #expect(overlay.known.count == Overlay.maximumUnproven + 1)
        for number in 0..<Overlay.maximumKnown {
            let now = Instant.zero + .seconds(2) + .milliseconds(number)
            _ = overlay.receive(.discovered(Identity.generate().peerID, [], isProven: true), at: now)
        }
        // The members that were heard before gave way last.
        #expect(overlay.known.values.allSatisfy { $0.hasPlace })
        #expect(overlay.known.count == Overlay.maximumKnown)
    }
}
