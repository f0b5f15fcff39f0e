internal import DequeModule
internal import GossipSub
internal import Ledger
internal import LibP2P
internal import Logging
internal import Multiformats
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix
internal import Timing

/// Joins the cores of the mesh with the host, the gossip service, the disk and the clocks. Belongs to
/// the host's event loop and decides nothing.
final class MeshDriver {
    /// How often the room's stock nodes are counted while any stock node is connected.
    private static let countInterval = TimeAmount.seconds(2)

    private let host: any Host
    private let time: any TimeSource
    private let logger: Logger
    private let snapshots: SnapshotStore<SystemFiles>?
    private let disk: NIOThreadPool
    private let setAside: SetAsideSnapshot?
    /// The admitted peers, for readers on other threads.
    private let admitted: NIOLockedValueBox<Set<PeerID>>
    private var replication: Replication
    private var membership = Membership()
    private var admission: AdmissionDriver?
    private var streams: FrameStreams?
    private let overlay: OverlayDriver
    /// What observers were last told of who is here.
    private var toldMembers: (Set<PeerID>, Bool) = ([], false)
    private var gossip: GossipSubService?
    private var room: Room?
    private var observers: [@Sendable (MeshEvent) -> Void] = []
    private var snapshotError: SnapshotError?
    private var stockPeers = 0
    private var timer: Scheduled<Void>?
    private var wakeUp = WakeUp("Replication")
    private var counter: RepeatedTask?
    private var isRunning = false
    /// Who waits for how many changes to be on disk.
    private var onSaved: [(changes: UInt64, promise: EventLoopPromise<Void>)] = []
    /// Effects not carried out yet: carrying one out may feed the core again.
    private var effects: Deque<Replication.Effect> = []
    private var isPerforming = false

    init(
        host: any Host, configuration: MeshConfiguration, loaded: LoadedSnapshot?, disk: NIOThreadPool,
        admitted: NIOLockedValueBox<Set<PeerID>>, time: any TimeSource, logger: Logger
    ) {
        self.host = host
        self.admitted = admitted
        self.time = time
        self.logger = logger
        self.disk = disk
        setAside = loaded?.setAside
        snapshots = configuration.snapshotStore
        replication = Replication(
            identity: configuration.identity, stored: loaded?.block, configuration: configuration.replication,
            generator: SeededGenerator(seed: configuration.seed), at: time.now())
        let milliseconds = UInt64(clamping: time.wallClock().nanoseconds / 1_000_000)
        overlay = OverlayDriver(
            host: host,
            core: Overlay(
                identity: configuration.identity, scope: configuration.token.tag, version: milliseconds,
                configuration: configuration.overlay,
                generator: SeededGenerator(seed: configuration.seed &+ 2), at: time.now()),
            time: time)
    }

    func start(_ configuration: MeshConfiguration) {
        isRunning = true
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        let admission = AdmissionDriver(host: host, token: configuration.token, time: time) {
            peer, standing in
            driver.value.changed(peer, standing)
        }
        let pool = OutboundPool(capacity: FrameStreams.maximumQueued)
        let streams = FrameStreams(
            host: host, protocolID: FrameStreams.ledger, maximumLength: LedgerFrame.maximumLength,
            pool: pool,
            standing: { admission.standing(of: $0) },
            received: { driver.value.feed(.frame($0, $1)) })
        var parameters = configuration.gossip
        parameters.maximumMessageSize = configuration.token.maximumMessageSize
        parameters.newcomers = .unproven
        let gossip = GossipSubService(
            host: host, identity: configuration.identity, parameters: parameters,
            generator: SeededGenerator(seed: configuration.seed &+ 1), time: time, logger: logger
        ) { message in driver.value.message(message) }
        let room = Room(
            gossip: gossip, token: configuration.token, eventLoop: host.eventLoop, time: time, logger: logger)
        (self.admission, self.streams, self.gossip, self.room) = (admission, streams, gossip, room)
        admission.start()
        streams.start()
        gossip.start()
        room.start()
        overlay.start(pool: pool, standing: { admission.standing(of: $0) }) { _ in driver.value.tellMembers()
        }
        host.addObserver { event in driver.value.observe(event) }
        feed(.tick)
    }

    // MARK: what comes in

    private func observe(_ event: SwarmEvent) {
        guard isRunning else { return }
        report(membership.receive(.swarm(event), at: time.now()))
        overlay.observe(event)
        admission?.observe(event)
    }

