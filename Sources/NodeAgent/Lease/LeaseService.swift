package import Coordination
internal import Ledger
internal import LibP2P
internal import Logging
internal import MeshNetwork
internal import NIOCore
internal import NIOPosix
internal import Synchronization
internal import Timing
internal import VPN

/// Drives a `LeaseCore`: its messages over the mesh, the health of this node's K3s, the API address on
/// the device and in the routes, and what the ledger says of it. Decides nothing.
package final class LeaseService: Sendable {
    struct Parts: Sendable {
        let host: any Host
        let mesh: MeshService
        let vpn: VPNService
        /// nil where the servers have no address to lease, only turns to restart.
        let apiAddress: VirtualAddress?
        let networkID: String
        /// Asks this node's K3s whether it is ready; nil when it is, else what is wrong. May block.
        let probe: @Sendable () -> String?
        let time: any TimeSource
        let logger: Logger
    }

    /// What is known of the API address, for `status`.
    struct View: Sendable {
        var holder: PeerID?
        var since: Instant?
        /// On a server: what keeps it from holding the address, if anything does.
        var obstacle: String?
        /// Whose turn it is to restart its K3s: this node's, or that of whom it has granted it.
        var restarting: PeerID?
        var moves: UInt64
        var counters: LeaseCore.Counters
    }

    private struct State {
        var core: LeaseCore
        var streams: LeaseStreams?
        var timer: Scheduled<Void>?
        var wakeUp = WakeUp("LeaseCore")
        var probing: Scheduled<Void>?
        var isProbing = false
        var health = K3sHealth()
        var said: [PeerID: APIHolding] = [:]
        var voice = HoldingVoice()
        var speaking: Scheduled<Void>?
        /// The other servers, while this node is one.
        var pinned: Set<PeerID> = []
        var holder: PeerID?
        var since: Instant?
        var moves: UInt64 = 0
        var isStopped = false
        var onPermit: (@Sendable (Bool) -> Void)?
    }

    private let parts: Parts
    private let state: NIOLoopBoundBox<State>
    private let prober = NIOThreadPool(numberOfThreads: 1)
    /// Until when this node holds the address, in nanoseconds, for the device's thread.
    private let heldUntil = Atomic<UInt64>(0)

    private init(parts: Parts) {
        self.parts = parts
        let core = LeaseCore(
            localPeer: parts.host.localPeer, incarnation: .random(in: 0 ... .max), at: parts.time.now())
        state = NIOLoopBoundBox(State(core: core), eventLoop: parts.host.eventLoop)
    }

    /// Makes the service and begins to listen to other servers.
    static func start(parts: Parts) -> EventLoopFuture<LeaseService> {
        parts.host.eventLoop.submit {
            let service = LeaseService(parts: parts)
            service.prober.start()
            let streams = LeaseStreams(
                host: parts.host, time: parts.time, isAdmitted: { parts.mesh.isAdmitted($0) },
                received: { service.feed(.message($0, $1)) })
            service.state.value.streams = streams
            streams.start()
            // A stale address of a former run is taken off with the first set-up of the device.
            if let address = parts.apiAddress { parts.vpn.setSharedAddress(address, .nowhere) }
            parts.mesh.observe { service.observe($0) }
            service.probeSoon(in: .zero)
            return service
        }
    }

    // MARK: what the node's decisions say

    /// The servers of the newest decree, once it says that the cluster runs. Any thread.
    package func setServers(_ servers: LeaseServers?) {
        onLoop { service in
            guard service.state.value.core.servers != servers else { return }
            let peers = Set(servers?.members ?? []).subtracting([service.parts.host.localPeer])
            // Leases need a connection of each server to each other.
            let pinned = servers?.members.contains(service.parts.host.localPeer) == true ? peers : []
            for peer in service.state.value.pinned.subtracting(pinned) {
                service.parts.mesh.setPinned(false, for: peer, reason: .lease)
            }
            for peer in pinned { service.parts.mesh.setPinned(true, for: peer, reason: .lease) }
            service.state.value.pinned = pinned
            service.state.value.streams?.retain(peers)
            service.feed(.servers(servers))
            service.route()
            service.probeSoon(in: .zero)
        }
    }

    /// Whether this node's healthy K3s must be restarted. `onPermit` hears, on the host's loop, when it
    /// may be and when it no longer may.
    package func setWantsRestart(_ wants: Bool, onPermit: (@Sendable (Bool) -> Void)? = nil) {
        onLoop { service in
            service.state.value.onPermit = onPermit
            service.feed(.wantsRestart(wants))
        }
    }

    /// Gives everything back and ends.
    func stop() -> EventLoopFuture<Void> {
        parts.host.eventLoop.submit { [self] in
            feed(.stop)
            state.value.isStopped = true
            state.value.timer?.cancel()
            state.value.probing?.cancel()
            state.value.speaking?.cancel()
            state.value.streams?.stop()
            prober.shutdownGracefully { _ in }
        }
    }

    func view() -> EventLoopFuture<View> {
        parts.host.eventLoop.submit { [self] in
            let state = state.value
            return View(
                holder: state.holder, since: state.since, obstacle: obstacle(state),
                restarting: state.core.holds(.restart, at: parts.time.now())
                    ? parts.host.localPeer : state.core.grantee(.restart, at: parts.time.now()),
                moves: state.moves,
                counters: state.core.counters)
        }
    }

    private func obstacle(_ state: State) -> String? {
        guard let servers = state.core.servers, servers.members.contains(parts.host.localPeer) else {
            return nil
        }
        if state.core.holds(.api, at: parts.time.now()) { return nil }
        if let illness = state.health.illness { return "this node's K3s is not ready: \(illness)" }
        let reach = state.core.reach
        guard !reach.hasMajority else { return nil }
        let missing = reach.missing.map(\.description).joined(separator: ", ")
        return "a majority of the \(servers.members.count) servers is needed; not reached: \(missing)"
    }

    private func onLoop(_ body: @escaping @Sendable (LeaseService) -> Void) {
        if parts.host.eventLoop.inEventLoop {
            body(self)
        } else {
            parts.host.eventLoop.execute { [self] in body(self) }
        }
    }

    // MARK: what the mesh says

    private func observe(_ event: MeshEvent) {
        switch event {
        case .members(let present, _): feed(.connected(present))
        case .ledgerChanged(let changes):
            var isNews = false
            for change in changes where change.id.bucket == .kairosNode {
                guard let entry = change.new,
                    let peer = LedgerKeys.owner(
                        ofKey: change.id.key.string, kind: "api", networkID: parts.networkID)
                else { continue }
                let said = entry.isDeleted ? nil : APIHolding(text: entry.value.string)
                if peer == parts.host.localPeer {
                    state.value.voice.hear(said)
                    speakAgain()
                }
                state.value.said[peer] = peer == parts.host.localPeer ? state.value.voice.own ?? said : said
                isNews = true
                if let said { feed(.published(peer, term: said.term)) }
            }
            if isNews { route() }
        default: break
        }
    }

    // MARK: feeding and performing

    private func feed(_ input: LeaseCore.Input) {
        guard !state.value.isStopped else { return }
        let effects = state.value.core.receive(input, at: parts.time.now())
        heldUntil.store(state.value.core.heldUntil(.api)?.nanoseconds ?? 0, ordering: .releasing)
        for effect in effects { perform(effect) }
        state.value.timer?.cancel()
        state.value.timer = nil
        let deadline = state.value.core.nextDeadline
        guard let plan = state.value.wakeUp.next(deadline, at: parts.time.now()) else { return }
        if let warning = plan.warning { parts.logger.warning("\(warning)") }
        state.value.timer = parts.host.eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) {
            [self] in
            state.value.wakeUp.fired()
            feed(.tick)
        }
    }

    private func perform(_ effect: LeaseCore.Effect) {
        switch effect {
        case .send(let peer, let message): state.value.streams?.send(message, to: peer)
        case .acquired(.api, let term):
            if parts.apiAddress != nil {
                parts.logger.notice("this node holds the API address", metadata: ["term": "\(term)"])
            }
            publish(term: term, held: true)
        case .lost(.api, let term, let loss):
            if parts.apiAddress != nil {
                parts.logger.notice(
                    "this node no longer holds the API address",
                    metadata: ["term": "\(term)", "reason": "\(loss)"])
            }
            publish(term: term, held: false)
        case .acquired(.restart, _): state.value.onPermit?(true)
        case .lost(.restart, _, _): state.value.onPermit?(false)
        }
    }

    private func publish(term: UInt64, held: Bool) {
        let servers = state.value.core.servers
        let holding = APIHolding(
            decree: servers?.number ?? 0, epoch: servers?.epoch ?? 0, term: term, held: held)
        state.value.said[parts.host.localPeer] = holding
        state.value.voice.say(holding)
        write(holding)
        route()
    }

    private func write(_ holding: APIHolding) {
        let key = LedgerKeys.apiAddress(of: parts.host.localPeer, networkID: parts.networkID)
        parts.mesh.put(EntryID(bucket: LedgerKeys.joinBucket, key: key), value: LedgerText(holding.text))
    }

    /// Repeats what this node says, when the ledger has another word of it.
    private func speakAgain() {
        guard !state.value.isStopped, let deadline = state.value.voice.nextDeadline else { return }
        let now = parts.time.now()
        if let holding = state.value.voice.due(at: now) { return write(holding) }
        state.value.speaking?.cancel()
        state.value.speaking = parts.host.eventLoop.scheduleTask(
            in: .nanoseconds((deadline - now).wholeNanoseconds)
        ) { [self] in speakAgain() }
    }

    /// Puts the address where it is: on this node only while this node believes to hold it.
    private func route() {
        var holder = state.value.core.servers.flatMap {
            APIHolding.holder(among: state.value.said, servers: $0)
        }
        let local = parts.host.localPeer
        if state.value.core.holds(.api, at: parts.time.now()) {
            holder = local
        } else if holder == local {
            // An entry of a former run.
            holder = nil
        }
        if holder != state.value.holder {
            state.value.holder = holder
            state.value.since = holder == nil ? nil : parts.time.now()
            if holder != nil { state.value.moves += 1 }
        }
        guard let address = parts.apiAddress else { return }
        let time = parts.time
        parts.vpn.setSharedAddress(
            address, holder == local ? .here : holder.map { .peer($0) } ?? .nowhere,
            isStillHere: { [weak self] in
                (self?.heldUntil.load(ordering: .acquiring) ?? 0) > time.now().nanoseconds
            })
    }

    // MARK: the health of K3s

    private func probeSoon(in delay: TimeAmount) {
        guard !state.value.isProbing, !state.value.isStopped else { return }
        state.value.probing?.cancel()
        state.value.probing = parts.host.eventLoop.scheduleTask(in: delay) { [self] in probe() }
    }

    private func probe() {
        guard state.value.core.servers?.members.contains(parts.host.localPeer) == true else {
            // Asked again as soon as this node is a server.
            state.value.health = K3sHealth()
            feed(.healthy(false))
            return
        }
        state.value.isProbing = true
        let probe = parts.probe
        prober.runIfActive(eventLoop: parts.host.eventLoop) { probe() }.whenComplete { [self] result in
            state.value.isProbing = false
            guard case .success(let answer) = result else { return }
            let wasWell = state.value.health.illness == nil
            if state.value.health.hear(answer) {
                if (answer == nil) != wasWell {
                    parts.logger.notice(
                        answer == nil ? "K3s is ready" : "K3s is not ready",
                        metadata: answer.map { ["reason": "\($0)"] } ?? [:])
                }
                feed(.healthy(answer == nil))
            }
            let servers = state.value.core.servers?.members.count ?? 0
            let pause = state.value.health.pause(servers: servers)
            probeSoon(in: .nanoseconds(pause.wholeNanoseconds))
        }
    }
}
