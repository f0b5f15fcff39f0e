internal import LibP2P
internal import Logging
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Timing

/// Carries admission over the streams of a host. Belongs to the host's event loop.
final class AdmissionDriver {
    /// Streams of peers that are being answered; more are closed unheard.
    private static let maximumPending = 256
    private static let streamTimeout = TimeAmount.seconds(10)

    private let host: any Host
    private let time: any TimeSource
    private let changed: (PeerID, Admission.Standing?) -> Void
    private var core: Admission
    private var outbound: [PeerID: any Channel] = [:]
    private var inbound: [UInt64: any Channel] = [:]
    private var streamNumber: UInt64 = 0
    private var timer: Scheduled<Void>?
    private var wakeUp = WakeUp("Admission")
    private var isRunning = true

    init(
        host: any Host, token: NetworkToken, time: any TimeSource,
        changed: @escaping (PeerID, Admission.Standing?) -> Void
    ) {
        self.host = host
        self.time = time
        self.changed = changed
        core = Admission(localPeer: host.localPeer, proofs: AdmissionProof(token: token))
    }

    var counters: Admission.Counters { core.counters }

    func standing(of peer: PeerID) -> Admission.Standing? { core.standing(of: peer) }

    /// The peer has written in the room, over its own connection.
    func wroteInRoom(_ peer: PeerID) { feed(.wroteInRoom(peer)) }

    func start() {
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        host.setHandler(for: Admission.protocolID) { stream in
            let (peer, connection) = (stream.peer, stream.connection)
            let channel = stream.channel
            return channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    CollectingHandler(
                        maximum: Admission.requestLength, timeout: Self.streamTimeout,
                        isComplete: { $0.count == Admission.requestLength },
                        done: { bytes in
                            loop.execute { driver.value.requested(by: peer, connection, channel, bytes) }
                        }))
            }
        }
    }

    func stop() {
        isRunning = false
        timer?.cancel()
        host.removeHandler(for: Admission.protocolID)
        for channel in Array(inbound.values) + Array(outbound.values) { channel.close(promise: nil) }
        inbound = [:]
        outbound = [:]
    }

    /// What the swarm says, in order.
    func observe(_ event: SwarmEvent) {
        switch event {
        case .peerConnected(let peer, let connection), .connectionAdded(let peer, let connection):
            feed(.connected(peer, connection))
        case .connectionRemoved(let peer, let connection): feed(.connectionClosed(peer, connection))
        case .peerIdentified(let peer, let information):
            feed(.identified(peer, protocols: information.protocols))
        case .peerDisconnected(let peer): feed(.disconnected(peer))
        case .listening, .roundTrip, .dialFailed: break
        }
    }

    private func requested(
        by peer: PeerID, _ connection: ConnectionID, _ channel: any Channel, _ bytes: [UInt8]?
    ) {
        guard isRunning, let bytes, inbound.count < Self.maximumPending else {
            channel.close(promise: nil)
            return
        }
        streamNumber += 1
        inbound[streamNumber] = channel
        feed(.request(peer, connection, stream: streamNumber, bytes))
    }

    private func feed(_ input: Admission.Input) {
        guard isRunning else { return }
        for effect in core.receive(input, at: time.now()) { perform(effect) }
        schedule()
    }

    private func perform(_ effect: Admission.Effect) {
        switch effect {
        case .open(let peer): open(to: peer)
        case .sendRequest(let peer, let bytes):
            outbound[peer]?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        case .sendAnswer(let stream, let bytes):
            guard let channel = inbound.removeValue(forKey: stream) else { return }
            // The asker closes the stream; if it does not, the handler's timer will.
            channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenComplete { _ in
                channel.close(mode: .output, promise: nil)
            }
        case .reject(let stream): inbound.removeValue(forKey: stream)?.close(promise: nil)
        case .changed(let peer, let standing):
            if standing == nil { outbound.removeValue(forKey: peer)?.close(promise: nil) }
            changed(peer, standing)
        case .disconnect(let peer): host.disconnect(peer, reason: .gated)
        }
    }

    private func open(to peer: PeerID) {
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        let connection = NIOLockedValueBox<ConnectionID?>(nil)
        host.openStream(to: peer, protocols: [Admission.protocolID]) { stream in
            connection.withLockedValue { $0 = stream.connection }
            let id = stream.connection
            let channel = stream.channel
            return channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    CollectingHandler(
                        maximum: Admission.answerLength, timeout: Self.streamTimeout,
                        isComplete: { $0.count == Admission.answerLength || $0.count == 2 && $0[1] != 0 },
                        done: { bytes in loop.execute { driver.value.answered(by: peer, id, channel, bytes) }
                        }))
            }
        }.hop(to: loop).whenComplete { result in
            driver.value.opened(to: peer, connection.withLockedValue { $0 }, result)
        }
    }

    private func opened(
        to peer: PeerID, _ connection: ConnectionID?, _ result: Result<any Channel, any Error>
    ) {
        guard case .success(let channel) = result, let connection, isRunning else {
            if case .success(let channel) = result { channel.close(promise: nil) }
            return feed(.failed(peer))
        }
        outbound.removeValue(forKey: peer)?.close(promise: nil)
        outbound[peer] = channel
        feed(.opened(peer, connection))
    }

    private func answered(
        by peer: PeerID, _ connection: ConnectionID, _ channel: any Channel, _ bytes: [UInt8]?
    ) {
        // The answer to an attempt that was given up already is not looked at.
        guard outbound[peer] === channel else {
            channel.close(promise: nil)
            return
        }
        outbound[peer] = nil
        channel.close(promise: nil)
        feed(bytes.map { .answer(peer, connection, $0) } ?? .failed(peer))
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        guard isRunning, let plan = wakeUp.next(core.nextDeadline, at: time.now()) else { return }
        if let warning = plan.warning { Logger(label: "admission").warning("\(warning)") }
        let driver = NIOLoopBound(self, eventLoop: host.eventLoop)
        timer = host.eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) {
            driver.value.wakeUp.fired()
            driver.value.feed(.tick)
        }
    }
}
