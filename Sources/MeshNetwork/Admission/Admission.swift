package import LibP2P
package import Timing

/// Decides which connected peers are members of this network (`/kairos/admission/1.0.0`).
///
/// ```
/// connected ──identify lists admission──► proving ──valid proof──► admitted
///     │                                      │
///     │                                      └──no or bad proof──► refused, tried again later
///     ├──identify lists /meshsub only──► visitor ──writes in the room──► stock
///     └──neither, for 20 s──► disconnected
/// ```
///
/// One round trip: whoever dialled opens a stream and sends `01 ‖ proof`; the other answers
/// `01 ‖ 00 ‖ proof`, or `01 ‖ 01` when the proof is bad, and gives nothing of its own away. The one
/// who was dialled opens a stream too when nothing came for a while.
///
/// Stock nodes do not know the protocol. One shows that it belongs here by what it writes: a sealed block with a
/// signed entry of its own, in a message of its own, over a connection of its own. That the block opens is not
/// enough, since all who listen get sealed blocks and could send them again in their own name. Stock nodes say
/// what they hold every 5 to 15 s; one that holds nothing of its own yet stays a visitor: it gets the room's
/// messages, and is cut off only when somebody else needs its place.
///
/// From this follows what a peer may hold here (`PeerStanding`): the admitted are admitted, stock nodes are members,
/// all others unproven.
package struct Admission: Sendable {
    /// What is known of a connected peer.
    package enum Standing: Hashable, Sendable {
        /// Connected; identify has not told what it is.
        case unknown
        /// It speaks admission and has not proven anything yet.
        case proving
        /// It holds the network token.
        case admitted
        /// It speaks EdgeVPN's protocols and not ours, which anyone can.
        case visitor
        /// It does so, and has shown that it can write in the room.
        case stock
        /// It speaks admission and its proof was wrong.
        case refused

        /// What the peer may hold on this node.
        package var peerStanding: PeerStanding {
            switch self {
            case .unknown, .proving, .visitor, .refused: .unproven
            case .stock: .member
            case .admitted: .admitted
            }
        }
    }

    package enum Input: Sendable {
        case connected(PeerID, ConnectionInfo)
        case connectionClosed(PeerID, ConnectionID)
        case disconnected(PeerID)
        case identified(PeerID, protocols: Set<ProtocolID>)
        /// The stream asked for by `Effect.open` is open on this connection.
        case opened(PeerID, ConnectionID)
        /// The stream could not be opened, or ended before a whole answer.
        case failed(PeerID)
        /// A peer's request on a stream that it opened; `stream` is the driver's name for it.
        case request(PeerID, ConnectionID, stream: UInt64, [UInt8])
        /// The answer on the stream that this node opened.
        case answer(PeerID, ConnectionID, [UInt8])
        /// A sealed block with a signed entry of the peer's own came in a message of its own, and the peer
        /// itself brought it.
        case wroteInRoom(PeerID)
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Open an admission stream to the peer.
        case open(PeerID)
        /// Send this on the stream just opened.
        case sendRequest(PeerID, [UInt8])
        /// Answer on a peer's stream and close it.
        case sendAnswer(stream: UInt64, [UInt8])
        /// Close a peer's stream without an answer.
        case reject(stream: UInt64)
        /// The peer's standing is another one now; nil when it left.
        case changed(PeerID, Standing?)
        /// Close the connections to a peer that goes on failing, or speaks none of the room's protocols.
        case disconnect(PeerID)
    }

    /// What happened so far, for `status`.
    package struct Counters: Hashable, Sendable {
        package var admitted = 0
        package var badProofs = 0
        package var malformed = 0
        package var rateLimited = 0
    }

    package static let protocolID: ProtocolID = "/kairos/admission/1.0.0"
    /// The length of a request and of a positive answer in bytes.
    package static let requestLength = 1 + AdmissionProof.length
    package static let answerLength = 2 + AdmissionProof.length

    private static let version: UInt8 = 1
    /// How long the dialled side waits for the dialler to begin.
    private static let patience = Duration.seconds(3)
    private static let retryInterval = Duration.seconds(10)
    private static let attemptTimeout = Duration.seconds(10)
    /// How long a peer may leave open what it speaks.
    private static let silence = Duration.seconds(20)
    /// Bad proofs of one peer before its connections are closed.
    private static let toleratedFailures = 3
    /// Peers whose failures are remembered after they left.
    private static let rememberedOffenders = 256

    private struct Peer: Sendable {
        var standing = Standing.unknown
        var connections: [ConnectionID: ConnectionInfo] = [:]
        /// When to open a stream, if nothing happens before.
        var tryAt: Instant?
        /// When the attempt under way is given up.
        var giveUpAt: Instant?
        /// When it is disconnected, unless it has said by then that it speaks the room's protocols.
        var speakBy: Instant?
    }

    private struct Offender: Sendable {
        var failures = 0
        var bucket: TokenBucket
    }

    private let localPeer: PeerID
    private let proofs: AdmissionProof
    private var peers: [PeerID: Peer] = [:]
    private var offenders: [PeerID: Offender] = [:]
    package private(set) var counters = Counters()

    package init(localPeer: PeerID, proofs: AdmissionProof) {
        self.localPeer = localPeer
        self.proofs = proofs
    }

    /// What is known of a connected peer; nil when it is not connected.
    package func standing(of peer: PeerID) -> Standing? { peers[peer]?.standing }

    /// The earliest instant at which `.tick` has something to do.
    package var nextDeadline: Instant? {
        peers.values.lazy.compactMap { [$0.tryAt, $0.giveUpAt, $0.speakBy].compactMap { $0 }.min() }.min()
    }

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .connected(let peer, let connection):
            let isNew = peers[peer] == nil
            peers[peer, default: Peer(speakBy: now + Self.silence)].connections[connection.id] = connection
            return isNew ? [.changed(peer, .unknown)] : []
        case .connectionClosed(let peer, let connection):
            peers[peer]?.connections[connection] = nil
            return []
        case .disconnected(let peer):
            return peers.removeValue(forKey: peer) == nil ? [] : [.changed(peer, nil)]
        case .identified(let peer, let protocols):
            return identified(peer, protocols, now)
        case .opened(let peer, let connection):
            return opened(peer, connection)
        case .failed(let peer):
            return failed(peer, now)
        case .request(let peer, let connection, let stream, let bytes):
            return request(peer, connection, stream, bytes, now)
        case .answer(let peer, let connection, let bytes):
            return answer(peer, connection, bytes, now)
        case .wroteInRoom(let peer):
            return peers[peer]?.standing == .visitor ? move(peer, to: .stock) : []
        case .tick:
            return tick(now)
        }
    }

    // MARK: inputs

    private mutating func identified(_ peer: PeerID, _ protocols: Set<ProtocolID>, _ now: Instant) -> [Effect]
    {
        guard var state = peers[peer] else { return [] }
        if protocols.contains(Self.protocolID) {
            guard [.unknown, .visitor, .stock].contains(state.standing) else { return [] }
            let dialled = state.connections.values.contains { $0.direction == .outbound }
            state.tryAt = dialled ? now : now + Self.patience
            peers[peer] = state
            return move(peer, to: .proving) + tick(now)
        }
        guard state.standing == .unknown else { return [] }
        let hearsRoom = protocols.contains { $0.rawValue.hasPrefix("/meshsub/") }
        return hearsRoom ? move(peer, to: .visitor) : []
    }

    private mutating func opened(_ peer: PeerID, _ connection: ConnectionID) -> [Effect] {
        guard let info = peers[peer]?.connections[connection], peers[peer]?.giveUpAt != nil else { return [] }
        let proof = proofs.make(
            role: .initiator, initiator: localPeer, responder: peer, channelBinding: info.channelBinding)
        return [.sendRequest(peer, [Self.version] + proof)]
    }

    private mutating func failed(_ peer: PeerID, _ now: Instant) -> [Effect] {
        guard var state = peers[peer], state.giveUpAt != nil else { return [] }
        state.giveUpAt = nil
        if state.standing != .admitted { state.tryAt = now + Self.retryInterval }
        peers[peer] = state
        return []
    }

    private mutating func request(
        _ peer: PeerID, _ connection: ConnectionID, _ stream: UInt64, _ bytes: [UInt8], _ now: Instant
    ) -> [Effect] {
        guard let info = peers[peer]?.connections[connection] else { return [.reject(stream: stream)] }
        guard allows(peer, now) else {
            counters.rateLimited += 1
            return [.reject(stream: stream)]
        }
        guard bytes.count == Self.requestLength, bytes[0] == Self.version else {
            counters.malformed += 1
            return [.reject(stream: stream)]
        }
        guard
            proofs.isValid(
                bytes.dropFirst(), role: .initiator, initiator: peer, responder: localPeer,
                channelBinding: info.channelBinding)
        else { return [.sendAnswer(stream: stream, [Self.version, 1])] + refuse(peer, now) }
        let proof = proofs.make(
            role: .responder, initiator: peer, responder: localPeer, channelBinding: info.channelBinding)
        return [.sendAnswer(stream: stream, [Self.version, 0] + proof)] + admit(peer)
    }

    private mutating func answer(
        _ peer: PeerID, _ connection: ConnectionID, _ bytes: [UInt8], _ now: Instant
    ) -> [Effect] {
        guard let info = peers[peer]?.connections[connection], peers[peer]?.giveUpAt != nil else { return [] }
        peers[peer]?.giveUpAt = nil
        guard bytes.count >= 2, bytes[0] == Self.version, bytes[1] <= 1 else {
            counters.malformed += 1
            return refuse(peer, now)
        }
        let isValid =
            bytes.count == Self.answerLength && bytes[1] == 0
            && proofs.isValid(
                bytes.dropFirst(2), role: .responder, initiator: localPeer, responder: peer,
                channelBinding: info.channelBinding)
        return isValid ? admit(peer) : refuse(peer, now)
    }

    private mutating func tick(_ now: Instant) -> [Effect] {
        var effects: [Effect] = []
        for (peer, state) in peers {
            if let speakBy = state.speakBy, speakBy <= now {
                peers[peer]?.speakBy = nil
                effects.append(.disconnect(peer))
            }
            if let giveUpAt = state.giveUpAt, giveUpAt <= now {
                effects += failed(peer, now)
            } else if let tryAt = state.tryAt, tryAt <= now {
                peers[peer]?.tryAt = nil
                peers[peer]?.giveUpAt = now + Self.attemptTimeout
                effects.append(.open(peer))
            }
        }
        return effects
    }

    // MARK: outcomes

    private mutating func admit(_ peer: PeerID) -> [Effect] {
        peers[peer]?.tryAt = nil
        offenders[peer] = nil
        guard peers[peer]?.standing != .admitted else { return [] }
        counters.admitted += 1
        return move(peer, to: .admitted)
    }

    /// A peer that was admitted stays so: what it proved on one connection does not become untrue.
    private mutating func refuse(_ peer: PeerID, _ now: Instant) -> [Effect] {
        counters.badProofs += 1
        guard peers[peer]?.standing != .admitted else { return [] }
        var offender = offenders[peer] ?? Offender(bucket: Self.bucket(now))
        offender.failures += 1
        if offenders[peer] == nil, offenders.count >= Self.rememberedOffenders {
            // The one with the fewest failures is the least worth remembering.
            let least = offenders.min { $0.value.failures < $1.value.failures }
            if let least { offenders[least.key] = nil }
        }
        offenders[peer] = offender
        peers[peer]?.tryAt = now + Self.retryInterval * offender.failures
        var effects = move(peer, to: .refused)
        if offender.failures >= Self.toleratedFailures { effects.append(.disconnect(peer)) }
        return effects
    }

    /// Whether a peer may try again now: those with failures behind them only a few times a minute.
    private mutating func allows(_ peer: PeerID, _ now: Instant) -> Bool {
        guard offenders[peer] != nil else { return true }
        return offenders[peer]?.bucket.take(at: now) ?? true
    }

    private static func bucket(_ now: Instant) -> TokenBucket {
        TokenBucket(capacity: 3, perSecond: 0.05, at: now)
    }

    private mutating func move(_ peer: PeerID, to standing: Standing) -> [Effect] {
        guard peers[peer] != nil, peers[peer]?.standing != standing else { return [] }
        peers[peer]?.standing = standing
        peers[peer]?.speakBy = nil
        return [.changed(peer, standing)]
    }
}
