internal import LibP2P

/// Which peer has which address, as the packet path sees it: one immutable value, replaced whole.
final class RoutingTable: Sendable {
    /// The links by address, in host byte order.
    let links: [UInt32: PeerLink]
    /// The datagram paths by address; the packets to other addresses go by their links.
    let paths: [UInt32: DatagramPath]
    /// The addresses that are this node's own.
    let localAddresses: Set<UInt32>
    /// The peers that have an address.
    let peers: Set<PeerID>
    let subnet: VirtualSubnet

    init(
        subnet: VirtualSubnet, localAddresses: Set<VirtualAddress> = [],
        links: [VirtualAddress: PeerLink] = [:], paths: [PeerID: DatagramPath] = [:]
    ) {
        self.subnet = subnet
        self.localAddresses = Set(localAddresses.map(\.rawValue))
        self.peers = Set(links.values.map(\.peer))
        self.links = Dictionary(uniqueKeysWithValues: links.map { ($0.key.rawValue, $0.value) })
        self.paths = Dictionary(
            uniqueKeysWithValues: links.compactMap { address, link in
                paths[link.peer].map { (address.rawValue, $0) }
            })
    }

    /// Where a packet of ours goes.
    func route(_ packet: IPv4Packet) -> Result<PeerLink, DropReason> {
        if let link = links[packet.destination.rawValue] { return .success(link) }
        let destination = packet.destination
        if destination.rawValue >> 28 >= 14 || destination == subnet.broadcast { return .failure(.multicast) }
        return .failure(.noRoute)
    }

    /// The datagram path to `address`, if there is one.
    func path(to address: VirtualAddress) -> DatagramPath? { paths[address.rawValue] }

    /// Why a packet from `peer` is not for us; nil when it is.
    func objection(to packet: IPv4Packet, from peer: PeerID) -> DropReason? {
        guard localAddresses.contains(packet.destination.rawValue) else { return .foreignDestination }
        return links[packet.source.rawValue]?.peer == peer ? nil : .foreignSource
    }
}

/// Hands the newest routing table to the packet path.
typealias RoutingPublisher = Published<RoutingTable>
