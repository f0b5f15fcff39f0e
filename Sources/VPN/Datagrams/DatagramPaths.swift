internal import CLinuxNet
internal import LibP2P
internal import Logging
internal import Multiformats
internal import NIOCore
internal import Synchronization
internal import Timing

/// The control plane of the datagram paths: drives one `DatagramPathCore` for each peer, agrees on keys over
/// streams, and answers probes. Any thread may call it; it does nothing for packets but to say which path they take.
final class DatagramPaths: Sendable {
    /// How many handshakes of one peer are answered in `handshakePeriod`.
    private static let handshakesPerPeriod = 8
    private static let handshakePeriod = Duration.seconds(30)
    /// How often a peer is told at most that its blocks get lost.
    private static let lossInterval = Duration.milliseconds(100)

    private let host: any Host
    private let time: any TimeSource
    private let socket: DatagramSocket
    private let subnet: VirtualSubnet
    private let mtu: UInt16
    /// The super-packets that the device takes.
    private let capabilities: OffloadCapabilities
    private let logger: Logger
    private let configuration: DatagramPathCore.Configuration
    /// Says that `paths` has changed; called without a lock held.
    private let onChange: @Sendable () -> Void
    private let connectionInfo: @Sendable (ConnectionID) -> ConnectionInfo?
    /// For the packet thread.
    let sessions = Published(SessionTable())
    private let state = Mutex(State())

    private struct Entry {
        let session: DatagramSession
        /// Where probes go to.
        var candidate: DatagramEndpoint
        /// The number of the last probe, and where it went.
        var probe: (number: UInt64, to: DatagramEndpoint)?
        /// When the peer was last told that a block of it was lost.
        var toldLoss: Instant?
        /// How many messages had been sealed at the last tick.
        var seen: UInt64 = 0
    }

    private struct Peer {
        var core: DatagramPathCore
        var blocks = BlockPolicy()
        var entries: [UInt32: Entry] = [:]
        var path: DatagramPath?
        var streamUsed = false
        var answered = 0
        var answeredSince = Instant.zero

        /// When something is to be done for the peer.
        var nextDeadline: Instant? {
            [core.nextDeadline, blocks.nextDeadline].compactMap { $0 }.min()
        }

        /// Asks the packet thread to report the next packet when nobody looks for it any more. True when one was
        /// sent just before it heard of that, which it did not report.
        func sentUnwatched() -> Bool {
            guard !core.isWatched else { return false }
            return entries.values.reduce(false) { found, entry in
                let (stopped, former) = entry.session.sending.compareExchange(
                    expected: .watched, desired: .unwatched, ordering: .relaxed)
                return found || !stopped && former == .used
            }
        }

        func applyBlocks() {
            for entry in entries.values { entry.session.sealsBlocks.store(blocks.isOpen, ordering: .relaxed) }
        }
    }

    private struct State {
        var isStopped = false
        var peers: [PeerID: Peer] = [:]
        var owners: [UInt32: PeerID] = [:]
        var timer: Instant?
        var wakeUp = WakeUp("DatagramPathCore")
    }

    init(
        host: any Host, time: any TimeSource, socket: DatagramSocket, subnet: VirtualSubnet, mtu: UInt16,
        capabilities: OffloadCapabilities, logger: Logger,
        configuration: DatagramPathCore.Configuration = .init(),
        connectionInfo: @escaping @Sendable (ConnectionID) -> ConnectionInfo?,
        onChange: @escaping @Sendable () -> Void
    ) {
        self.host = host
        self.time = time
        self.socket = socket
        self.subnet = subnet
        self.mtu = mtu
        self.capabilities = capabilities
        self.logger = logger
        self.configuration = configuration
        self.connectionInfo = connectionInfo
        self.onChange = onChange
    }

    // MARK: - what the service says

    /// The peers that have an address now; the sessions of others are forgotten.
    func update(peers: Set<PeerID>) {
        state.withLock { state in
            for (peer, record) in state.peers where !peers.contains(peer) {
                for index in record.entries.keys { state.owners[index] = nil }
                state.peers[peer] = nil
            }
            for peer in peers where state.peers[peer] == nil && !state.isStopped {
                state.peers[peer] = Peer(core: DatagramPathCore(configuration: configuration))
            }
            publishSessions(state)
        }
    }

    /// Forgets everything.
    func stop() {
        state.withLock { state in
            state = State()
            state.isStopped = true
            publishSessions(state)
        }
    }

    /// Packets for `peer` were given to its stream.
    func streamUsed(by peer: PeerID) {
        state.withLock { $0.peers[peer]?.streamUsed = true }
        receive(.wanted, from: peer)
    }

