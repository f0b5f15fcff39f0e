package import LibP2P
package import Logging
package import NIOCore
package import Timing

/// A message that arrived in a subscribed topic: its signature is verified.
package struct DeliveredMessage: Sendable {
    package let topic: Topic
    /// Who wrote it.
    package let author: PeerID
    /// Who passed it to us.
    package let relay: PeerID
    package let data: ArraySlice<UInt8>
}

/// Publishes to topics and hears what others publish, over the streams of a host: the driver of
/// `Router` and `StreamKeeper`.
///
/// All of its state lives on the host's event loop; every method may be called from anywhere.
package final class GossipSubService: Sendable {
    /// The one version that is offered and proposed (contract/wire.md I.1): it has no IDONTWANT and no
    /// extensions, and every stock node speaks it.
    package static let protocolID: ProtocolID = "/meshsub/1.1.0"

    private let eventLoop: any EventLoop
    private let driver: NIOLoopBound<GossipSubDriver>

    /// Makes a service that does nothing until `start`. Must be called on the host's event loop, on
    /// which `onMessage` is called too.
    ///
    /// - Parameters:
    ///   - identity: signs what is published.
    ///   - onMessage: told of every new message. In a topic that validates, its verdict decides whether
    ///     the message is passed on; in others it is not looked at.
    package init(
        host: any Host, identity: Identity, parameters: Parameters = Parameters(), generator: SeededGenerator,
        time: any TimeSource = SystemTime(), logger: Logger,
        onMessage: @escaping @Sendable (DeliveredMessage) -> Router.Verdict
    ) {
        eventLoop = host.eventLoop
        let driver = GossipSubDriver(
            host: host, identity: identity, parameters: parameters, generator: generator, time: time,
            logger: logger,
            onMessage: onMessage)
        self.driver = NIOLoopBound(driver, eventLoop: host.eventLoop)
    }

    /// Begins to serve peers, those that are connected already included.
    package func start() {
        run { $0.start() }
    }

    /// Closes all gossip streams. The service cannot be started again.
    package func stop() {
        run { $0.stop() }
    }

    /// Enters a topic; entering it twice only changes whether it validates.
    package func subscribe(to topic: Topic, validates: Bool = false) {
        run { $0.feed(.subscribe(topic, validates: validates)) }
    }

    /// Leaves a topic.
    package func unsubscribe(from topic: Topic) {
        run { $0.feed(.unsubscribe(topic)) }
    }

    /// Signs `data` and sends it to every subscriber of `topic` that is connected; nobody acknowledges.
    ///
    /// Fails with `GossipSubError.messageTooLarge`.
    package func publish(_ data: [UInt8], to topic: Topic) -> EventLoopFuture<Void> {
        ask { driver in try driver.publish(data, to: topic) }
    }

    /// Replaces the streams to peers that lose their router when the topic rotates; call it at every
    /// rotation, after subscribing to the new topic (contract/wire.md I.10).
    package func reopenStreams() {
        run { $0.rotate() }
    }

    /// Peers that the user pinned: they get every message and stay out of meshes (contract/wire.md I.9).
    package func setDirectPeers(_ peers: Set<PeerID>) {
        run { $0.setDirectPeers(peers) }
    }

    /// Says what a connected peer has shown of itself: what it may cost, and whether it counts in a mesh.
    package func setStanding(_ standing: PeerStanding, of peer: PeerID) {
        run { $0.feed(.peerStanding(peer, standing)) }
    }

    /// Connected peers that are subscribed to `topic`.
    package func subscribers(of topic: Topic) -> EventLoopFuture<[PeerID]> {
        ask { $0.router.subscribers(of: topic) }
    }

    /// The peers in the mesh of `topic`.
    package func mesh(of topic: Topic) -> EventLoopFuture<[PeerID]> {
        ask { $0.router.mesh(of: topic) }
    }

    /// What has been done so far.
    package func counters() -> EventLoopFuture<Counters> {
        ask { $0.router.counters }
    }

    /// Runs `action` on the loop, at once when that is the caller's own.
    private func ask<Answer: Sendable>(
        _ action: @escaping @Sendable (GossipSubDriver) throws -> Answer
    ) -> EventLoopFuture<Answer> {
        if eventLoop.inEventLoop {
            return eventLoop.makeCompletedFuture { try action(driver.value) }
        }
        return eventLoop.submit { try action(self.driver.value) }
    }

    private func run(_ action: @escaping @Sendable (GossipSubDriver) -> Void) {
        if eventLoop.inEventLoop {
            action(driver.value)
        } else {
            eventLoop.execute { action(self.driver.value) }
        }
    }
}

/// Why something cannot be published.
package enum GossipSubError: Error, Hashable, CustomStringConvertible {
    /// The message would not fit into a frame of the network's `max_message_size`.
    case messageTooLarge(bytes: Int, maximum: Int)
    /// The topic's name is longer than 256 bytes.
    case topicTooLong

    package var description: String {
        switch self {
        case .messageTooLarge(let bytes, let maximum):
            "a message of \(bytes) bytes is above the network's max_message_size of \(maximum); publish less at once"
        case .topicTooLong: "the topic's name is longer than \(Topic.maximumLength) bytes"
        }
    }
}
