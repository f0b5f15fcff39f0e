package import GossipSub
package import Ledger
internal import LibP2P
package import Logging
package import NIOCore
package import Timing

/// The network's pubsub room: joins the topics of the present period and its neighbours, seals what is
/// published, opens what arrives, and follows the rotation (contract/wire.md I.10, J.2 to J.5).
/// Belongs to the event loop of the gossip service.
package final class Room {
    /// How often the wall clock is looked at although no rotation is due: it may be set.
    private static let clockCheck = Duration.seconds(5)

    private let gossip: GossipSubService
    private let eventLoop: any EventLoop
    private let schedule: RoomSchedule
    private let codec: RoomCodec
    private let time: any TimeSource
    private let logger: Logger
    private var windows: RoomWindows?
    private var timer: Scheduled<Void>?
    private var isRunning = false

    /// What happened so far, for `status`.
    struct Counters: Hashable, Sendable {
        var published = 0
        var opened = 0
        var unopened = 0
        var rotations = 0
    }
    private(set) var counters = Counters()

    package init(
        gossip: GossipSubService, token: NetworkToken, eventLoop: any EventLoop, time: any TimeSource,
        logger: Logger
    ) {
        self.gossip = gossip
        self.eventLoop = eventLoop
        self.time = time
        self.logger = logger
        schedule = RoomSchedule(token)
        codec = RoomCodec(limit: token.maximumMessageSize)
    }

    /// The topic of the present period.
    var topic: Topic? { windows.map { Topic($0.current.topic) } }

    package func start() {
        isRunning = true
        follow()
    }

    func stop() {
        isRunning = false
        timer?.cancel()
    }

    /// Seals `block` and publishes it in the present topic.
    package func publish(_ block: Block) {
        guard isRunning, let window = windows?.current else { return }
        do {
            let nonce = Crypto.randomBytes(Sealing.nonceLength)
            let data = try codec.encode(block, key: window.sealKey, nonce: nonce)
            counters.published += 1
            gossip.publish(data, to: Topic(window.topic)).whenFailure { [logger] error in
                logger.warning("cannot publish in the room", metadata: ["reason": "\(error)"])
            }
        } catch {
            logger.warning("cannot seal a block for the room", metadata: ["reason": "\(error)"])
        }
    }

    /// The block in a message of the room, or nil when it does not open.
    package func open(_ data: [UInt8], topic: Topic) -> Block? {
        guard let windows else { return nil }
        do {
            let block = try codec.decode(data, keys: windows.keys(forTopic: topic.name))
            counters.opened += 1
            return block
        } catch {
            counters.unopened += 1
            logger.debug("a message of the room does not open", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    /// Compares the clock with the period that was joined, and joins another when it is past.
    private func follow() {
        guard isRunning else { return }
        let now = time.wallClock()
        do {
            let present = try schedule.windows(at: now)
            if present != windows { move(to: present) }
        } catch {
            logger.error("cannot derive the room's topic", metadata: ["reason": "\(error)"])
        }
        guard let next = schedule.nextRotation(after: now) else { return }
        let delay = min(max(next - now, .milliseconds(1)), Self.clockCheck)
        let room = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(in: .nanoseconds(delay.wholeNanoseconds)) { room.value.follow() }
    }

    private func move(to present: RoomWindows) {
        let left = Set((windows?.all ?? []).map(\.topic)).subtracting(present.all.map(\.topic))
        let isRotation = windows != nil
        windows = present
        for window in present.all { gossip.subscribe(to: Topic(window.topic), validates: true) }
        for topic in left { gossip.unsubscribe(from: Topic(topic)) }
        guard isRotation else { return }
        counters.rotations += 1
        // Stock nodes build a new router at every rotation and no longer hear our old streams.
        gossip.reopenStreams()
        logger.debug("the room moved to another topic")
    }
}