    func observe(_ event: SwarmEvent) {
        switch event {
        // A peer that has started again has new connections, and none of the keys.
        case .peerConnected(let peer, _), .peerDisconnected(let peer): receive(.doubted, from: peer)
        default: break
        }
    }

    /// The paths that packets take now.
    var paths: [PeerID: DatagramPath] { state.withLock { $0.peers.compactMapValues(\.path) } }

    func pathState(of peer: PeerID) -> PathState { state.withLock { $0.peers[peer]?.core.state ?? .stream } }

    /// Whether packets go to or come from the peer: its keys will have to be renewed.
    func isInUse(by peer: PeerID) -> Bool { state.withLock { $0.peers[peer]?.core.isInUse ?? false } }

    /// The packet thread has news.
    func receive(_ event: DatagramReceiver.Event) {
        host.eventLoop.execute { self.handle(event) }
    }

    private func handle(_ event: DatagramReceiver.Event) {
        switch event {
        case .probe(let index, let number, let from):
            let (peer, entry) = find(index) { entry in
                // Before an echo has shown a way, the peer's own address is the better guess.
                if entry.probe == nil || entry.probe?.to != from { entry.candidate = from }
            }
            guard let peer, let entry, isOutside(from) else { return }
            send(entry.session, kind: DatagramFormat.echo, number: number, to: from)
            receive(.probed(index: index), from: peer)
        case .echo(let index, let number, let from):
            let (peer, entry) = find(index) { entry in
                guard entry.probe?.number == number else { return }
                entry.candidate = from
            }
            guard let peer, let entry, entry.probe?.number == number else { return }
            receive(.echoed(index: index), from: peer)
        case .moved(let index, let from):
            guard isOutside(from) else { return }
            let (peer, _) = find(index) { $0.candidate = from }
            if let peer { receive(.moved(index: index), from: peer) }
        case .lostBlock(let index): tellLoss(index)
        case .blockLost(let index): pauseBlocks(index)
        }
    }

    /// Tells the peer that blocks of it get lost, not more often than it could heed.
    private func tellLoss(_ index: UInt32) {
        let now = time.now()
        var isDue = false
        let (_, entry) = find(index) { entry in
            if let told = entry.toldLoss, now - told < Self.lossInterval { return }
            entry.toldLoss = now
            isDue = true
        }
        guard isDue, let entry else { return }
        send(entry.session, kind: DatagramFormat.blockLost, number: 0, to: entry.candidate)
    }

    /// The peer has lost a block of ours.
    private func pauseBlocks(_ index: UInt32) {
        let now = time.now()
        state.withLock { state in
            guard let peer = state.owners[index], var record = state.peers[peer] else { return }
            record.blocks.lost(at: now)
            record.applyBlocks()
            state.peers[peer] = record
        }
        scheduleTimer(at: now)
    }

    /// The session's entry, after `change`.
    private func find(_ index: UInt32, _ change: (inout Entry) -> Void) -> (PeerID?, Entry?) {
        state.withLock { state in
            guard let peer = state.owners[index], var entry = state.peers[peer]?.entries[index] else {
                return (nil, nil)
            }
            change(&entry)
            state.peers[peer]?.entries[index] = entry
            return (peer, entry)
        }
    }

    /// The tunnel is not to be tunnelled.
    private func isOutside(_ endpoint: DatagramEndpoint) -> Bool {
        guard let address = endpoint.ipv4 else { return true }
        return address & subnet.mask != subnet.network.rawValue
    }

    // MARK: - the core

    private func receive(_ input: DatagramPathCore.Input, from peer: PeerID) {
        let now = time.now()
        let effects = state.withLock { $0.peers[peer]?.core.receive(input, at: now) ?? [] }
        perform(effects, for: peer)
        scheduleTimer(at: now)
    }

    private func perform(_ effects: [DatagramPathCore.Effect], for peer: PeerID) {
        for effect in effects {
            switch effect {
            case .handshake: handshake(with: peer)
            case .probe(let index): probe(index, of: peer)
            case .use(let index): use(index, for: peer)
            case .forget(let index):
                state.withLock { state in
                    state.peers[peer]?.entries[index] = nil
                    state.owners[index] = nil
                    publishSessions(state)
                }
            }
        }
    }

    private func probe(_ index: UInt32, of peer: PeerID) {
        let number = UInt64.random(in: .min ... .max)
        let entry = state.withLock { state -> Entry? in
            guard var entry = state.peers[peer]?.entries[index] else { return nil }
            entry.probe = (number, entry.candidate)
            state.peers[peer]?.entries[index] = entry
            return entry
        }
        guard let entry else { return }
        send(entry.session, kind: DatagramFormat.probe, number: number, to: entry.candidate)
    }

