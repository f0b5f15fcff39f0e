internal import DequeModule
internal import LibP2P
internal import Logging
internal import NIOCore
internal import Timing

/// Carries frames between the router and the streams of the host, and opens and closes those as the
/// keeper says. Belongs to the host's event loop.
final class GossipSubDriver {
    /// An inbound stream beyond so many of one peer makes us close its oldest.
    private static let maximumInboundStreams = 4

    private struct Outbound {
        /// Tells this stream from earlier ones to the same peer.
        let number: UInt64
        /// Nil while it is being opened.
        var channel: (any Channel)?
    }

    private let host: any Host
    private let parameters: Parameters
    private let time: any TimeSource
    private let logger: Logger
    private let onMessage: @Sendable (DeliveredMessage) -> Router.Verdict
    private(set) var router: Router
    private var keeper: StreamKeeper
    private var author: MessageAuthor
    private var directPeers: Set<PeerID> = []
    private var connected: [PeerID: ConnectionDirection] = [:]
    private var outbound: [PeerID: Outbound] = [:]
    /// The peers' streams to us, newest last; only that one is listened to.
    private var inbound: [PeerID: [any Channel]] = [:]
    private var streamNumber: UInt64 = 0
    private var timer: Scheduled<Void>?
    private var wakeUp = WakeUp("GossipSub router")
    private var isRunning = false
    /// Effects not yet carried out: carrying one out may feed the router again.
    private var effects: Deque<Router.Effect> = []
    private var isPerforming = false

    init(
        host: any Host, identity: Identity, parameters: Parameters, generator: SeededGenerator,
        time: any TimeSource, logger: Logger,
        onMessage: @escaping @Sendable (DeliveredMessage) -> Router.Verdict
    ) {
        var generator = generator
        self.host = host
        self.parameters = parameters
        self.time = time
        self.logger = logger
        self.onMessage = onMessage
        keeper = StreamKeeper(generator: SeededGenerator(seed: generator.next()))
        router = Router(
            localPeer: host.localPeer, parameters: parameters,
            generator: SeededGenerator(seed: generator.next()),
            at: time.now())
        author = MessageAuthor(identity: identity)
    }

    func start() {
        guard !isRunning else { return }
        isRunning = true
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        let maximum = parameters.maximumMessageSize
        host.setHandler(for: GossipSubService.protocolID) { stream in
            GossipSubDriver.accept(stream, maximumLength: maximum, driver: driver)
        }
        host.addObserver { event in driver.value.observe(event) }
    }

    func stop() {
        guard isRunning else { return }
        isRunning = false
        timer?.cancel()
        host.removeHandler(for: GossipSubService.protocolID)
        for stream in outbound.values { stream.channel?.close(promise: nil) }
        for channel in inbound.values.joined() { channel.close(promise: nil) }
        outbound = [:]
        inbound = [:]
    }

    func publish(_ data: [UInt8], to topic: Topic) throws(GossipSubError) {
        guard topic.name.utf8.count <= Topic.maximumLength else { throw .topicTooLong }
        let message = author.message(topic: topic, data: data, at: time.wallClock())
        guard message.encoded.count <= router.largestMessage else {
            throw .messageTooLarge(bytes: message.encoded.count, maximum: router.largestMessage)
        }
        feed(.publish(message))
    }

    func rotate() {
        feed(keeper: .rotated)
    }

    func setDirectPeers(_ peers: Set<PeerID>) {
        directPeers = peers
        for (peer, direction) in connected {
            feed(.peerConnected(peer, direction, isDirect: peers.contains(peer)))
        }
    }

    // MARK: The state machines

    func feed(_ input: Router.Input) {
        effects += router.receive(input, at: time.now())
        perform()
        schedule()
    }

    private func feed(keeper input: StreamKeeper.Input) {
        guard isRunning else { return }
        for effect in keeper.receive(input, at: time.now()) {
            switch effect {
            case .open(let peer): open(peer)
            case .close(let peer): close(peer)
            }
        }
        schedule()
    }

