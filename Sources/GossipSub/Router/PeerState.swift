internal import DequeModule
internal import LibP2P
internal import OrderedCollections
internal import Timing

/// What the router knows of one connected peer, and what the peer may still cost.
struct PeerState: Sendable {
    let direction: ConnectionDirection
    /// Pinned by the user: always served, never in a mesh (contract/wire.md I.9).
    var isDirect: Bool
    /// What it has shown of itself.
    private(set) var standing: PeerStanding
    /// Whether it is one of our own nodes: told of messages, it asks for what it lacks.
    var asks = false
    /// Whether our stream to the peer is open.
    var isOpen = false
    /// What the peer is subscribed to.
    var topics: OrderedSet<Topic> = []
    /// Sizes of the RPCs on their way, oldest first.
    var queue: Deque<Int> = []
    var queuedBytes = 0
    /// What a full queue kept from being said and must be said later: it is not repeated by itself.
    var owedSubscriptions: OrderedDictionary<Topic, Bool> = [:]
    var owedGrafts: OrderedSet<Topic> = []
    var owedPrunes: OrderedDictionary<Topic, UInt64> = [:]

    /// The second that IHAVE budgets are counted in.
    var windowStart: Instant
    var ihaveFrames = 0
    var idsAsked = 0
    var idsRequested = 0

    var frames: TokenBucket
    var messages: TokenBucket
    var messageBytes: TokenBucket
    var control: TokenBucket
    var invalid: TokenBucket
    var ignoredUntil = Instant.zero

    init(direction: ConnectionDirection, isDirect: Bool, _ parameters: Parameters, at now: Instant) {
        self.direction = direction
        self.isDirect = isDirect
        windowStart = now
        standing = parameters.newcomers
        let isProven = standing > .unproven
        frames = TokenBucket(
            capacity: isProven ? parameters.frameBurst : parameters.unprovenFrameBurst,
            refillPerSecond: isProven ? parameters.framesPerSecond : parameters.unprovenFramesPerSecond,
            at: now)
        messages = TokenBucket(
            capacity: isProven ? parameters.messageBurst : parameters.unprovenMessageBurst,
            refillPerSecond: isProven ? parameters.messagesPerSecond : parameters.unprovenMessagesPerSecond,
            at: now)
        let largest = isProven ? parameters.maximumMessageSize : StandingLimits.unproven.frameBytes
        messageBytes = TokenBucket(
            capacity: largest < .max / 2 ? 2 * largest : largest, refillPerSecond: Double(largest) / 4,
            at: now)
        control = TokenBucket(
            capacity: isProven ? parameters.controlBurst : parameters.unprovenControlBurst,
            refillPerSecond: isProven ? parameters.controlPerSecond : parameters.unprovenControlPerSecond,
            at: now)
        invalid = TokenBucket(
            capacity: isProven ? parameters.invalidBurst : parameters.unprovenInvalidBurst,
            refillPerSecond: isProven ? parameters.invalidPerSecond : parameters.unprovenInvalidPerSecond,
            at: now)
    }

    /// Gives the peer the budgets of `standing`, full.
    mutating func setStanding(_ standing: PeerStanding, _ parameters: Parameters, at now: Instant) {
        guard standing != self.standing else { return }
        var parameters = parameters
        parameters.newcomers = standing
        let fresh = PeerState(direction: direction, isDirect: isDirect, parameters, at: now)
        self.standing = standing
        (frames, messages, messageBytes) = (fresh.frames, fresh.messages, fresh.messageBytes)
        (control, invalid) = (fresh.control, fresh.invalid)
    }

    var isProven: Bool { standing > .unproven }

    /// Whether something is owed to the peer.
    var owes: Bool { !owedSubscriptions.isEmpty || !owedGrafts.isEmpty || !owedPrunes.isEmpty }

    /// Starts a new second of the IHAVE and IWANT budgets when the last is over.
    mutating func renewWindow(at now: Instant, length: Duration) {
        guard now - windowStart >= length else { return }
        windowStart = now
        ihaveFrames = 0
        idsAsked = 0
        idsRequested = 0
    }

    /// Forgets everything that was to go over a stream that is gone.
    mutating func closeStream() {
        isOpen = false
        queue = []
        queuedBytes = 0
        owedSubscriptions = [:]
        owedGrafts = []
        owedPrunes = [:]
    }
}
