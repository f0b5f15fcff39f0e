internal import DequeModule
package import LibP2P
package import Multiformats
internal import Timing

extension Overlay {
    package enum Input: Sendable {
        /// A peer was heard of on the local link; `isProven`: by a holder of the network's secret.
        case discovered(PeerID, [Multiaddr], isProven: Bool)
        /// Stay connected to the peer whatever the rings say, or no longer.
        case pin(Bool, PeerID, [Multiaddr], PinReason)
        /// Where this node can be dialled, best first.
        case listening([Multiaddr])
        /// An admitted peer is connected.
        case linkUp(PeerID)
        /// An admitted peer has lost its last connection, or its standing.
        case linkDown(PeerID)
        /// A stock node is connected.
        case stock(PeerID)
        /// The peer could not be reached at any address.
        case dialFailed(PeerID)
        /// A frame of an admitted peer, without its length.
        case frame(PeerID, [UInt8])
        /// Somebody here wants to talk to the peer now.
        case request(PeerID)
        case tick
    }

    /// Why a connection stays whatever the rings say. Each reason is taken away by itself.
    package enum PinReason: Hashable, Sendable {
        /// The cloud-config names the peer.
        case configuration
        /// Both are servers.
        case lease
    }

    package enum Effect: Hashable, Sendable {
        /// Stay connected to the peer, or no longer.
        case keep(Bool, PeerID, [Multiaddr])
        /// Connect to the peer.
        case dial(PeerID, [Multiaddr])
        /// Send a frame to an admitted peer.
        case send(PeerID, [UInt8])
        /// Neither end needs the connection for the overlay: close it unless something else uses it.
        case closeUnlessUsed(PeerID)
        /// The peer is silent although another one has lost it: close its connections.
        case disconnect(PeerID)
        /// Who is here, not counting this node.
        case present(Set<PeerID>)
    }

    package struct Configuration: Hashable, Sendable {
        /// The least time between two versions of this node's record: what changes meanwhile travels
        /// together.
        package var issueInterval = Duration.milliseconds(100)
        /// The least time between two choices of neighbours, where there is a choice.
        package var chooseInterval = Duration.milliseconds(300)
        /// How long a connection is kept that neither end wants.
        package var surplusGrace = Duration.seconds(10)
        /// How long a peer may take to answer when another one has lost it.
        package var probePatience = Duration.seconds(4)
        /// How long a peer that was heard of on the local link counts as being there.
        package var discoveryLife = Duration.seconds(90)
        /// After how long a peer that was heard of with a proof, and that no record speaks of, is dialled
        /// whatever the rings say.
        package var resolveAfter = Duration.seconds(5)
        /// How long a peer may take to show what it is, once it is dialled for that.
        package var resolvePatience = Duration.seconds(15)
        /// How long an absent peer is remembered, and some of them tried.
        package var memory = Duration.seconds(3600)
        /// The mean time between two comparisons with some neighbour while nothing happens.
        package var compareInterval = Duration.seconds(600)

        package init() {}
    }

    /// What happened so far, for `status` and the benchmarks.
    package struct Counters: Hashable, Sendable {
        package var recordsIssued = 0
        package var recordsAccepted = 0
        package var recordsRejected = 0
        package var framesSent = 0
        package var frameBytesSent = 0
        package var badFrames = 0
        package var rateLimited = 0
        package var probes = 0
        package var presenceChanges = 0
    }

    /// What is known of a peer, connected or not.
    struct Known: Sendable {
        var record: LinkRecord?
        /// Where it was heard of on the local link, or what a pin said.
        var addresses: [Multiaddr] = []
        var firstHeard: Instant
        /// When it was last heard of on the local link.
        var discovered: Instant?
        /// When it was last present or heard of.
        var lastSeen: Instant
        var failed: Instant?
        var isStock = false
        /// Whether a holder of the network's secret has announced it, or it was admitted: it has a place in the
        /// rings. So has everybody with a record. Others are dialled only to find out what they are.
        var isProven = false
        /// When it was last dialled for that.
        var resolved: Instant?

        var hasPlace: Bool { isProven || record != nil }
    }

    /// An admitted peer that is connected.
    struct Link: Sendable {
        var frames: TokenBucket
        var records: TokenBucket
        /// Bytes that the peer may ask for.
        var answers: TokenBucket
        /// Records of the peer that were not looked at yet.
        var waiting: Deque<[UInt8]> = []
        /// Since when neither end has wanted the connection, or when it was last asked for.
        var surplusSince: Instant?
        var probeDue: Instant?
        var probed: Instant?
        /// What the peer last said of all its records.
        var digest: OverlayDigest?
    }

    static let maximumKnown = 2048
    /// Of these, peers that have shown nothing.
    static let maximumUnproven = 256
    /// Records looked at in one turn: each can cost the check of a signature, some 0.1 ms.
    static let recordsOfTurn = 64
    /// Records of one peer that may wait for a later turn.
    static let maximumWaiting = 1024
    /// The least time between two such turns, in which other work is done.
    static let turnInterval = Duration.milliseconds(2)
    /// Peers dialled at once to find out what they are.
    static let maximumResolving = 4
    static let suspicionDelay = Duration.milliseconds(500)
    static let probeInterval = Duration.seconds(10)
    static let comparePatience = Duration.seconds(3)
}
