package import LibP2P
package import Timing

/// A peer as the rest of the node sees it.
package struct Member: Hashable, Sendable {
    package let peer: PeerID
    /// Whether it holds the token, is a stock node, or has shown nothing yet.
    package var standing: Admission.Standing
    /// Its connections, by the order in which they came up.
    package var connections: [ConnectionInfo]
    /// The last measured round trip.
    package var roundTrip: Duration?
    package var connectedSince: Instant
    /// When it was last heard of: a connection, a round trip, or a message of its own.
    package var lastSeen: Instant
    /// What its software calls itself.
    package var agentVersion: String?

    package var isConnected: Bool { !connections.isEmpty }
    /// Whether it belongs to this network: one of ours by proof, or a stock node in the room.
    package var isAdmitted: Bool { standing == .admitted }
}

/// Who is here: what `status` shows and the election counts.
///
/// A member that loses its last connection is reported as left at once and remembered for an hour, so
/// that `status` can say when it was last seen. At most `maximumRemembered` absent peers are kept, those
/// seen last.
package struct Membership: Sendable {
    package enum Input: Sendable {
        case swarm(SwarmEvent)
        /// What admission found; nil when the peer left.
        case standing(PeerID, Admission.Standing?)
        /// A message of the peer itself arrived, over whatever path.
        case heard(PeerID)
    }

    package enum Event: Hashable, Sendable {
        /// A connected peer has proven that it holds the token.
        case joined(PeerID)
        /// An admitted peer lost its last connection.
        case left(PeerID)
        /// A stock node is connected.
        case stockJoined(PeerID)
        case stockLeft(PeerID)
    }

    package static let maximumRemembered = 256
    package static let memory = Duration.seconds(3600)

    private var present: [PeerID: Member] = [:]
    private var absent: [PeerID: Member] = [:]
    /// Why the last attempt to reach a peer failed, for `status`.
    package private(set) var dialFailures: [PeerID: String] = [:]

    package init() {}

    /// Every connected peer, sorted by ID.
    package var connected: [Member] { present.values.sorted { $0.peer < $1.peer } }

    /// The connected peers that hold the token, sorted.
    package var admitted: [PeerID] { present.values.filter(\.isAdmitted).map(\.peer).sorted() }

    /// The connected stock nodes that have shown that they belong here, sorted.
    package var stock: [PeerID] { present.values.filter { $0.standing == .stock }.map(\.peer).sorted() }

    /// The connected peers that get whole blocks when they listen to the room: stock nodes, and those that may
    /// be some. Sorted.
    package var listeners: [PeerID] {
        present.values.filter { $0.standing == .stock || $0.standing == .visitor }.map(\.peer).sorted()
    }

    /// Peers that were admitted and are not connected now, sorted by ID.
    package var departed: [Member] { absent.values.sorted { $0.peer < $1.peer } }

    /// A connected peer.
    package func member(_ peer: PeerID) -> Member? { present[peer] }

    package mutating func receive(_ input: Input, at now: Instant) -> [Event] {
        switch input {
        case .swarm(let event): return swarm(event, now)
        case .standing(let peer, let standing): return standing.map { changed(peer, to: $0, now) } ?? []
        case .heard(let peer):
            present[peer]?.lastSeen = now
            absent[peer]?.lastSeen = now
            return []
        }
    }

    private mutating func swarm(_ event: SwarmEvent, _ now: Instant) -> [Event] {
        switch event {
        case .listening: return []
        case .peerConnected(let peer, let connection), .connectionAdded(let peer, let connection):
            absent[peer] = nil
            dialFailures[peer] = nil
            var member =
                present[peer]
                ?? Member(
                    peer: peer, standing: .unknown, connections: [], connectedSince: now, lastSeen: now)
            member.connections.append(connection)
            member.lastSeen = now
            present[peer] = member
        case .connectionRemoved(let peer, let connection):
            present[peer]?.connections.removeAll { $0.id == connection }
        case .peerIdentified(let peer, let information):
            present[peer]?.agentVersion = information.agentVersion
            present[peer]?.lastSeen = now
        case .roundTrip(let peer, let duration):
            present[peer]?.roundTrip = duration
            present[peer]?.lastSeen = now
        case .peerDisconnected(let peer): return left(peer, now)
        case .dialFailed(let peer, let reason):
            if dialFailures.count >= Self.maximumRemembered, dialFailures[peer] == nil { dialFailures = [:] }
            dialFailures[peer] = reason
        }
        return []
    }

    private mutating func changed(
        _ peer: PeerID, to standing: Admission.Standing, _ now: Instant
    ) -> [Event] {
        guard let before = present[peer]?.standing, before != standing else { return [] }
        present[peer]?.standing = standing
        switch (before, standing) {
        case (.admitted, _): return [.left(peer)]
        case (.stock, .admitted): return [.stockLeft(peer), .joined(peer)]
        case (_, .admitted): return [.joined(peer)]
        case (_, .stock): return [.stockJoined(peer)]
        case (.stock, _): return [.stockLeft(peer)]
        default: return []
        }
    }

    private mutating func left(_ peer: PeerID, _ now: Instant) -> [Event] {
        guard var member = present.removeValue(forKey: peer) else { return [] }
        member.connections = []
        switch member.standing {
        case .admitted:
            remember(member, now)
            return [.left(peer)]
        case .stock: return [.stockLeft(peer)]
        case .unknown, .proving, .visitor, .refused: return []
        }
    }

    private mutating func remember(_ member: Member, _ now: Instant) {
        absent = absent.filter { now - $0.value.lastSeen < Self.memory }
        if absent.count >= Self.maximumRemembered,
            let oldest = absent.min(by: { $0.value.lastSeen < $1.value.lastSeen })
        {
            absent[oldest.key] = nil
        }
        absent[member.peer] = member
    }
}
