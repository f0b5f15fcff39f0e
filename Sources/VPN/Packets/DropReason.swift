/// Why a packet was not passed on. The raw values are the counters' places.
package enum DropReason: Int, Error, Hashable, Sendable, CaseIterable {
    /// IPv6, which is off in the mesh.
    case notIPv4
    /// No whole IP packet, or a header that contradicts itself.
    case malformed
    /// Multicast or broadcast, which the mesh does not carry.
    case multicast
    /// No live node has the destination address.
    case noRoute
    /// The queue to the peer is full.
    case queueFull
    /// The packet waited too long for the peer.
    case queueExpired
    /// The source address is not the sender's.
    case foreignSource
    /// The destination address is not ours.
    case foreignDestination
    /// The offload header does not fit the packet.
    case malformedOffload
    /// The keys of the path are used up, or the cipher failed.
    case noPath
    /// No packet of a session that we have: foreign, changed, old, or sent twice.
    case notAuthentic
    /// The kernel did not take the packet.
    case deviceRefused

    /// The name in metrics and status.
    package var name: String {
        switch self {
        case .notIPv4: "not_ipv4"
        case .malformed: "malformed"
        case .multicast: "multicast"
        case .noRoute: "no_route"
        case .queueFull: "queue_full"
        case .queueExpired: "queue_expired"
        case .foreignSource: "foreign_source"
        case .foreignDestination: "foreign_destination"
        case .malformedOffload: "malformed_offload"
        case .noPath: "no_path"
        case .notAuthentic: "not_authentic"
        case .deviceRefused: "device_refused"
        }
    }
}
