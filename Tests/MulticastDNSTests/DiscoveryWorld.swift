import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

@testable import MulticastDNS

/// Nodes on one link in virtual time: what one multicasts all hear, itself included.
struct DiscoveryWorld {
    struct Node {
        var discovery: ServiceDiscovery
        let source: PacketSource
        var found: [(peer: PeerID, addresses: [Multiaddr], isProven: Bool, at: Instant)] = []
        var sent: [(packet: [UInt8], at: Instant)] = []
    }

    static let service = "mEFtsdSKy7S0wBcU3hVDSotvZ1MJRobHe0UwNqjmuPS"
    var nodes: [Node] = []
    var now = Instant.zero
    var generator: SeededGenerator
    /// The share of packets that are lost, per receiver.
    var loss = 0.0

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    static func link(_ interface: UInt32 = 2) -> MulticastLink {
        let prefix = MulticastLink.Prefix(address: .v4(IPv4Address(0xc0a8_4f01)), length: 24)
        return MulticastLink(
            id: MulticastLink.ID(interface: interface, family: .v4), name: "eth0", prefixes: [prefix])
    }

    static func source(_ index: Int) -> PacketSource {
        PacketSource(address: .v4(IPv4Address(0xc0a8_4f01 + UInt32(index))), port: 5353)
    }

    static func address(_ index: Int) throws -> Multiaddr {
        try Multiaddr("/ip4/192.168.79.\(index + 1)/tcp/4001")
    }

    /// Adds a node that is dialled at `addresses`, and starts it. With a key it proves what it announces.
    @discardableResult
    mutating func add(
        addresses: [Multiaddr]? = nil, start: Bool = true, key: SecretBytes? = nil
    ) throws -> PeerID {
        let peer = Identity.generate().peerID
        var configuration = ServiceDiscovery.Configuration(serviceName: Self.service, localPeer: peer)
        configuration.proofKey = key
        let seed = generator.next()
        guard
            let discovery = ServiceDiscovery(
                configuration: configuration, generator: SeededGenerator(seed: seed), at: now)
        else { throw DNSError.nameTooLong }
        nodes.append(Node(discovery: discovery, source: Self.source(nodes.count)))
        let index = nodes.count - 1
        let addresses = try addresses ?? [Self.address(index)]
        feed(.addressesChanged(addresses), to: index)
        if start { feed(.linkUp(Self.link()), to: index) }
        return peer
    }

    mutating func feed(_ input: ServiceDiscovery.Input, to index: Int) {
        for effect in nodes[index].discovery.receive(input, at: now) {
            switch effect {
            case .discovered(let peer, let addresses, let isProven):
                nodes[index].found.append((peer, addresses, isProven, now))
            case .multicast(let packet, let link):
                nodes[index].sent.append((packet, now))
                let source = nodes[index].source
                for other in nodes.indices where Double.random(in: 0..<1, using: &generator) >= loss {
                    feed(.received(packet, from: source, on: link), to: other)
                }
            case .unicast(let packet, let destination, let link):
                nodes[index].sent.append((packet, now))
                let source = nodes[index].source
                for other in nodes.indices where nodes[other].source == destination {
                    feed(.received(packet, from: source, on: link), to: other)
                }
            }
        }
        if let fault = DeadlineCheck.fault(
            of: nodes[index].discovery, at: now, deadline: { $0.nextDeadline },
            tick: { _ = $0.receive(.tick, at: $1) })
        {
            Issue.record("\(fault)")
        }
    }

    /// Runs everything that is due until `end`.
    mutating func run(until end: Instant) {
        while let next = nodes.compactMap(\.discovery.nextDeadline).min(), next <= end {
            now = max(now, next)
            for index in nodes.indices where nodes[index].discovery.nextDeadline.map({ $0 <= now }) ?? false {
                feed(.tick, to: index)
            }
        }
        now = end
    }

    mutating func run(for time: Duration) { run(until: now + time) }
}
