import GossipSub
import LibP2P
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Timing

/// Gossip on one of our nodes, and what has arrived.
final class Gossip: Sendable {
    private let service: GossipSubService
    private let messages: NIOLockedValueBox<[DeliveredMessage]>

    init(on node: Node) async throws {
        let (swarm, identity) = (node.swarm, node.identity)
        let messages = NIOLockedValueBox<[DeliveredMessage]>([])
        self.messages = messages
        service = try await swarm.eventLoop.submit {
            let service = GossipSubService(
                host: swarm, identity: identity, generator: .fromSystem(), logger: Logger(label: "gossip")
            ) { message in
                messages.withLockedValue { $0.append(message) }
                return .accept
            }
            service.start()
            return service
        }.get()
    }

    func subscribe(to topic: String) {
        service.subscribe(to: Topic(topic))
    }

    func publish(_ data: [UInt8], on topic: String) async throws {
        try await service.publish(data, to: Topic(topic)).get()
    }

    /// Waits until `peer` is in the mesh of `topic`.
    func waitForMesh(with peer: PeerID, in topic: String) async throws {
        try await eventually("\(peer) in the mesh") {
            try await self.service.mesh(of: Topic(topic)).get().contains(peer)
        }
    }

    /// Waits for the message that holds `data`, and makes sure that it came once.
    func message(with data: [UInt8]) async throws -> DeliveredMessage {
        try await eventually("the arrival of a message") { !self.received(data).isEmpty }
        let received = received(data)
        #expect(received.count == 1)
        return try #require(received.first)
    }

    private func received(_ data: [UInt8]) -> [DeliveredMessage] {
        messages.withLockedValue { $0.filter { $0.data.elementsEqual(data) } }
    }
}

/// Waits until `condition` holds, 15 seconds at most.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(15)
    while try await !condition() {
        guard ContinuousClock.now < end else { throw InteropError("\(what) did not happen within 15 s") }
        try await Task.sleep(for: .milliseconds(50))
    }
}
