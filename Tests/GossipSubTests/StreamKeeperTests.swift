import LibP2P
import Testing
import Timing

@testable import GossipSub

@Suite("Gossip streams")
struct StreamKeeperTests {
    private let peer = Identity.generate().peerID

    /// A keeper that knows a peer of another kind whose stream, and ours to it, are open.
    private func settled(keepsRouter: Bool = false) -> StreamKeeper {
        var keeper = StreamKeeper(generator: SeededGenerator(seed: 1))
        _ = keeper.receive(.peerConnected(peer), at: .zero)
        _ = keeper.receive(.peerIdentified(peer, speaks: true, keepsRouter: keepsRouter), at: .zero)
        _ = keeper.receive(.opened(peer), at: .zero)
        _ = keeper.receive(.inboundOpened(peer), at: .zero)
        return keeper
    }

    @Test("a stream is opened once identify shows the protocol, or the peer opens one")
    func opens() {
        var keeper = StreamKeeper(generator: SeededGenerator(seed: 1))
        #expect(keeper.receive(.peerConnected(peer), at: .zero) == [])
        #expect(keeper.receive(.peerIdentified(peer, speaks: false, keepsRouter: false), at: .zero) == [])
        #expect(
            keeper.receive(.peerIdentified(peer, speaks: true, keepsRouter: false), at: .zero) == [
                .open(peer)
            ])
        #expect(keeper.receive(.inboundOpened(peer), at: .zero) == [], "one is being opened")
        var other = StreamKeeper(generator: SeededGenerator(seed: 1))
        _ = other.receive(.peerConnected(peer), at: .zero)
        #expect(other.receive(.inboundOpened(peer), at: .zero) == [.open(peer)])
        #expect(keeper.nextDeadline == nil)
    }

    @Test("a failed stream is tried again at once, then later and later, then once a minute")
    func retries() {
        var keeper = settled()
        var now = Instant.zero
        #expect(keeper.receive(.ended(peer), at: now) == [.open(peer)])
        var waits: [Duration] = []
        for _ in 0..<6 {
            #expect(keeper.receive(.openFailed(peer), at: now) == [])
            guard let due = keeper.nextDeadline else { break }
            waits.append(due - now)
            #expect(keeper.receive(.tick, at: due - .milliseconds(1)) == [])
            now = due
            #expect(keeper.receive(.tick, at: now) == [.open(peer)])
        }
        #expect((.milliseconds(100) ... .milliseconds(150)).contains(waits[0]))
        #expect((.milliseconds(200) ... .milliseconds(300)).contains(waits[1]))
        #expect((.milliseconds(400) ... .milliseconds(600)).contains(waits[2]))
        #expect(waits[3...].allSatisfy { (.seconds(60) ... .seconds(75)).contains($0) })
        #expect(keeper.receive(.openFailed(peer), at: now) == [])
        let news = keeper.receive(.peerIdentified(peer, speaks: true, keepsRouter: false), at: now)
        #expect(news == [.open(peer)], "a completed identify is a reason to try at once")
    }

    @Test("when a Go peer opens a new stream in place of its old one, so do we")
    func restart() {
        var keeper = settled()
        let now = Instant.zero + .seconds(100)
        #expect(keeper.receive(.inboundEnded(peer), at: now) == [])
        #expect(
            keeper.receive(.inboundOpened(peer), at: now + .milliseconds(50)) == [.close(peer), .open(peer)])
        _ = keeper.receive(.opened(peer), at: now + .milliseconds(60))
        #expect(keeper.nextDeadline == nil)
        // Replaced without an end.
        #expect(keeper.receive(.inboundOpened(peer), at: now + .seconds(50)) == [.close(peer), .open(peer)])
    }

    @Test("when a Go peer's stream ends and none follows, ours is replaced all the same")
    func endWithoutNew() {
        var keeper = settled()
        _ = keeper.receive(.inboundEnded(peer), at: .zero)
        #expect(keeper.nextDeadline == .zero + .seconds(2))
        #expect(keeper.receive(.tick, at: .zero + .seconds(2)) == [.close(peer), .open(peer)])
    }

    @Test("at a rotation the streams to Go peers are replaced, those to our own kind stay")
    func rotation() {
        var keeper = settled()
        #expect(keeper.receive(.rotated, at: .zero) == [])
        #expect(keeper.receive(.tick, at: .zero + .seconds(2)) == [.close(peer), .open(peer)])
        var own = settled(keepsRouter: true)
        #expect(own.receive(.rotated, at: .zero) == [])
        #expect(own.nextDeadline == nil)
    }

    @Test("two of our own nodes never make each other reopen streams for ever")
    func noPingPong() {
        var keeper = settled(keepsRouter: true)
        for second in 0..<10 {
            let now = Instant.zero + .seconds(second)
            #expect(keeper.receive(.inboundEnded(peer), at: now) == [])
            #expect(keeper.receive(.inboundOpened(peer), at: now) == [])
        }
        #expect(keeper.nextDeadline == nil)
    }

    @Test("nothing is done for a peer that is gone")
    func gone() {
        var keeper = settled()
        _ = keeper.receive(.ended(peer), at: .zero)
        _ = keeper.receive(.openFailed(peer), at: .zero)
        _ = keeper.receive(.peerDisconnected(peer), at: .zero)
        #expect(keeper.nextDeadline == nil)
        #expect(keeper.receive(.tick, at: .zero + .seconds(100)) == [])
        #expect(keeper.receive(.opened(peer), at: .zero) == [])
    }
}
