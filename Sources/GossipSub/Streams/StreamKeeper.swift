package import LibP2P
internal import OrderedCollections
package import Timing

/// Decides when to open and close this node's own stream to each peer (contract/wire.md I.2, I.10).
///
/// ```
///   speaks the protocol, or opened a stream to us ── open ── ended or failed ── retry, later and later
///   a Go peer's stream ended or was replaced, or the topic rotated ── close, open anew
/// ```
///
/// Go nodes throw their router away when the topic rotates, and what is sent on a stream from before
/// that is lost. Our own nodes keep theirs, so between two of them streams are never reopened for
/// that reason; if both did, each one's new stream would make the other open one, for ever.
package struct StreamKeeper: Sendable {
    package enum Input: Sendable {
        case peerConnected(PeerID)
        case peerDisconnected(PeerID)
        /// What identify says. `keepsRouter` is true of our own kind of node.
        case peerIdentified(PeerID, speaks: Bool, keepsRouter: Bool)
        /// The peer opened a stream to us.
        case inboundOpened(PeerID)
        /// The newest of the peer's streams ended.
        case inboundEnded(PeerID)
        case opened(PeerID)
        case openFailed(PeerID)
        /// Our stream was ended by the peer, or broke.
        case ended(PeerID)
        /// The room's topic has rotated.
        case rotated
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Open a stream to the peer; answer with `.opened` or `.openFailed`.
        case open(PeerID)
        /// Close our stream to the peer; no answer.
        case close(PeerID)
    }

    private enum Outbound: Hashable {
        case none
        case opening
        case open(since: Instant)
        case waiting(until: Instant)
    }

    private struct Peer {
        var speaks = false
        var keepsRouter = false
        var outbound = Outbound.none
        /// Failures in a row, and when the last was.
        var failures = 0
        var lastFailure = Instant.zero
        var hasInbound = false
        /// Whether a stream of the peer has ended since our stream was opened.
        var restarted = false
        /// When our stream is to be replaced.
        var reopenDue: Instant?
    }

    /// Retries at growing intervals before the slow ones: 0, 100, 200, 400 ms.
    static let quickRetries = 4
    static let slowRetry = Duration.seconds(60)
    /// After so long without a failure, earlier ones count no more.
    static let forgiveTime = Duration.seconds(600)
    /// A Go node opens its new stream within moments of ending the old one; if it does not, ours is
    /// replaced after this time all the same.
    static let restartGrace = Duration.seconds(2)

    private var peers: OrderedDictionary<PeerID, Peer> = [:]
    private var generator: SeededGenerator
    private var effects: [Effect] = []

    package init(generator: SeededGenerator) {
        self.generator = generator
    }

    /// When the next tick is wanted; nil when nothing is due.
    package var nextDeadline: Instant? {
        peers.values.lazy.compactMap { peer in
            if case .waiting(let until) = peer.outbound { return until }
            return peer.reopenDue
        }.min()
    }

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .peerConnected(let id): if peers[id] == nil { peers[id] = Peer() }
        case .peerDisconnected(let id): peers[id] = nil
        case .peerIdentified(let id, let speaks, let keepsRouter):
            update(id) { keeper, peer in
                peer.speaks = speaks || peer.hasInbound
                peer.keepsRouter = keepsRouter
                // News of the peer are a reason to try again.
                if case .waiting = peer.outbound { peer.outbound = .none }
                keeper.openIfWanted(id, &peer)
            }
        case .inboundOpened(let id):
            update(id) { keeper, peer in
                let replaces = peer.hasInbound || peer.restarted
                peer.speaks = true
                peer.hasInbound = true
                if replaces, !peer.keepsRouter {
                    keeper.reopen(id, &peer)
                } else {
                    peer.restarted = false
                    peer.reopenDue = nil
                    keeper.openIfWanted(id, &peer)
                }
            }
        case .inboundEnded(let id):
            update(id) { _, peer in
                peer.hasInbound = false
                peer.restarted = true
                if !peer.keepsRouter, case .open = peer.outbound { peer.reopenDue = now + Self.restartGrace }
            }
        case .opened(let id):
            update(id) { _, peer in
                peer.outbound = .open(since: now)
                peer.reopenDue = nil
            }
        case .openFailed(let id), .ended(let id):
            update(id) { keeper, peer in keeper.retry(id, &peer, at: now) }
        case .rotated:
            for id in peers.keys {
                update(id) { _, peer in
                    if !peer.keepsRouter, case .open = peer.outbound {
                        peer.reopenDue = now + Self.restartGrace
                    }
                }
            }
        case .tick: break
        }
        performDue(at: now)
        defer { effects = [] }
        return effects
    }

    private mutating func performDue(at now: Instant) {
        for id in peers.keys {
            update(id) { keeper, peer in
                if case .waiting(let until) = peer.outbound, until <= now {
                    peer.outbound = .none
                    keeper.openIfWanted(id, &peer)
                }
                if let due = peer.reopenDue, due <= now { keeper.reopen(id, &peer) }
            }
        }
    }

    private mutating func update(_ id: PeerID, _ change: (inout Self, inout Peer) -> Void) {
        guard var peer = peers[id] else { return }
        change(&self, &peer)
        peers[id] = peer
    }

    private mutating func openIfWanted(_ id: PeerID, _ peer: inout Peer) {
        guard peer.speaks, peer.outbound == .none else { return }
        peer.outbound = .opening
        effects.append(.open(id))
    }

    private mutating func reopen(_ id: PeerID, _ peer: inout Peer) {
        peer.restarted = false
        peer.reopenDue = nil
        switch peer.outbound {
        case .open:
            effects.append(.close(id))
            peer.outbound = .none
        case .waiting: peer.outbound = .none
        case .none, .opening: break
        }
        openIfWanted(id, &peer)
    }

    private mutating func retry(_ id: PeerID, _ peer: inout Peer, at now: Instant) {
        if now - peer.lastFailure > Self.forgiveTime { peer.failures = 0 }
        peer.lastFailure = now
        peer.reopenDue = nil
        let delay: Duration
        if peer.failures == 0 {
            delay = .zero
        } else if peer.failures < Self.quickRetries {
            let base = Duration.milliseconds(100) * (1 << (peer.failures - 1))
            delay = generator.duration(in: base...base * 1.5)
        } else {
            delay = generator.duration(in: Self.slowRetry...Self.slowRetry * 1.25)
        }
        peer.failures += 1
        peer.outbound = .waiting(until: now + delay)
    }
}
