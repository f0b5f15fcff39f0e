internal import DequeModule
internal import LibP2P
internal import Logging
internal import Multiformats
internal import NIOCore
internal import Timing

/// Carries the overlay over a host. Belongs to the host's event loop.
final class OverlayDriver {
    /// Who waits for a connection to one peer; more are turned away.
    private static let maximumWaiting = 64
    /// How long a connection that was asked for may take until it is admitted.
    private static let requestTimeout = TimeAmount.seconds(10)

    private let host: any Host
    private let time: any TimeSource
    private var presenceChanged: (Set<PeerID>) -> Void = { _ in }
    private var core: Overlay
    private var streams: FrameStreams?
    private var waiting: [PeerID: [EventLoopPromise<Void>]] = [:]
    private var timer: Scheduled<Void>?
    private var timerDeadline = Instant.distantFuture
    private var wakeUp = WakeUp("Overlay")
    private var inbox: Deque<Overlay.Input> = []
    private var isBusy = false
    private var isRunning = false
    /// Whether something else than the overlay uses the connection to a peer.
    var isUsed: @Sendable (PeerID) -> Bool = { _ in false }

    init(host: any Host, core: Overlay, time: any TimeSource) {
        self.host = host
        self.core = core
        self.time = time
    }

    /// The peers that are here, connected or reached through others.
    var present: Set<PeerID> { core.present }

    var counters: Overlay.Counters { core.counters }

    func start(
        pool: OutboundPool,
        standing: @escaping (PeerID) -> Admission.Standing?,
        presenceChanged: @escaping (Set<PeerID>) -> Void
    ) {
        isRunning = true
        self.presenceChanged = presenceChanged
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        let streams = FrameStreams(
            host: host, protocolID: FrameStreams.links, maximumLength: OverlayFrame.maximumLength, pool: pool,
            standing: standing, received: { driver.value.feed(.frame($0, $1)) })
        self.streams = streams
        streams.start()
        host.setConnector { driver.value.connect(to: $0) }
        feed(.tick)
    }

    func stop() {
        isRunning = false
        timer?.cancel()
        streams?.stop()
        for promises in waiting.values { for promise in promises { promise.fail(SwarmError.shutDown) } }
        waiting = [:]
    }

    // MARK: what comes in

    func observe(_ event: SwarmEvent) {
        switch event {
        case .listening(let addresses):
            let outside = addresses.filter { $0.reach != .loopback }
            feed(.listening(outside.isEmpty ? addresses : outside))
        case .dialFailed(let peer, let reason):
            feed(.dialFailed(peer))
            finish(peer, .failure(SwarmError.refused(reason)))
        case .peerConnected, .connectionAdded, .connectionRemoved, .peerIdentified, .peerDisconnected,
            .roundTrip:
            break
        }
    }

    /// What admission found; nil when the peer left.
    func changed(_ peer: PeerID, _ standing: Admission.Standing?) {
        switch standing {
        case .admitted:
            feed(.linkUp(peer))
            streams?.admitted(peer)
            finish(peer, .success(()))
        case nil, .refused:
            streams?.forget(peer)
            feed(.linkDown(peer))
        case .stock: feed(.stock(peer))
        case .unknown, .proving, .visitor: break
        }
    }

    func feed(_ input: Overlay.Input) {
        guard isRunning else { return }
        inbox.append(input)
        guard !isBusy else { return }
        isBusy = true
        while let next = inbox.popFirst() {
            for effect in core.receive(next, at: time.now()) { perform(effect) }
        }
        isBusy = false
        schedule()
    }

    private func perform(_ effect: Overlay.Effect) {
        switch effect {
        case .keep(let keep, let peer, let addresses):
            host.setKeepConnected(keep, for: peer, addresses: addresses, as: core.dialClass(of: peer))
        case .dial(let peer, let addresses):
            host.dial(peer, addresses: addresses, as: core.dialClass(of: peer)).whenFailure { _ in
                // The swarm tells its observers, this driver among them.
            }
        case .send(let peer, let frame): streams?.send(frame, to: peer)
        case .closeUnlessUsed(let peer):
            if !isUsed(peer) { host.disconnect(peer, reason: .shutdown) }
        case .disconnect(let peer): host.disconnect(peer, reason: .shutdown)
        case .present(let peers): presenceChanged(peers)
        }
    }

    private func schedule() {
        let deadline = core.nextDeadline
        guard isRunning, deadline != timerDeadline || timer == nil,
            let plan = wakeUp.next(deadline, at: time.now())
        else { return }
        if let warning = plan.warning { Logger(label: "overlay").warning("\(warning)") }
        timer?.cancel()
        timerDeadline = deadline
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        timer = host.eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) {
            driver.value.timer = nil
            driver.value.wakeUp.fired()
            driver.value.feed(.tick)
        }
    }

    // MARK: connections on demand

    /// Completes when the peer is connected and admitted; nil when nobody knows where it is.
    func connect(to peer: PeerID) -> EventLoopFuture<Void>? {
        guard isRunning, !core.addresses(of: peer).isEmpty else { return nil }
        guard !core.linked.contains(peer) else { return host.eventLoop.makeSucceededVoidFuture() }
        let isFirst = waiting[peer] == nil
        guard waiting[peer, default: []].count < Self.maximumWaiting else { return nil }
        let promise = host.eventLoop.makePromise(of: Void.self)
        waiting[peer, default: []].append(promise)
        if isFirst {
            let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
            let timeout = host.eventLoop.scheduleTask(in: Self.requestTimeout) {
                driver.value.finish(peer, .failure(SwarmError.timedOut("a connection on demand")))
            }
            promise.futureResult.whenComplete { _ in timeout.cancel() }
        }
        feed(.request(peer))
        return promise.futureResult
    }

    private func finish(_ peer: PeerID, _ result: Result<Void, any Error>) {
        for promise in waiting.removeValue(forKey: peer) ?? [] { promise.completeWith(result) }
    }
}
