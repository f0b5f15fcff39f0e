internal import DequeModule
internal import LibP2P
internal import OrderedCollections
internal import Timing

/// What the router knows of one connected peer, and what the peer may still cost.
struct PeerState: Sendable {
    let direction: ConnectionDirection
    /// Pinned by the user: always served, never in a mesh (contract/wire.md I.9).
    var isDirect: Bool
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
        frames = TokenBucket(
            capacity: parameters.frameBurst, refillPerSecond: parameters.framesPerSecond, at: now)
        messages = TokenBucket(
            capacity: parameters.messageBurst, refillPerSecond: parameters.messagesPerSecond, at: now)
        let largest = parameters.maximumMessageSize
        messageBytes = TokenBucket(
            capacity: largest < .max / 2 ? 2 * largest : largest, refillPerSecond: Double(largest) / 4,
            at: now)
        control = TokenBucket(
            capacity: parameters.controlBurst, refillPerSecond: parameters.controlPerSecond, at: now)
        invalid = TokenBucket(
            capacity: parameters.invalidBurst, refillPerSecond: parameters.invalidPerSecond, at: now)
    }

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