    private func perform() {
        guard !isPerforming else { return }
        isPerforming = true
        defer { isPerforming = false }
        while let effect = effects.popFirst() {
            switch effect {
            case .send(let rpc, let peer): send(rpc, to: peer)
            case .deliver(let message, let id, let relay): deliver(message, id, relay: relay)
            case .resetStream(let peer, let offence):
                logger.debug(
                    "a gossip stream is reset", metadata: ["peer": "\(peer)", "reason": "\(offence)"])
                let code: StreamReset =
                    switch offence {
                    case .undecodable: .protocolViolation
                    case .tooManyFrames: .rateLimited
                    }
                reset(inbound[peer]?.last, code)
            }
        }
    }

    private func reset(_ channel: (any Channel)?, _ code: StreamReset) {
        channel?.triggerUserOutboundEvent(code, promise: nil)
        // A channel that is not a muxer's knows no resets.
        channel?.close(promise: nil)
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        let deadline = [router.nextDeadline, keeper.nextDeadline].compactMap { $0 }.min()
        guard isRunning, let plan = wakeUp.next(deadline, at: time.now()) else { return }
        if let warning = plan.warning { logger.warning("\(warning)") }
        let delay = max(plan.delay.wholeNanoseconds, 1_000_000)
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        timer = host.eventLoop.scheduleTask(in: .nanoseconds(delay)) {
            driver.value.feed(keeper: .tick)
            driver.value.wakeUp.fired()
            driver.value.feed(.tick)
        }
    }

    private func deliver(_ message: GossipMessage, _ id: MessageID, relay: PeerID) {
        guard let topic = message.topic, let author = message.author else { return }
        let verdict = onMessage(
            DeliveredMessage(topic: topic, author: author, relay: relay, data: message.data))
        effects += router.receive(.verdict(verdict, id), at: time.now())
    }

    // MARK: Peers

    private func observe(_ event: SwarmEvent) {
        guard isRunning else { return }
        switch event {
        case .peerConnected(let peer, let connection):
            connected[peer] = connection.direction
            feed(.peerConnected(peer, connection.direction, isDirect: directPeers.contains(peer)))
            feed(keeper: .peerConnected(peer))
        case .peerIdentified(let peer, let information):
            let speaks = information.protocols.contains(GossipSubService.protocolID)
            feed(keeper: .peerIdentified(peer, speaks: speaks, keepsRouter: information.isKairosNode))
            feed(.peerAsks(peer, information.isKairosNode))
        case .peerDisconnected(let peer):
            connected[peer] = nil
            forget(peer)
        case .listening, .connectionAdded, .connectionRemoved, .roundTrip, .dialFailed: break
        }
    }

    private func forget(_ peer: PeerID) {
        close(peer)
        for channel in inbound.removeValue(forKey: peer) ?? [] { channel.close(promise: nil) }
        feed(keeper: .peerDisconnected(peer))
        feed(.peerDisconnected(peer))
    }

    // MARK: Our streams

    private func open(_ peer: PeerID) {
        streamNumber += 1
        let number = streamNumber
        outbound[peer] = Outbound(number: number, channel: nil)
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        host.openStream(to: peer, protocols: [GossipSubService.protocolID]) { stream in
            stream.channel.eventLoop.makeCompletedFuture {
                let handler = OutboundGossipHandler(eventLoop: driver.eventLoop) {
                    driver.value.outboundEnded(peer, number)
                }
                try stream.channel.pipeline.syncOperations.addHandler(handler)
            }
        }
        .hop(to: host.eventLoop)
        .whenComplete { result in driver.value.opened(peer, number, result) }
    }

    private func opened(_ peer: PeerID, _ number: UInt64, _ result: Result<any Channel, any Error>) {
        guard isRunning, outbound[peer]?.number == number else {
            if case .success(let channel) = result { channel.close(promise: nil) }
            return
        }
        switch result {
        case .success(let channel):
            outbound[peer]?.channel = channel
            feed(keeper: .opened(peer))
            feed(.streamOpened(peer))
        case .failure(let error):
            logger.debug(
                "a gossip stream could not be opened", metadata: ["peer": "\(peer)", "reason": "\(error)"])
            outbound[peer] = nil
            feed(keeper: .openFailed(peer))
        }
    }

