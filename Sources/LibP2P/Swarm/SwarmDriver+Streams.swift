internal import Logging
internal import NIOCore
internal import Timing

extension SwarmDriver {
    // MARK: - Streams of ours

    /// Opens a stream on `connection`, or on the preferred one to `peer`; see `Host.openStream`.
    func openStream(
        to peer: PeerID, on connection: SwarmConnection?, protocols names: [ProtocolID],
        initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel> {
        guard let connection = connection ?? preferredConnection(to: peer) else {
            return eventLoop.makeFailedFuture(isShutDown ? SwarmError.shutDown : SwarmError.notConnected)
        }
        let known = information[peer]?.protocols ?? []
        let lazy = names.first { known.contains($0) }
        let (id, loop, memory) = (connection.info.id, connection.muxer.eventLoop, connection.memory)
        let timeout = TimeAmount.nanoseconds(configuration.timings.streamNegotiationTimeout.wholeNanoseconds)
        let negotiated = loop.makePromise(of: ProtocolID.self)
        let opened = connection.muxer.openStream { channel in
            channel.eventLoop.makeCompletedFuture {
                let dialer =
                    lazy.map { MultistreamDialer(lazilyProposing: $0) } ?? MultistreamDialer(proposing: names)
                let handler = MultistreamHandler(dialer, timeout: timeout, negotiated: negotiated) {
                    name, channel in
                    initialize(
                        NegotiatedStream(
                            channel: channel, protocolID: name, peer: peer, connection: id, memory: memory))
                }
                try channel.pipeline.syncOperations.addHandler(handler)
            }
        }
        opened.whenFailure { negotiated.fail($0) }
        return opened.flatMap { channel in
            negotiated.futureResult.map { _ in channel }.flatMapErrorThrowing { error in
                channel.triggerUserOutboundEvent(StreamReset.negotiationFailed, promise: nil)
                throw error
            }
        }.flatMapErrorThrowing { error in
            throw Self.describe(error, names)
        }.hop(to: eventLoop)
    }

    /// Opens a stream on the preferred connection, or on one that the connector brings about.
    func openConnectedStream(
        to peer: PeerID, protocols names: [ProtocolID], initialize: @escaping StreamHandler
    ) -> EventLoopFuture<any Channel> {
        guard preferredConnection(to: peer) == nil, !isShutDown, let connected = connector?(peer) else {
            return openStream(to: peer, on: nil, protocols: names, initialize: initialize)
        }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        return connected.hop(to: eventLoop).flatMap {
            bound.value.openStream(to: peer, on: nil, protocols: names, initialize: initialize)
        }
    }

    private static func describe(_ error: any Error, _ names: [ProtocolID]) -> any Error {
        switch error {
        case MultistreamError.refused: SwarmError.noCommonProtocol(names)
        case MultistreamError.timedOut: SwarmError.timedOut("protocol negotiation")
        case YamuxOpenError.tooManyStreams: SwarmError.limitReached("open streams")
        case YamuxOpenError.tooManyUnacknowledged: SwarmError.limitReached("unacknowledged streams")
        case YamuxOpenError.sessionEnded: SwarmError.notConnected
        default: error
        }
    }

    /// Measures a round trip with the ping protocol.
    func ping(_ peer: PeerID) -> EventLoopFuture<Duration> {
        let promise = eventLoop.makePromise(of: Duration.self)
        let clock = configuration.clock
        let payload = ByteBuffer(bytes: Crypto.randomBytes(Ping.size))
        openStream(to: peer, on: nil, protocols: [Ping.protocolID]) { stream in
            stream.channel.eventLoop.makeCompletedFuture {
                let handler = PingProber(payload: payload, clock: clock, promise: promise)
                try stream.channel.pipeline.syncOperations.addHandler(handler)
            }
        }.whenFailure { promise.fail($0) }
        return promise.futureResult
    }

    // MARK: - The swarm's own protocols

    func registerOwnProtocols() {
        _ = protocols.set(
            { stream in
                stream.channel.eventLoop.makeCompletedFuture {
                    try stream.channel.pipeline.syncOperations.addHandler(PingResponder())
                }
            }, for: Ping.protocolID)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let loop = eventLoop
        _ = protocols.set(
            { stream in
                let answer = loop.submit { bound.value.identifyAnswer(to: stream) }
                return answer.hop(to: stream.channel.eventLoop).map { bytes in
                    if let bytes { stream.channel.writeAndFlush(bytes, promise: nil) }
                    stream.channel.close(promise: nil)
                }
            }, for: IdentifyState.identify)
        let timeout = identifyTimeout
        _ = protocols.set(
            { stream in
                stream.channel.eventLoop.makeCompletedFuture {
                    let handler = IdentifyHandler(timeout: timeout) { result in
                        guard case .success(let message) = result else { return }
                        loop.execute { bound.value.received(message, from: stream.peer, stream.connection) }
                    }
                    try stream.channel.pipeline.syncOperations.addHandler(handler)
                }
            }, for: IdentifyState.push)
    }

    private var identifyTimeout: TimeAmount {
        .nanoseconds(configuration.timings.identifyTimeout.wholeNanoseconds)
    }

    // MARK: - Identify

    private func identifyAnswer(to stream: NegotiatedStream) -> ByteBuffer? {
        guard let connection = connections[stream.connection] else { return nil }
        identifyState.noteTold(stream.peer)
        return ByteBuffer(bytes: identifyState.message(over: connection.info.remoteAddress).framed)
    }

    /// Asks the peer at the other end of `connection` who it is.
    func identify(_ connection: SwarmConnection) {
        let bound = NIOLoopBound((self, connection), eventLoop: eventLoop)
        let (loop, timeout) = (eventLoop, identifyTimeout)
        openStream(to: connection.peer, on: connection, protocols: [IdentifyState.identify]) { stream in
            stream.channel.eventLoop.makeCompletedFuture {
                let handler = IdentifyHandler(timeout: timeout) { result in
                    loop.execute {
                        let (driver, connection) = bound.value
                        switch result {
                        case .success(let message):
                            driver.received(message, from: connection.peer, connection.info.id)
                        case .failure(let error): driver.identifyFailed(connection, error)
                        }
                    }
                }
                try stream.channel.pipeline.syncOperations.addHandler(handler)
            }
        }.whenFailure { error in
            let (driver, connection) = bound.value
            driver.identifyFailed(connection, error)
        }
    }

    private func identifyFailed(_ connection: SwarmConnection, _ error: any Error) {
        guard connections[connection.info.id] != nil, !isShutDown else { return }
        log.debug("identify failed", metadata: ["peer": "\(connection.peer)", "reason": "\(error)"])
        connection.identifyFailures += 1
        guard connection.identifyFailures < 3, information[connection.peer] == nil else { return }
        let bound = NIOLoopBound((self, connection), eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .seconds(Int64(2 * connection.identifyFailures))) {
            let (driver, connection) = bound.value
            guard driver.connections[connection.info.id] != nil else { return }
            driver.identify(connection)
        }
    }

    /// What the peer said of itself, asked or unasked.
    private func received(_ message: IdentifyMessage, from peer: PeerID, _ id: ConnectionID) {
        guard let connection = connections[id], connection.peer == peer,
            connection.identifyBudget.spend(at: now)
        else { return }
        do throws(IdentifyError) {
            let told = try PeerInformation(message, from: peer, over: connection.info.remoteAddress)
            // A push may leave out what has not changed: what is absent stays.
            let merged = information[peer]?.updated(with: told, by: message) ?? told
            let isNews = information[peer] != merged
            information[peer] = merged
            receive(.identified(peer, addresses: merged.listenAddresses, isOurs: merged.isKairosNode))
            if isNews { emit(.peerIdentified(peer, merged)) }
            if identifyState.isStale(peer) { schedulePush() }
        } catch {
            identifyFailed(connection, error)
        }
    }

    /// Has all peers told of a change, a little later, so that several changes go out as one.
    func schedulePush() {
        guard pushTimer == nil, !isShutDown else { return }
        let timings = configuration.timings
        let due = max(now + timings.pushDelay, lastPush + timings.pushInterval)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        pushTimer = eventLoop.scheduleTask(in: .nanoseconds((due - now).wholeNanoseconds)) {
            bound.value.pushTimer = nil
            bound.value.push()
        }
    }

    private func push() {
        lastPush = now
        for (peer, known) in information
        where identifyState.isStale(peer) && known.protocols.contains(IdentifyState.push) {
            guard let connection = preferredConnection(to: peer) else { continue }
            identifyState.noteTold(peer)
            let bytes = ByteBuffer(bytes: identifyState.message(over: connection.info.remoteAddress).framed)
            openStream(to: peer, on: connection, protocols: [IdentifyState.push]) { stream in
                stream.channel.writeAndFlush(bytes, promise: nil)
                stream.channel.close(promise: nil)
                return stream.channel.eventLoop.makeSucceededVoidFuture()
            }.whenFailure { [log] error in
                log.debug("push failed", metadata: ["peer": "\(peer)", "reason": "\(error)"])
            }
        }
    }
}

extension PeerInformation {
    /// This information with what `message`, whose meaning is `told`, says anew.
    func updated(with told: PeerInformation, by message: IdentifyMessage) -> PeerInformation {
        var merged = self
        if !message.listenAddresses.isEmpty || message.signedPeerRecord != nil {
            merged.listenAddresses = told.listenAddresses
        }
        if !message.protocols.isEmpty { merged.protocols = told.protocols }
        if message.observedAddress != nil { merged.observedAddress = told.observedAddress }
        if message.agentVersion != nil { merged.agentVersion = told.agentVersion }
        return merged
    }
}