    private func changed(_ peer: PeerID, _ standing: Admission.Standing?) {
        let events = membership.receive(.standing(peer, standing), at: time.now())
        if let standing {
            host.setStanding(standing.peerStanding, of: peer)
            gossip?.setStanding(standing.peerStanding, of: peer)
        }
        // One that may be a stock node is served like one, and no event tells of it.
        if standing == .visitor || standing == nil { watchStockPeers() }
        if standing == .admitted {
            _ = admitted.withLockedValue { $0.insert(peer) }
            logger.info("a member joined", metadata: ["peer": "\(peer)"])
            overlay.changed(peer, standing)
            streams?.admitted(peer)
            feed(.peerAdmitted(peer))
        } else {
            overlay.changed(peer, standing)
            if standing == .refused {
                logger.warning("a peer does not hold the network token", metadata: ["peer": "\(peer)"])
            }
            if standing == nil || standing == .refused {
                _ = admitted.withLockedValue { $0.remove(peer) }
                streams?.forget(peer)
                feed(.peerLeft(peer))
            }
        }
        report(events)
    }

    private func message(_ message: DeliveredMessage) -> Router.Verdict {
        guard isRunning, message.author != host.localPeer,
            replication.allowsRoomMessage(from: message.author, bytes: message.data.count, at: time.now())
        else { return .ignore }
        guard let block = room?.open(Array(message.data), topic: message.topic) else { return .ignore }
        _ = membership.receive(.heard(message.author), at: time.now())
        if message.relay == message.author, admission?.standing(of: message.author) == .visitor,
            block.isWritten(by: message.author)
        {
            admission?.wroteInRoom(message.author)
        }
        feed(.roomBlock(block, author: message.author))
        return .accept
    }

    /// Counts again and again while a stock node is connected: it may come to the room later, and leave it.
    private func watchStockPeers() {
        guard !membership.listeners.isEmpty else {
            counter?.cancel()
            counter = nil
            return setStockPeers(0)
        }
        guard isRunning, counter == nil else { return }
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        counter = host.eventLoop.scheduleRepeatedTask(
            initialDelay: Self.countInterval, delay: Self.countInterval
        ) { _ in driver.value.countStockPeers() }
    }

    private func countStockPeers() {
        guard isRunning, let gossip, let topic = room?.topic else { return }
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        gossip.subscribers(of: topic).whenSuccess { peers in
            let listeners = Set(driver.value.membership.listeners)
            driver.value.setStockPeers(peers.filter { listeners.contains($0) }.count)
        }
    }

    private func setStockPeers(_ count: Int) {
        guard count != stockPeers else { return }
        let changed = (count > 0) != (stockPeers > 0)
        stockPeers = count
        feed(.stockPeers(count))
        if changed { tell(.stockPeers(count > 0)) }
    }

    // MARK: the replication core

    func feed(_ input: Replication.Input) {
        guard isRunning else { return }
        effects.append(contentsOf: replication.receive(input, at: time.moment()))
        guard !isPerforming else { return }
        isPerforming = true
        while let effect = effects.popFirst() { perform(effect) }
        isPerforming = false
        schedule()
    }

    private func perform(_ effect: Replication.Effect) {
        switch effect {
        case .publish(let block): room?.publish(block)
        case .send(let peer, let frame): streams?.send(frame, to: peer)
        case .changed(let changes): tell(.ledgerChanged(changes))
        case .persist(let block): persist(block)
        case .refused(let write, let error):
            logger.warning("a ledger write was refused", metadata: ["reason": "\(error)"])
            tell(.writeRefused(write, error))
        case .rejected(let id, let entry, let reason): tell(.rejected(id, entry, reason))
        case .caughtUp: tellMembers()
        }
    }

    private func persist(_ block: Block) {
        guard let snapshots else { return saved(nil) }
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        disk.runIfActive(eventLoop: host.eventLoop) {
            var store = snapshots
            try store.save(block)
        }.whenComplete { result in
            switch result {
            case .success: driver.value.saved(nil)
            case .failure(let error):
                let reason = SnapshotError.failed(step: "write", path: snapshots.path, code: 0)
                driver.value.saved(error as? SnapshotError ?? reason)
            }
        }
    }