    private func send(_ session: DatagramSession, kind: UInt8, number: UInt64, to endpoint: DatagramEndpoint)
    {
        guard let bytes = session.control(kind: kind, number: number) else { return }
        // A probe that cannot leave is as good as one that is lost: the core counts it.
        _ = bytes.withUnsafeBytes { socket.send($0, segment: $0.count, to: endpoint) }
    }

    private func use(_ index: UInt32?, for peer: PeerID) {
        let isNew = state.withLock { state -> Bool in
            let hadPath = state.peers[peer]?.path != nil
            if let index, let entry = state.peers[peer]?.entries[index] {
                state.peers[peer]?.path = DatagramPath(
                    session: entry.session, endpoint: entry.candidate, socket: socket,
                    onUse: { [weak self] in self?.pathUsed(by: peer) })
            } else {
                state.peers[peer]?.path = nil
            }
            return hadPath != (state.peers[peer]?.path != nil)
        }
        if isNew {
            logger.info(
                "packets change their way",
                metadata: ["peer": "\(peer)", "way": index == nil ? "stream" : "datagrams"])
        }
        onChange()
    }

    private func pathUsed(by peer: PeerID) {
        host.eventLoop.execute { self.receive(.wanted, from: peer) }
    }

    /// Called with the lock held, so that tables are published in the order in which they came to be.
    private func publishSessions(_ state: borrowing State) {
        var table: [UInt32: DatagramSession] = [:]
        for peer in state.peers.values {
            for (index, entry) in peer.entries { table[index] = entry.session }
        }
        sessions.publish(SessionTable(table))
    }

    private func scheduleTimer(at now: Instant) {
        let wanted = state.withLock { state -> WakeUp.Plan? in
            guard let deadline = state.peers.values.compactMap(\.nextDeadline).min() else { return nil }
            if let timer = state.timer, timer <= deadline { return nil }
            guard let plan = state.wakeUp.next(deadline, at: now) else { return nil }
            if let timer = state.timer, timer <= plan.at { return nil }
            state.timer = plan.at
            return plan
        }
        guard let wanted else { return }
        if let warning = wanted.warning { logger.warning("\(warning)") }
        let delay = TimeAmount.nanoseconds(wanted.delay.wholeNanoseconds)
        host.eventLoop.scheduleTask(in: delay) { [weak self] in self?.timerFired(wanted.at) }
    }

    private func timerFired(_ timer: Instant) {
        let now = time.now()
        let due = state.withLock { state -> [(PeerID, [DatagramPathCore.Effect])] in
            guard state.timer == timer else { return [] }
            state.timer = nil
            state.wakeUp.fired()
            var due: [(PeerID, [DatagramPathCore.Effect])] = []
            for (peer, var record) in state.peers {
                if let deadline = record.blocks.nextDeadline, deadline <= now {
                    record.blocks.tick(at: now)
                    record.applyBlocks()
                    state.peers[peer] = record
                }
                guard let deadline = record.core.nextDeadline, deadline <= now else { continue }
                var use = DatagramPathCore.Use()
                use.stream = record.streamUsed
                record.streamUsed = false
                for (index, entry) in record.entries {
                    if entry.session.sending.exchange(.watched, ordering: .relaxed) == .used {
                        use.sent = true
                    }
                    let sent = entry.session.sealed
                    use.messages = max(use.messages, sent &- entry.seen)
                    record.entries[index]?.seen = sent
                    if entry.session.hasReceived.exchange(false, ordering: .relaxed) { use.received = true }
                }
                var effects = record.core.receive(.tick(use), at: now)
                if record.sentUnwatched() { effects += record.core.receive(.wanted, at: now) }
                due.append((peer, effects))
                state.peers[peer] = record
            }
            return due
        }
        for (peer, effects) in due { perform(effects, for: peer) }
        scheduleTimer(at: now)
    }

    // MARK: - keys

    private func hello(ciphers: UInt8, index: UInt32, _ pair: X25519.KeyPair) -> DatagramHello {
        DatagramHello(
            ciphers: ciphers, blocks: capabilities, port: socket.port, mtu: mtu, index: index,
            publicKey: pair.publicKey)
    }

    /// The ciphers that this machine takes: AES only where the processor computes it.
    private static let ciphers: UInt8 = {
        let aes = clinuxnet_has_aes() != 0
        return PacketCipher.Algorithm.allCases
            .filter { ($0 == .chaCha20Poly1305 || aes) && $0.isAvailable }
            .reduce(0) { $0 | $1.rawValue }
    }()

