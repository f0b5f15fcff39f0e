internal import Timing

/// Which protocol a peer takes packets by.
package enum LinkDialect: Hashable, Sendable {
    /// `/kairos/vpn/1.0.0`.
    case kairos
    /// `/edgevpn/0.1`, of which a stock peer takes each frame of the muxer for a packet (contract K.1).
    case stock
}

/// What a link is doing, for `status`.
package enum LinkState: Hashable, Sendable {
    /// No packets have been sent for a while.
    case idle
    case opening
    case open(LinkDialect)
    /// The last attempt to open a stream failed; packets bring the next one about.
    case backingOff
}

/// When the sending stream to one peer is opened, opened again and closed.
///
/// ```
///            packets                 opened                 idle for long, or lost
///   idle ────────────► opening ───────────────► open ───────────────────────────► idle
///    ▲                    │ failed                                                  │
///    └──── backing off ◄──┘                        packets wait: opening at once ◄──┘
/// ```
struct PeerLinkCore: Sendable {
    /// The constants of a link.
    struct Configuration: Hashable, Sendable {
        /// How long packets wait for an open stream that does not take them.
        var openPatience: Duration = .milliseconds(500)
        /// How long packets wait for a stream to be opened.
        var openingPatience: Duration = .seconds(5)
        /// The wait after the first failed attempt, doubled up to `maximumBackoff`.
        var minimumBackoff: Duration = .milliseconds(100)
        var maximumBackoff: Duration = .seconds(5)
        /// A stream that lives for less counts as one that could not be opened.
        var minimumLife: Duration = .seconds(1)
        /// After how long without packets the stream is closed.
        var idleTimeout: Duration = .seconds(60)
    }

    enum Input: Hashable, Sendable {
        /// Packets have been queued.
        case packetsQueued
        /// The stream is open.
        case opened(LinkDialect)
        /// It could not be opened.
        case openFailed
        /// It is gone.
        case closed
        /// A connection to the peer has come up: no reason to wait any longer.
        case peerConnected
        /// `nextDeadline` has come; `queueIsEmpty` is the queue's state.
        case tick(queueIsEmpty: Bool)
    }

    enum Effect: Hashable, Sendable {
        /// Open a stream.
        case open
        /// Move packets from the queue to the stream.
        case drain
        /// Close the stream.
        case close
        /// Ask the swarm to connect to the peer.
        case dial
    }

    private enum Phase: Hashable {
        case idle
        case opening
        case open(LinkDialect, since: Instant, lastUsed: Instant)
        case backingOff(until: Instant)
    }

    let configuration: Configuration
    private var phase = Phase.idle
    private var failures = 0
    private var packetsWait = false

    init(configuration: Configuration = Configuration()) {
        self.configuration = configuration
    }

    var state: LinkState {
        switch phase {
        case .idle: .idle
        case .opening: .opening
        case .open(let dialect, _, _): .open(dialect)
        case .backingOff: .backingOff
        }
    }

    /// How long packets may wait in the present state.
    var patience: Duration {
        if case .open = phase { return configuration.openPatience }
        return configuration.openingPatience
    }

    /// When the link wants `.tick`.
    var nextDeadline: Instant? {
        switch phase {
        case .idle, .opening: nil
        case .open(_, _, let lastUsed): lastUsed + configuration.idleTimeout
        case .backingOff(let until): until
        }
    }

    mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch (input, phase) {
        case (.packetsQueued, .idle):
            phase = .opening
            packetsWait = true
            return [.open]
        case (.packetsQueued, .open(let dialect, let since, _)):
            phase = .open(dialect, since: since, lastUsed: now)
            return [.drain]
        case (.packetsQueued, .opening), (.packetsQueued, .backingOff):
            packetsWait = true
            return []
        case (.opened(let dialect), .opening):
            phase = .open(dialect, since: now, lastUsed: now)
            packetsWait = false
            return [.drain]
        case (.openFailed, .opening):
            backOff(at: now)
            return [.dial]
        case (.closed, .open(_, let since, _)):
            // A peer that refuses the stream after it was opened, as one does to which this node is
            // not admitted yet, is not to be asked again and again.
            if now - since < configuration.minimumLife {
                backOff(at: now)
            } else {
                failures = 0
                phase = .idle
            }
            return []
        case (.peerConnected, .backingOff):
            failures = 0
            return retry()
        case (.tick(let queueIsEmpty), .backingOff(let until)) where now >= until:
            if queueIsEmpty { packetsWait = false }
            return retry()
        case (.tick, .open(_, _, let lastUsed)) where now - lastUsed >= configuration.idleTimeout:
            phase = .idle
            return [.close]
        case (.opened, _):
            // The link was given up meanwhile.
            return [.close]
        case (.openFailed, _), (.closed, _), (.peerConnected, _), (.tick, _):
            return []
        }
    }

    private mutating func backOff(at now: Instant) {
        let wait = configuration.minimumBackoff * (1 << min(failures, 10))
        failures += 1
        phase = .backingOff(until: now + min(wait, configuration.maximumBackoff))
    }

    private mutating func retry() -> [Effect] {
        guard packetsWait else {
            phase = .idle
            return []
        }
        phase = .opening
        return [.open]
    }
}