    private func saved(_ error: SnapshotError?) {
        if let error, error != snapshotError {
            logger.error("the ledger cannot be stored", metadata: ["reason": "\(error)"])
            tell(.snapshotFailed(error))
        }
        snapshotError = error
        feed(.persisted(succeeded: error == nil))
        // Whoever waits for the disk is told of a failure too: waiting on would not help.
        let waiting = onSaved
        onSaved = []
        for (changes, promise) in waiting {
            if let error {
                promise.fail(error)
            } else if changes <= replication.savedChangeCount {
                promise.succeed(())
            } else {
                onSaved.append((changes, promise))
            }
        }
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        guard isRunning, let plan = wakeUp.next(replication.nextDeadline, at: time.now()) else { return }
        if let warning = plan.warning { logger.warning("\(warning)") }
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        timer = host.eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) {
            driver.value.wakeUp.fired()
            driver.value.feed(.tick)
        }
    }

    // MARK: what callers ask

    func discovered(_ peer: PeerID, _ addresses: [Multiaddr], isProven: Bool) {
        overlay.feed(.discovered(peer, addresses, isProven: isProven))
    }

    func setPinned(_ isPinned: Bool, _ peer: PeerID, _ addresses: [Multiaddr], _ reason: Overlay.PinReason) {
        overlay.feed(.pin(isPinned, peer, addresses, reason))
    }

    func setUse(_ isUsed: @escaping @Sendable (PeerID) -> Bool) {
        overlay.isUsed = isUsed
    }

    func requestConnection(to peer: PeerID) -> EventLoopFuture<Void> {
        overlay.connect(to: peer) ?? host.eventLoop.makeFailedFuture(SwarmError.noDialableAddress)
    }

    func write(_ writes: [Replication.Write], durable: Bool) throws(LedgerError) {
        // The core reports refusals as effects; the caller wants them as an error.
        var refusal: LedgerError?
        let made = replication.receive(.write(writes, durable: durable), at: time.moment())
        for case .refused(_, let error) in made where refusal == nil { refusal = error }
        effects.append(contentsOf: made)
        feed(.tick)
        if let refusal { throw refusal }
    }

    /// Completes when everything that changed so far is on disk.
    func flush() -> EventLoopFuture<Void> {
        let promise = host.eventLoop.makePromise(of: Void.self)
        guard replication.hasUnsavedChanges, isRunning else {
            promise.succeed(())
            return promise.futureResult
        }
        onSaved.append((replication.changeCount, promise))
        feed(.flush)
        return promise.futureResult
    }

    func observe(_ observer: @escaping @Sendable (MeshEvent) -> Void) {
        let held = Block(storage: replication.ledger.storage).entries
        observer(.ledgerChanged(held.map { EntryChange(id: $0.id, old: nil, new: $0.entry) }))
        observer(.members(present: present, roomAnswered: replication.hasCaughtUp))
        observer(.stockPeers(stockPeers > 0))
        for peer in membership.admitted { observer(.membership(.joined(peer))) }
        for peer in membership.stock { observer(.membership(.stockJoined(peer))) }
        observers.append(observer)
    }

    var ledger: Ledger { replication.ledger }

    var members: [Member] { membership.connected }

    var status: MeshStatus {
        let room = room?.counters ?? Room.Counters()
        return MeshStatus(
            localPeer: host.localPeer, members: membership.connected, present: present,
            departed: membership.departed.filter { !overlay.present.contains($0.peer) },
            dialFailures: membership.dialFailures, admission: admission?.counters ?? Admission.Counters(),
            replication: replication.counters, overlay: overlay.counters,
            room: MeshStatus.RoomStatus(
                published: room.published, opened: room.opened, unopened: room.unopened,
                rotations: room.rotations, stockPeers: stockPeers),
            ledger: MeshStatus.LedgerStatus(
                usage: replication.ledger.usage, limits: replication.ledger.configuration.limits,
                hasUnsavedChanges: replication.hasUnsavedChanges, snapshotError: snapshotError,
                setAside: setAside),
            readAt: time.now())
    }

    /// Stores what is unsaved, and then leaves the room and closes every stream.
    func shutDown() -> EventLoopFuture<Void> {
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        return flush().always { _ in driver.value.stop() }
    }

    private func stop() {
        guard isRunning else { return }
        isRunning = false
        timer?.cancel()
        counter?.cancel()
        overlay.stop()
        room?.stop()
        gossip?.stop()
        streams?.stop()
        admission?.stop()
        observers = []
    }

    private func report(_ events: [Membership.Event]) {
        for event in events {
            tell(.membership(event))
            switch event {
            case .joined, .left: tellMembers()
            case .stockJoined, .stockLeft: break
            }
        }
        if !events.isEmpty { watchStockPeers() }
    }

    private func tellMembers() {
        let news = (present, replication.hasCaughtUp)
        guard news != toldMembers else { return }
        let isOfPeers = news.0 != toldMembers.0
        toldMembers = news
        if isOfPeers { feed(.present(news.0)) }
        tell(.members(present: news.0, roomAnswered: news.1))
    }

    /// The admitted peers that are connected or reached through others.
    private var present: Set<PeerID> { overlay.present.union(membership.admitted) }

    private func tell(_ event: MeshEvent) {
        for observer in observers { observer(event) }
    }
}