    private func freeIndex() -> UInt32 {
        state.withLock { state in
            while true {
                let index = UInt32.random(in: 1 ... .max)
                if state.owners[index] == nil { return index }
            }
        }
    }

    private func handshake(with peer: PeerID) {
        let pair = X25519.KeyPair.generate()
        let opening = hello(ciphers: Self.ciphers, index: freeIndex(), pair)
        host.openStream(to: peer, protocols: [.kairosDatagram]) { [self] stream in
            stream.channel.eventLoop.makeCompletedFuture {
                try stream.channel.pipeline.syncOperations.addHandler(
                    DatagramHandshakeHandler(opening: opening) { [self] answer in
                        guard let algorithm = PacketCipher.Algorithm(rawValue: answer.ciphers),
                            answer.ciphers & Self.ciphers != 0
                        else { return nil }
                        return agree(
                            peer, stream.connection, pair, initiator: opening, responder: answer, algorithm,
                            isInitiator: true) ? .nothing : nil
                    } onEnd: { [self] in
                        receive(.handshakeFailed, from: peer)
                    })
            }
        }.whenFailure { [self] _ in receive(.handshakeFailed, from: peer) }
    }

    /// Answers a handshake of a peer that has proven to be of the network.
    func accept(_ stream: NegotiatedStream) -> EventLoopFuture<Void> {
        let (peer, connection) = (stream.peer, stream.connection)
        guard mayAnswer(peer) else {
            return stream.channel.eventLoop.makeFailedFuture(StreamRefusal.tooManyStreams)
        }
        return stream.channel.eventLoop.makeCompletedFuture {
            try stream.channel.pipeline.syncOperations.addHandler(
                DatagramHandshakeHandler(opening: nil) { [self] opening in
                    guard
                        let algorithm = DatagramHello.agreed(offered: opening.ciphers, own: Self.ciphers)
                    else { return nil }
                    let pair = X25519.KeyPair.generate()
                    let answer = hello(ciphers: algorithm.rawValue, index: freeIndex(), pair)
                    return agree(
                        peer, connection, pair, initiator: opening, responder: answer, algorithm,
                        isInitiator: false) ? .reply(answer) : nil
                })
        }
    }

    private func mayAnswer(_ peer: PeerID) -> Bool {
        let now = time.now()
        return state.withLock { state in
            guard var record = state.peers[peer] else { return false }
            if now - record.answeredSince > Self.handshakePeriod {
                record.answeredSince = now
                record.answered = 0
            }
            record.answered += 1
            state.peers[peer] = record
            return record.answered <= Self.handshakesPerPeriod
        }
    }

    private func agree(
        _ peer: PeerID, _ connection: ConnectionID, _ pair: X25519.KeyPair, initiator: DatagramHello,
        responder: DatagramHello, _ algorithm: PacketCipher.Algorithm, isInitiator: Bool
    ) -> Bool {
        let (own, remote) = isInitiator ? (initiator, responder) : (responder, initiator)
        let peers = isInitiator ? (host.localPeer, peer) : (peer, host.localPeer)
        guard let info = connectionInfo(connection),
            let candidate = Self.endpoint(info.remoteAddress, port: remote.port), isOutside(candidate),
            let keys = try? DatagramKeys(
                own: pair, initiator: (peers.0, initiator), responder: (peers.1, responder),
                isInitiator: isInitiator, channelBinding: info.channelBinding, for: algorithm),
            let session = DatagramSession(
                peer: peer, localIndex: own.index, remoteIndex: remote.index,
                maximumPacket: Int(min(own.mtu, remote.mtu)),
                sendKey: isInitiator ? keys.fromInitiator : keys.fromResponder,
                receiveKey: isInitiator ? keys.fromResponder : keys.fromInitiator, algorithm: algorithm,
                blocks: remote.blocks)
        else { return false }
        let isNew = state.withLock { state in
            guard state.peers[peer] != nil, state.owners[own.index] == nil else { return false }
            state.owners[own.index] = peer
            state.peers[peer]?.entries[own.index] = Entry(session: session, candidate: candidate)
            state.peers[peer]?.applyBlocks()
            publishSessions(state)
            return true
        }
        guard isNew else { return false }
        receive(.agreed(index: own.index, isInitiator: isInitiator), from: peer)
        return true
    }

    /// The address of a connection with another port.
    private static func endpoint(_ address: Multiaddr, port: UInt16) -> DatagramEndpoint? {
        guard case .address(let ip, let zone)? = address.tcpEndpoint?.host else { return nil }
        let scope = zone.map { UInt32($0) ?? InterfaceIndex.named($0) } ?? 0
        return DatagramEndpoint(address: ip.bytes, scope: scope, port: port)
    }
}
