internal import LibP2P

/// Whom a node of the overlay is connected to.
///
/// Each ring orders all peers by a hash of their own; a node's neighbours are the ones before and behind
/// it on every ring. So both ends agree without a word, no node has more than `degree` neighbours, a peer
/// that comes or goes concerns at most so many others, and the union of random rings has short paths
/// (about the logarithm of their number) and stays connected when many peers fail at once.
struct RingNeighbours: Sendable {
    static let rings = 4
    /// The most neighbours; where there are no more other peers, all of them are.
    static let degree = 2 * rings
    /// Places remembered; they cost a hash each.
    private static let mostPlaces = 8192

    private var places: [PeerID: PeerPlace] = [:]

    mutating func place(of peer: PeerID) -> PeerPlace {
        if let known = places[peer] { return known }
        if places.count >= Self.mostPlaces { places = [:] }
        let place = PeerPlace(peer)
        places[peer] = place
        return place
    }

    /// The neighbours of `local` among `peers`.
    mutating func neighbours(of local: PeerID, among peers: Set<PeerID>) -> Set<PeerID> {
        guard peers.count > Self.degree else { return peers.subtracting([local]) }
        let origin = place(of: local).positions
        var before: [(distance: UInt64, peer: PeerID)?] = Array(repeating: nil, count: Self.rings)
        var behind = before
        for peer in peers where peer != local {
            let distances = place(of: peer).positions &- origin
            for ring in 0..<Self.rings {
                let distance = distances[ring]
                if behind[ring].map({ distance < $0.distance }) ?? true { behind[ring] = (distance, peer) }
                if before[ring].map({ distance > $0.distance }) ?? true { before[ring] = (distance, peer) }
            }
        }
        return Set((before + behind).compactMap { $0?.peer })
    }
}