    private func close(_ peer: PeerID) {
        guard let stream = outbound.removeValue(forKey: peer) else { return }
        stream.channel?.close(promise: nil)
        feed(.streamClosed(peer))
    }

    private func outboundEnded(_ peer: PeerID, _ number: UInt64) {
        guard let stream = outbound[peer], stream.number == number, stream.channel != nil else { return }
        close(peer)
        feed(keeper: .ended(peer))
    }

    private func send(_ rpc: RPC, to peer: PeerID) {
        guard let stream = outbound[peer], let channel = stream.channel else { return }
        let body = rpc.encoded
        guard body.count <= parameters.maximumMessageSize else {
            feed(.sent(peer))
            return
        }
        var buffer = channel.allocator.buffer(capacity: body.count + 5)
        GossipFrames.write(body, to: &buffer)
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        channel.writeAndFlush(buffer).hop(to: host.eventLoop).whenComplete { result in
            driver.value.sent(to: peer, stream.number, result)
        }
    }

    private func sent(to peer: PeerID, _ number: UInt64, _ result: Result<Void, any Error>) {
        guard outbound[peer]?.number == number else { return }
        switch result {
        case .success: feed(.sent(peer))
        case .failure: outboundEnded(peer, number)
        }
    }

    // MARK: The peers' streams

    /// Sets up a stream that a peer opened. Runs on the stream's loop.
    private static func accept(
        _ stream: NegotiatedStream, maximumLength: Int, driver: NIOLoopBound<GossipSubDriver>
    ) -> EventLoopFuture<Void> {
        let peer = stream.peer
        let channel = stream.channel
        return channel.eventLoop.makeCompletedFuture {
            let handler = InboundGossipHandler(
                eventLoop: driver.eventLoop, memory: stream.memory, maximumLength: maximumLength,
                onFrame: { frame in driver.value.received(frame, from: peer, on: channel) },
                onEnd: { driver.value.inboundEnded(peer, channel) })
            try channel.pipeline.syncOperations.addHandler(handler)
            if driver.eventLoop.inEventLoop {
                driver.value.inboundOpened(peer, channel)
            } else {
                driver.eventLoop.execute { driver.value.inboundOpened(peer, channel) }
            }
        }
    }

    private func inboundOpened(_ peer: PeerID, _ channel: any Channel) {
        guard isRunning else {
            channel.close(promise: nil)
            return
        }
        if connected[peer] == nil {
            feed(.peerConnected(peer, .inbound, isDirect: directPeers.contains(peer)))
        }
        let replaces = !(inbound[peer] ?? []).isEmpty
        inbound[peer, default: []].append(channel)
        if replaces { feed(.peerRestarted(peer)) }
        if let streams = inbound[peer], streams.count > Self.maximumInboundStreams {
            reset(streams.first, .resourceLimit)
        }
        feed(keeper: .peerConnected(peer))
        feed(keeper: .inboundOpened(peer))
    }

    private func received(_ frame: [UInt8], from peer: PeerID, on channel: any Channel) {
        guard isRunning, inbound[peer]?.last === channel else { return }
        feed(.frame(frame, from: peer))
    }

    private func inboundEnded(_ peer: PeerID, _ channel: any Channel) {
        guard let index = inbound[peer]?.firstIndex(where: { $0 === channel }) else { return }
        let wasNewest = inbound[peer].map { index == $0.count - 1 } ?? false
        inbound[peer]?.remove(at: index)
        guard wasNewest else { return }
        inbound[peer] = nil
        if connected[peer] == nil {
            forget(peer)
        } else {
            feed(.peerRestarted(peer))
            feed(keeper: .inboundEnded(peer))
        }
    }
}
