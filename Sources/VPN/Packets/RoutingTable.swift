internal import LibP2P
internal import Synchronization

/// Which peer has which address, as the packet path sees it: one immutable value, replaced whole.
final class RoutingTable: Sendable {
    /// The links by address, in host byte order.
    let links: [UInt32: PeerLink]
    /// The addresses that are this node's own.
    let localAddresses: Set<UInt32>
    /// The peers that have an address.
    let peers: Set<PeerID>
    let subnet: VirtualSubnet

    init(
        subnet: VirtualSubnet, localAddresses: Set<VirtualAddress> = [],
        links: [VirtualAddress: PeerLink] = [:]
    ) {
        self.subnet = subnet
        self.localAddresses = Set(localAddresses.map(\.rawValue))
        self.peers = Set(links.values.map(\.peer))
        self.links = Dictionary(uniqueKeysWithValues: links.map { ($0.key.rawValue, $0.value) })
    }

    /// Where a packet of ours goes.
    func route(_ packet: IPv4Packet) -> Result<PeerLink, DropReason> {
        if let link = links[packet.destination.rawValue] { return .success(link) }
        let destination = packet.destination
        if destination.rawValue >> 28 >= 14 || destination == subnet.broadcast { return .failure(.multicast) }
        return .failure(.noRoute)
    }

    /// Why a packet from `peer` is not for us; nil when it is.
    func objection(to packet: IPv4Packet, from peer: PeerID) -> DropReason? {
        guard localAddresses.contains(packet.destination.rawValue) else { return .foreignDestination }
        return links[packet.source.rawValue]?.peer == peer ? nil : .foreignSource
    }
}

/// Hands the newest routing table to readers. Reading it costs one atomic load as long as the table
/// has not changed, so the packet path shares no lock with whoever replaces it.
final class RoutingPublisher: Sendable {
    private let generation = Atomic<UInt64>(0)
    private let table: Mutex<RoutingTable>

    init(_ table: RoutingTable) {
        self.table = Mutex(table)
    }

    func publish(_ new: RoutingTable) {
        table.withLock { $0 = new }
        generation.wrappingAdd(1, ordering: .releasing)
    }

    var current: RoutingTable { table.withLock { $0 } }

    /// One reader's place; belongs to one thread at a time.
    struct Reader {
        private let publisher: RoutingPublisher
        private var seen: UInt64
        private var table: RoutingTable

        init(_ publisher: RoutingPublisher) {
            self.publisher = publisher
            self.seen = publisher.generation.load(ordering: .acquiring)
            self.table = publisher.current
        }

        /// The newest table.
        mutating func latest() -> RoutingTable {
            let generation = publisher.generation.load(ordering: .acquiring)
            if generation != seen {
                seen = generation
                table = publisher.current
            }
            return table
        }
    }
}
