/// What the swarm allows itself and others: every number bounds memory or work that somebody else
/// could otherwise cause.
package struct SwarmLimits: Hashable, Sendable {
    /// What a peer counts as of which nobody has said anything (`Host.setStanding`). Where nobody judges at
    /// all, as in a test of two nodes, it is `admitted`.
    package var newcomers = PeerStanding.unproven
    /// Connections to peers that have proven themselves. An inbound one above it is refused.
    package var connections = 384
    /// Connections beyond these to peers marked to stay connected to.
    package var keptConnections = 32
    /// Of these, connections to peers that are members and not admitted. One above stays unproven.
    package var memberConnections = 192
    /// Connections to unproven peers. One above takes the place of another, chosen at random.
    package var unprovenConnections = 128
    /// The same from one IPv4 address or IPv6 /64.
    package var unprovenPerAddress = 16
    /// Connections to one peer: both ends may dial at once, more is abuse. An unproven one may make one.
    package var connectionsPerPeer = 4
    /// Inbound connections whose handshake is not complete. One above takes the place of another.
    package var pendingInbound = 64
    /// The same from one IPv4 address or IPv6 /64; nodes behind one NAT share one.
    package var pendingInboundPerAddress = 16
    /// Dial attempts under way at once, shared out by `DialClass`.
    package var dialAttempts = 32
    /// Dial attempts under way at once to one peer, which may name many addresses.
    package var dialAttemptsPerPeer = 8
    /// Addresses remembered for one peer.
    package var addressesPerPeer = 32
    /// Peers remembered that are not connected.
    package var rememberedPeers = 2048
    /// Streams of one protocol that one peer may have open at once.
    package var inboundStreamsPerProtocol = 512
    /// Streams of one peer whose protocol is not agreed on.
    package var negotiatingStreamsPerPeer = 256

    /// What a socket takes before its handshake is complete, in bytes: a read buffer of 16 kB, a TLS handshake of
    /// 64 kB, and state.
    package static let handshakeBytes = 96 << 10
    /// What a connection takes beside what is on its account, in bytes: its channel, cipher and handlers (55 kB
    /// measured at rest), and a frame of Noise that is not complete.
    package static let connectionBytes = 128 << 10

    /// The most memory that sockets and connections take beside what is on their accounts, in bytes.
    package var fixedBytes: Int {
        pendingInbound * Self.handshakeBytes
            + (unprovenConnections + connections + keptConnections) * Self.connectionBytes
    }

    package init() {}
}

/// The times of the swarm (contract/wire.md D.1).
package struct SwarmTimings: Hashable, Sendable {
    /// How long connecting and handshake may take to a private and to a public address.
    package var privateDialTimeout: Duration = .seconds(5)
    package var publicDialTimeout: Duration = .seconds(15)
    /// How long an unproven peer may take to prove itself before it loses its place to newcomers first.
    package var proofPatience: Duration = .seconds(20)
    /// How long an inbound connection may take from accept to muxed.
    package var inboundUpgradeTimeout: Duration = .seconds(15)
    /// How long one address has a head start over the next.
    package var privateStagger: Duration = .milliseconds(30)
    package var publicStagger: Duration = .milliseconds(250)
    /// The back-off after `tries` failures is `base + tries² s`, at most `maximum`.
    package var backoffBase: Duration = .seconds(5)
    package var backoffMaximum: Duration = .seconds(300)
    /// A connection that lived this long was a good one: its end is no reason to wait.
    package var longLived: Duration = .seconds(10)
    /// When to redial after a good connection ended, one attempt each: a peer that restarts is back
    /// within a second or two.
    package var quickRedials: [Duration] = [.milliseconds(100), .milliseconds(700), .seconds(1), .seconds(2)]
    /// Two connections opened within this time stem from both ends dialling at once.
    package var simultaneousWindow: Duration = .seconds(5)
    /// How long a surplus connection to one of our own nodes is kept.
    package var surplusGrace: Duration = .seconds(5)
    /// How long protocol negotiation on a stream may take.
    package var streamNegotiationTimeout: Duration = .seconds(10)
    /// How long one identify exchange may take.
    package var identifyTimeout: Duration = .seconds(5)
    /// Changes within this time go out in one push.
    package var pushDelay: Duration = .milliseconds(100)
    /// The least time between two pushes; go-libp2p takes 0.2 a second after a burst of 10.
    package var pushInterval: Duration = .seconds(2)

    package init() {}
}
