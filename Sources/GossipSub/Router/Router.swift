internal import DequeModule
package import LibP2P
internal import OrderedCollections
package import Timing

/// Spreads messages by topic among connected peers: GossipSub v1.1 as EdgeVPN uses it
/// (contract/wire.md I.6 to I.9).
///
/// Every subscribed topic has a mesh of about six peers that get each message at once. Own messages
/// go to every subscriber. Peers outside the mesh are told what there is and ask for what they missed.
/// Our own nodes get a few messages at once and are told of the rest (`RouterAnnouncements.swift`).
///
/// Where this differs from the specification, and why:
/// - The heartbeat runs only while it has something to do: messages to gossip about, a mesh to
///   repair, a backoff to wait for. An idle node does not wake (`nextDeadline` is nil).
/// - Meshes are repaired at once when a peer subscribes, not at the next heartbeat.
/// - No fanout sets: own messages are flooded to all subscribers anyway, subscribed or not.
/// - Peer exchange is neither offered nor used: peers come from the swarm's own discovery.
/// - Peers that have proven nothing do not count in a mesh, and take no place of those that have: who of them
///   asks is taken in beside them, up to a few.
/// - No scores, like EdgeVPN; budgets per peer instead, see `Parameters`.
package struct Router: Sendable {
    package enum Input: Sendable {
        /// A peer is connected that speaks the protocol. A direct peer is one the user pinned.
        case peerConnected(PeerID, ConnectionDirection, isDirect: Bool)
        case peerDisconnected(PeerID)
        /// Whether the peer is one of our own nodes, which may be told of messages instead of getting them.
        case peerAsks(PeerID, Bool)
        /// What the peer has shown of itself.
        case peerStanding(PeerID, PeerStanding)
        /// Our stream to the peer is open: what we subscribe to is told, and sending may begin.
        case streamOpened(PeerID)
        /// Our stream to the peer is gone.
        case streamClosed(PeerID)
        /// The peer's own stream ended or was replaced, so its router may be a new one that knows
        /// nothing of us: what it said is void (contract/wire.md I.10).
        case peerRestarted(PeerID)
        /// The body of a frame from the peer.
        case frame([UInt8], from: PeerID)
        case rpc(RPC, from: PeerID)
        /// The oldest RPC on its way to the peer has left.
        case sent(PeerID)
        /// Enters a topic. When `validates`, a message is passed on only after a verdict on it.
        case subscribe(Topic, validates: Bool)
        case unsubscribe(Topic)
        /// Sends an own message, from `MessageAuthor`.
        case publish(GossipMessage)
        /// What the application thinks of a message that was delivered to it.
        case verdict(Verdict, MessageID)
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Put an RPC on the stream to the peer, and answer with `.sent` once it has left.
        case send(RPC, to: PeerID)
        /// A new authentic message in a subscribed topic, by way of `relay`.
        case deliver(GossipMessage, MessageID, relay: PeerID)
        /// Reset the stream that the peer opened: it breaks the protocol or overruns us. It may open
        /// another.
        case resetStream(PeerID, StreamOffence)
    }

    /// Why a peer's stream is reset.
    package enum StreamOffence: Hashable, Sendable {
        case undecodable
        case tooManyFrames
    }

    /// What the application says to a message.
    package enum Verdict: Hashable, Sendable {
        /// Pass it on.
        case accept
        /// Do not pass it on, without blame.
        case ignore
        /// Do not pass it on; who brought it should have known.
        case reject
    }

    struct TopicState: Sendable {
        var mesh: OrderedSet<PeerID> = []
        var validates: Bool
    }

    struct Pending: Sendable {
        let message: GossipMessage
        let topic: Topic
        let relay: PeerID
        /// Others that are known to have it.
        let holders: Set<PeerID>
        let expires: Instant
    }

    let localPeer: PeerID
    let parameters: Parameters
    var generator: SeededGenerator
    var peers: OrderedDictionary<PeerID, PeerState> = [:]
    var topics: OrderedDictionary<Topic, TopicState> = [:]
    /// Until when whom not to graft, also for topics just left.
    var backoffs: [Topic: [PeerID: Instant]] = [:]
    var seen: SeenCache
    var cache: MessageCache
    var pending: OrderedDictionary<MessageID, Pending> = [:]
    var pendingBytes = 0
    /// Messages that some peer was asked for.
    var wanted: [MessageID: Want] = [:]
    /// When the first of these is to be asked of another; nil when nothing is.
    var wantDue: Instant?
    /// What peers are to be told of.
    var announcements: OrderedDictionary<PeerID, Announcement> = [:]
    /// When it was last looked through because it was full.
    var wantedChecked = Instant.zero
    var lastHeartbeat: Instant
    var heartbeatDue: Instant?
    var effects: [Effect] = []

    /// What has been done so far.
    package internal(set) var counters = Counters()

    package init(
        localPeer: PeerID, parameters: Parameters = Parameters(), generator: SeededGenerator, at now: Instant
    ) {
        self.localPeer = localPeer
        self.parameters = parameters
        self.generator = generator
        self.seen = SeenCache(life: parameters.seenLife, capacity: parameters.maximumSeen)
        self.cache = MessageCache(parameters)
        self.lastHeartbeat = now - parameters.heartbeat
    }

    /// When the next tick is wanted; nil when there is nothing to do until something happens.
    package var nextDeadline: Instant? {
        [heartbeatDue, pending.values.first?.expires, announcementDeadline].compactMap { $0 }.min()
    }

    /// The topics subscribed to.
    package var subscriptions: [Topic] { Array(topics.keys) }

    /// Connected peers that are subscribed to `topic`.
    package func subscribers(of topic: Topic) -> [PeerID] {
        peers.compactMap { $0.value.topics.contains(topic) ? $0.key : nil }
    }

    /// The peers in the mesh of `topic`.
    package func mesh(of topic: Topic) -> [PeerID] { topics[topic].map { Array($0.mesh) } ?? [] }

    /// The topics that `peer` says it is subscribed to, as far as they are kept.
    package func topics(of peer: PeerID) -> [Topic] { peers[peer].map { Array($0.topics) } ?? [] }

    /// How many delivered messages wait for a verdict.
    package var pendingVerdicts: Int { pending.count }

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .peerConnected(let peer, let direction, let isDirect):
            connect(peer, direction, isDirect: isDirect, at: now)
        case .peerDisconnected(let peer): disconnect(peer, at: now)
        case .peerAsks(let peer, let asks): peers[peer]?.asks = asks
        case .peerStanding(let peer, let standing): setStanding(standing, of: peer, at: now)
        case .streamOpened(let peer): open(peer, at: now)
        case .streamClosed(let peer): close(peer, at: now)
        case .peerRestarted(let peer): restart(peer, at: now)
        case .frame(let bytes, let peer): receive(bytes, from: peer, at: now)
        case .rpc(let rpc, let peer): handle(rpc, from: peer, at: now)
        case .sent(let peer): sent(to: peer)
        case .subscribe(let topic, let validates): subscribe(topic, validates: validates, at: now)
        case .unsubscribe(let topic): unsubscribe(topic, at: now)
        case .publish(let message): publish(message, at: now)
        case .verdict(let verdict, let id): judge(id, verdict, at: now)
        case .tick: break
        }
        performDue(at: now)
        defer { effects = [] }
        return effects
    }

    private mutating func performDue(at now: Instant) {
        while let first = pending.values.first, first.expires <= now {
            pendingBytes -= first.message.encoded.count
            pending.removeFirst()
        }
        performAnnouncements(at: now)
        if let due = heartbeatDue, due <= now { heartbeat(at: now) }
    }

    // MARK: Peers

    private mutating func connect(
        _ peer: PeerID, _ direction: ConnectionDirection, isDirect: Bool, at now: Instant
    ) {
        guard peer != localPeer, peers[peer] == nil, peers.count < parameters.maximumPeers else {
            peers[peer]?.isDirect = isDirect
            return
        }
        peers[peer] = PeerState(direction: direction, isDirect: isDirect, parameters, at: now)
    }

    private mutating func setStanding(_ standing: PeerStanding, of peer: PeerID, at now: Instant) {
        peers[peer]?.setStanding(standing, parameters, at: now)
        for topic in peers[peer]?.topics ?? [] { repairMesh(of: topic, at: now) }
    }

    private mutating func disconnect(_ peer: PeerID, at now: Instant) {
        guard peers.removeValue(forKey: peer) != nil else { return }
        leaveMeshes(peer, at: now)
        forgetAnnouncements(of: peer, at: now)
    }

    private mutating func open(_ peer: PeerID, at now: Instant) {
        guard peers[peer] != nil else { return }
        peers[peer]?.closeStream()
        peers[peer]?.isOpen = true
        var hello = RPC()
        hello.subscriptions = topics.keys.map { RPC.Subscription(subscribes: true, topic: $0) }
        // A stream that replaces another leads to the same router or to one that knows nothing.
        hello.graft = topics.filter { $0.value.mesh.contains(peer) }.map(\.key)
        if !hello.isEmpty { send(hello, to: peer) }
        for topic in peers[peer]?.topics ?? [] { repairMesh(of: topic, at: now) }
    }

    private mutating func close(_ peer: PeerID, at now: Instant) {
        // The mesh stays: the stream is about to be opened again, and the peer still sends to us.
        peers[peer]?.closeStream()
        announcements[peer] = nil
    }

    private mutating func restart(_ peer: PeerID, at now: Instant) {
        guard peers[peer] != nil else { return }
        peers[peer]?.topics = []
        leaveMeshes(peer, at: now)
        // Its new router holds nothing against us, so neither do we.
        for topic in backoffs.keys { backoffs[topic]?[peer] = nil }
    }

    private mutating func leaveMeshes(_ peer: PeerID, at now: Instant) {
        for topic in topics.keys where topics[topic]?.mesh.remove(peer) != nil {
            repairMesh(of: topic, at: now)
        }
    }

    // MARK: Sending

    /// Puts an RPC on its way unless the peer's queue is full; says whether it did.
    @discardableResult
    mutating func send(_ rpc: RPC, to peer: PeerID) -> Bool {
        guard let state = peers[peer], state.isOpen else { return false }
        let size = rpc.encodedLengthEstimate
        let fits =
            state.isProven
            ? state.queue.isEmpty || state.queuedBytes + size <= parameters.maximumQueuedBytes
            : state.queuedBytes + size <= parameters.maximumUnprovenQueuedBytes
        guard state.queue.count < parameters.outboundQueue, fits else {
            counters.dropped += 1
            owe(rpc, to: peer)
            return false
        }
        peers[peer]?.queue.append(size)
        peers[peer]?.queuedBytes += size
        counters.framesSent += 1
        effects.append(.send(rpc, to: peer))
        return true
    }

    private mutating func owe(_ rpc: RPC, to peer: PeerID) {
        for subscription in rpc.subscriptions {
            peers[peer]?.owedSubscriptions[subscription.topic] = subscription.subscribes
        }
        for topic in rpc.graft { peers[peer]?.owedGrafts.append(topic) }
        for prune in rpc.prune { peers[peer]?.owedPrunes[prune.topic] = prune.backoff ?? 0 }
    }

    private mutating func sent(to peer: PeerID) {
        guard let size = peers[peer]?.queue.popFirst() else { return }
        peers[peer]?.queuedBytes -= size
        guard let state = peers[peer], state.owes else { return }
        var rpc = RPC()
        rpc.subscriptions = state.owedSubscriptions.map {
            RPC.Subscription(subscribes: $0.value, topic: $0.key)
        }
        // What has changed since is not said any more.
        rpc.graft = state.owedGrafts.filter { topics[$0]?.mesh.contains(peer) ?? false }
        rpc.prune = state.owedPrunes.filter { !(topics[$0.key]?.mesh.contains(peer) ?? false) }
            .map { RPC.Prune(topic: $0.key, backoff: $0.value) }
        peers[peer]?.owedSubscriptions = [:]
        peers[peer]?.owedGrafts = []
        peers[peer]?.owedPrunes = [:]
        if !rpc.isEmpty { send(rpc, to: peer) }
    }

    // MARK: Own topics

    private mutating func subscribe(_ topic: Topic, validates: Bool, at now: Instant) {
        guard topic.name.utf8.count <= Topic.maximumLength else { return }
        if topics[topic] != nil {
            topics[topic]?.validates = validates
            return
        }
        topics[topic] = TopicState(validates: validates)
        announce(topic, subscribes: true)
        repairMesh(of: topic, at: now)
    }

    private mutating func unsubscribe(_ topic: Topic, at now: Instant) {
        guard let state = topics.removeValue(forKey: topic) else { return }
        let backoff = UInt64(clamping: parameters.unsubscribeBackoff.components.seconds)
        for peer in state.mesh {
            backOff(from: peer, topic, for: parameters.unsubscribeBackoff, at: now)
            var rpc = RPC()
            rpc.prune = [RPC.Prune(topic: topic, backoff: backoff)]
            counters.prunes += 1
            send(rpc, to: peer)
        }
        announce(topic, subscribes: false)
    }

    private mutating func announce(_ topic: Topic, subscribes: Bool) {
        var rpc = RPC()
        rpc.subscriptions = [RPC.Subscription(subscribes: subscribes, topic: topic)]
        for peer in peers.keys { send(rpc, to: peer) }
    }
}
