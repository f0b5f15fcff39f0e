internal import DequeModule
internal import Multiformats
internal import NIOCore

/// Messages of one protocol to and from peers: one stream for each direction of a pair, opened with the first
/// message and kept. Belongs to the host's event loop.
package final class PeerStreams {
    /// What is kept for a peer that takes its messages slowly, and what gives way.
    package enum Backlog {
        /// So many bytes; messages beyond are dropped.
        case bytes(Int)
        /// What a pool has left for the peer, which other protocols share; messages beyond are dropped.
        case pool(OutboundPool)
        /// So many messages, the latest, until the stream is open; then none while it takes no more.
        case latest(Int)
    }

    private struct Outbound {
        let number: UInt64
        var channel: (any Channel)?
        var waiting: Deque<[UInt8]> = []
        /// Bytes that wait or are on their way to the socket.
        var queued = 0
        /// When the peer last took something, while anything waits.
        var progress: NIODeadline = .uptimeNanoseconds(0)
    }

    /// A peer's streams to us; beyond, its oldest is closed.
    private static let maximumInbound = 2
    /// What may wait for streams to open, of all peers, in bytes.
    package static let maximumWaiting = 2 << 20
    /// A peer that has taken nothing for so long does not read: what waits for it is dropped with its stream.
    private static let patience = TimeAmount.seconds(20)

    private let host: any Host
    private let protocolID: ProtocolID
    private let framing: MessageFraming
    private let backlog: Backlog
    private let isMessage: @Sendable ([UInt8]) -> Bool
    private let accepts: (PeerID) -> Bool
    private let received: (PeerID, [UInt8]) -> Void
    private var outbound: [PeerID: Outbound] = [:]
    private var inbound: [PeerID: [(number: UInt64, channel: any Channel)]] = [:]
    private var number: UInt64 = 0
    /// Bytes that wait for streams to open, of all peers: they are on no connection's account yet.
    private var waitingBytes = 0
    /// How many messages found no room.
    package private(set) var dropped = 0

    /// - Parameters:
    ///   - isMessage: whether bytes are a message at all, asked on the stream's loop; others end the stream.
    ///   - accepts: whether a peer may open a stream now.
    package init(
        host: any Host, protocolID: ProtocolID, framing: MessageFraming, backlog: Backlog,
        isMessage: @escaping @Sendable ([UInt8]) -> Bool = { _ in true },
        accepts: @escaping (PeerID) -> Bool, received: @escaping (PeerID, [UInt8]) -> Void
    ) {
        self.host = host
        self.protocolID = protocolID
        self.framing = framing
        self.backlog = backlog
        self.isMessage = isMessage
        self.accepts = accepts
        self.received = received
    }

    package func start() {
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        let (framing, isMessage) = (framing, isMessage)
        host.setHandler(for: protocolID) { stream in
            let (peer, channel, memory) = (stream.peer, stream.channel, stream.memory)
            return loop.submit { streams.value.accept(channel, from: peer) }
                .hop(to: channel.eventLoop)
                .flatMapThrowing { number in
                    guard let number else { throw ChannelError.eof }
                    try channel.pipeline.syncOperations.addHandler(
                        MessageDecoder(
                            framing, memory: memory,
                            message: { bytes in
                                guard isMessage(bytes) else { return false }
                                loop.execute { streams.value.heard(bytes, from: peer) }
                                return true
                            },
                            closed: { loop.execute { streams.value.ended(number, from: peer) } }))
                }
        }
    }

    package func stop() {
        host.removeHandler(for: protocolID)
        for peer in peers { forget(peer) }
    }

    /// Those to and from whom there are streams.
    package var peers: Set<PeerID> { Set(outbound.keys).union(inbound.keys) }

    /// Sends `message`, which is framed here.
    package func send(_ message: [UInt8], to peer: PeerID) {
        let bytes =
            switch framing {
            case .lengthPrefixed: Uvarint.encode(UInt64(message.count)) + message
            case .fixed: message
            }
        if outbound[peer] == nil { open(to: peer) }
        guard makeRoom(for: bytes.count, to: peer) else {
            dropped += 1
            return
        }
        if outbound[peer]?.queued == 0 { outbound[peer]?.progress = .now() }
        outbound[peer]?.queued += bytes.count
        pool?.add(bytes.count)
        if let channel = outbound[peer]?.channel {
            write(bytes, on: channel, to: peer)
        } else {
            outbound[peer]?.waiting.append(bytes)
            waitingBytes += bytes.count
        }
    }

    /// Closes all streams to and from the peer.
    package func forget(_ peer: PeerID) {
        removeOutbound(peer)
        for stream in inbound.removeValue(forKey: peer) ?? [] { stream.channel.close(promise: nil) }
    }

    // MARK: outbound

    private func makeRoom(for count: Int, to peer: PeerID) -> Bool {
        guard let stream = outbound[peer] else { return false }
        guard stream.channel != nil || waitingBytes + count <= Self.maximumWaiting else { return false }
        switch backlog {
        case .bytes(let most): return stream.queued + count <= most
        case .pool(let pool):
            if pool.admits(count, queued: stream.queued) { return true }
            dropStalled()
            return outbound[peer] != nil && pool.admits(count, queued: stream.queued)
        case .latest(let most):
            if let channel = stream.channel { return channel.isWritable }
            if stream.waiting.count >= most, let oldest = outbound[peer]?.waiting.popFirst() {
                released(oldest.count, of: peer)
                waitingBytes -= oldest.count
                dropped += 1
            }
            return true
        }
    }

    private var pool: OutboundPool? {
        if case .pool(let pool) = backlog { return pool }
        return nil
    }

    private func released(_ count: Int, of peer: PeerID) {
        outbound[peer]?.queued -= count
        pool?.remove(count)
    }

    /// Closes the streams to those that do not read.
    private func dropStalled() {
        let now = NIODeadline.now()
        for (peer, stream) in outbound where stream.queued > 0 && now - stream.progress > Self.patience {
            removeOutbound(peer)
        }
    }

    private func removeOutbound(_ peer: PeerID) {
        guard let stream = outbound.removeValue(forKey: peer) else { return }
        for bytes in stream.waiting { waitingBytes -= bytes.count }
        pool?.remove(stream.queued)
        stream.channel?.close(promise: nil)
    }

    private func open(to peer: PeerID) {
        number += 1
        let number = number
        outbound[peer] = Outbound(number: number)
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        host.openStream(to: peer, protocols: [protocolID]) { stream in
            let channel = stream.channel
            return channel.eventLoop.makeCompletedFuture {
                // Nothing comes back on this stream: the peer answers on one of its own.
                try channel.pipeline.syncOperations.addHandler(
                    MessageDecoder(
                        .lengthPrefixed(maximum: 0), message: { _ in false },
                        closed: { loop.execute { streams.value.lost(number, to: peer) } }))
            }
        }.hop(to: loop).whenComplete { result in
            switch result {
            case .success(let channel): streams.value.opened(channel, number, to: peer)
            case .failure: streams.value.lost(number, to: peer)
            }
        }
    }

    private func opened(_ channel: any Channel, _ number: UInt64, to peer: PeerID) {
        guard outbound[peer]?.number == number else {
            channel.close(promise: nil)
            return
        }
        outbound[peer]?.channel = channel
        while let bytes = outbound[peer]?.waiting.popFirst() {
            waitingBytes -= bytes.count
            write(bytes, on: channel, to: peer)
        }
    }

    private func write(_ bytes: [UInt8], on channel: any Channel, to peer: PeerID) {
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let number = outbound[peer]?.number
        channel.writeAndFlush(ByteBuffer(bytes: bytes)).hop(to: host.eventLoop).whenComplete { _ in
            guard streams.value.outbound[peer]?.number == number else { return }
            streams.value.outbound[peer]?.progress = .now()
            streams.value.released(bytes.count, of: peer)
        }
    }

    private func lost(_ number: UInt64, to peer: PeerID) {
        guard outbound[peer]?.number == number else { return }
        removeOutbound(peer)
    }

    // MARK: inbound

    private func accept(_ channel: any Channel, from peer: PeerID) -> UInt64? {
        guard accepts(peer) else { return nil }
        number += 1
        inbound[peer, default: []].append((number, channel))
        if let streams = inbound[peer], streams.count > Self.maximumInbound {
            streams[0].channel.close(promise: nil)
            inbound[peer]?.removeFirst()
        }
        return number
    }

    private func heard(_ bytes: [UInt8], from peer: PeerID) {
        // What a forgotten peer said before is on its way still.
        if inbound[peer] != nil { received(peer, bytes) }
    }

    private func ended(_ number: UInt64, from peer: PeerID) {
        inbound[peer]?.removeAll { $0.number == number }
        if inbound[peer]?.isEmpty == true { inbound[peer] = nil }
    }
}
