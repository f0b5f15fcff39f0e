package import LibP2P

/// The router's figures: those of contract/wire.md I.6, and the limits that keep one peer from using
/// this node up.
package struct Parameters: Hashable, Sendable {
    /// The mesh size aimed at, and the sizes at which it is repaired.
    package var degree = 6
    package var degreeLow = 5
    package var degreeHigh = 12
    /// How many mesh peers must be ones that we connected to when the mesh is cut down: an attacker
    /// can make connections to us, not from us.
    package var degreeOutbound = 2
    /// How many peers outside the mesh hear of new messages at least.
    package var degreeLazy = 6
    package var gossipFactor = 0.25
    /// To how many of our own nodes an own message goes at once, and one that is passed on; the others are
    /// told of it.
    package var degreePublish = 3
    package var degreeForward = 1
    /// How long after a message came the others are told of it.
    package var shortestAnnouncement = Duration.milliseconds(10)
    package var longestAnnouncement = Duration.milliseconds(80)
    /// A message of up to so many bytes is sent at once: to tell of it takes as much.
    package var smallMessage = 256
    /// Messages that wait to be announced to one peer; what exceeds them is sent at once.
    package var maximumAnnounced = 1024
    package var heartbeat = Duration.seconds(1)
    package var firstHeartbeat = Duration.milliseconds(100)
    /// Heartbeats that a message stays in the cache, and in which it is gossiped about. The cache is twice
    /// that of the specification: who lost what it asked for asks once a second, of one holder at a time.
    package var historyLength = 10
    package var historyGossip = 3
    package var pruneBackoff = Duration.seconds(60)
    package var unsubscribeBackoff = Duration.seconds(10)
    /// Waited beyond a backoff that a peer asked for before grafting it again.
    package var backoffSlack = Duration.seconds(2)
    /// A peer cannot keep us away longer than this.
    package var longestBackoff = Duration.seconds(600)
    package var seenLife = Duration.seconds(120)
    /// More than the ten of the specification: our own nodes announce each message once, a little after it
    /// came, and not once a second.
    package var maximumIHavePerHeartbeat = 128
    package var maximumIDsAskedPerHeartbeat = 5000
    /// Before another peer is asked for a message that one peer owes.
    package var wantRetry = Duration.seconds(1)
    package var maximumRetransmissions = 3
    package var outboundQueue = 32

    /// The largest frame either way: the token's `max_message_size`, in bytes.
    package var maximumMessageSize = 20_971_520
    /// Peers beyond this are not served; the swarm's own limit is lower.
    package var maximumPeers = 4096
    /// Topics remembered of one peer. A room has one, or a few around a rotation.
    package var maximumTopicsPerPeer = 64
    package var maximumSeen = 16_384
    package var maximumCachedBytes = 6_291_456
    package var maximumCachedMessages = 4096
    /// Bytes on their way to one peer, unless a single message is larger.
    package var maximumQueuedBytes = 8_388_608
    /// The same for an unproven peer, to which a larger message is not sent.
    package var maximumUnprovenQueuedBytes = 524_288
    package var maximumPendingVerdicts = 256
    package var verdictTimeout = Duration.seconds(30)
    package var maximumWanted = 16_384

    /// New messages that one peer may bring: at once and per second. What exceeds that is dropped and
    /// may still come by way of another peer.
    package var messageBurst = 1024
    package var messagesPerSecond = 128.0
    /// Frames of one peer; who sends more has its stream reset.
    package var frameBurst = 2048
    package var framesPerSecond = 256.0
    /// GRAFTs, PRUNEs and subscriptions of one peer; what exceeds that is ignored.
    package var controlBurst = 256
    package var controlPerSecond = 16.0
    /// Forged or rejected messages of one peer; after these it is not listened to for a while.
    package var invalidBurst = 32
    package var invalidPerSecond = 0.5
    package var ignoreTime = Duration.seconds(60)

    /// The most memory that the router takes, whoever its peers are, in bytes: messages kept for others, one of
    /// which may be as large as any, and IDs.
    package var keptBytes: Int {
        // A message that waits for a verdict shares its bytes with the frame that brought it.
        max(maximumCachedBytes, maximumMessageSize) + maximumCachedBytes
            + maximumSeen * 192 + maximumWanted * 320 + maximumCachedMessages * 512
    }

    /// What a peer counts as of which nobody has said anything (`GossipSubService.setStanding`). Where nobody
    /// judges, everybody is taken for one of the network.
    package var newcomers = PeerStanding.admitted
    /// The four budgets above for an unproven peer, which has nothing to say but that it is here.
    package var unprovenMessageBurst = 64
    package var unprovenMessagesPerSecond = 8.0
    package var unprovenFrameBurst = 256
    package var unprovenFramesPerSecond = 32.0
    package var unprovenControlBurst = 32
    package var unprovenControlPerSecond = 2.0
    package var unprovenInvalidBurst = 8
    package var unprovenInvalidPerSecond = 0.1
    /// Unproven peers that a mesh takes in beside its own number, when they ask to be.
    package var unprovenDegree = 6

    package init() {}
}

/// What the router has done, for metrics.
package struct Counters: Hashable, Sendable {
    package var published = 0
    package var delivered = 0
    package var forwarded = 0
    /// Messages that a peer was told of before the heartbeat.
    package var announced = 0
    package var duplicates = 0
    /// Messages without a valid signature, or rejected by the application.
    package var invalid = 0
    /// Messages above a peer's budget.
    package var throttled = 0
    /// RPCs that a full queue made us drop.
    package var dropped = 0
    package var framesReceived = 0
    package var framesSent = 0
    package var undecodable = 0
    package var grafts = 0
    package var prunes = 0
    package var heartbeats = 0

    package init() {}
}
