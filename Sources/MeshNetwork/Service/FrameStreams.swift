internal import DequeModule
internal import LibP2P
internal import Multiformats
internal import NIOCore

/// Frames of one protocol, such as `/kairos/ledger/1.0.0`, to and from peers: one stream for each direction of a pair, opened
/// with the first frame and kept. Belongs to the host's event loop.
final class FrameStreams {
    static let ledger: ProtocolID = "/kairos/ledger/1.0.0"
    static let links: ProtocolID = "/kairos/links/1.0.0"
    /// Bytes that wait to be sent to one peer; frames beyond are dropped, and the next comparison
    /// brings them.
    private static let maximumQueued = 4 << 20
    /// A peer's streams to us; beyond, its oldest is closed.
    private static let maximumInbound = 2
    /// Frames that are kept for a peer that admitted us before we admitted it.
    private static let maximumEarly = 8

    private struct Outbound {
        let number: UInt64
        var channel: (any Channel)?
        var waiting: Deque<[UInt8]> = []
        var queued = 0
    }

    private let host: any Host
    private let protocolID: ProtocolID
    private let maximumLength: Int
    /// Whether a peer's frames are wanted now, may be wanted soon, or never.
    private let standing: (PeerID) -> Admission.Standing?
    private let received: (PeerID, [UInt8]) -> Void
    private var outbound: [PeerID: Outbound] = [:]
    private var inbound: [PeerID: [(number: UInt64, channel: any Channel)]] = [:]
    private var early: [PeerID: [[UInt8]]] = [:]
    private var number: UInt64 = 0
    private(set) var dropped = 0

    init(
        host: any Host, protocolID: ProtocolID, maximumLength: Int,
        standing: @escaping (PeerID) -> Admission.Standing?,
        received: @escaping (PeerID, [UInt8]) -> Void
    ) {
        self.host = host
        self.protocolID = protocolID
        self.maximumLength = maximumLength
        self.standing = standing
        self.received = received
    }

    func start() {
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let loop = host.eventLoop
        let maximumLength = maximumLength
        host.setHandler(for: protocolID) { stream in
            let (peer, channel) = (stream.peer, stream.channel)
            return loop.submit { streams.value.accept(channel, from: peer) }
                .hop(to: channel.eventLoop)
                .flatMapThrowing { number in
                    guard let number else { throw ChannelError.eof }
                    try channel.pipeline.syncOperations.addHandler(
                        LedgerFrameDecoder(
                            maximum: maximumLength,
                            frame: { bytes in loop.execute { streams.value.frame(bytes, from: peer) } },
                            closed: { loop.execute { streams.value.ended(number, from: peer) } }))
                }
        }
    }

    func stop() {
        host.removeHandler(for: protocolID)
        for peer in Set(outbound.keys).union(inbound.keys) { forget(peer) }
    }

    /// Sends a frame to an admitted peer.
    func send(_ frame: [UInt8], to peer: PeerID) {
        let bytes = Uvarint.encode(UInt64(frame.count)) + frame
        if outbound[peer] == nil { open(to: peer) }
        guard let queued = outbound[peer]?.queued, queued + bytes.count <= Self.maximumQueued else {
            dropped += 1
            return
        }
        outbound[peer]?.queued += bytes.count
        if let channel = outbound[peer]?.channel {
            write(bytes, on: channel, to: peer)
        } else {
            outbound[peer]?.waiting.append(bytes)
        }
    }

    /// The peer was admitted: what it said before counts now.
    func admitted(_ peer: PeerID) {
        for frame in early.removeValue(forKey: peer) ?? [] { received(peer, frame) }
    }

    /// The peer is gone or no longer a member.
    func forget(_ peer: PeerID) {
        early[peer] = nil
        outbound.removeValue(forKey: peer)?.channel?.close(promise: nil)
        for stream in inbound.removeValue(forKey: peer) ?? [] { stream.channel.close(promise: nil) }
    }

    // MARK: outbound

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
                    LedgerFrameDecoder(
                        maximum: 0, frame: { _ in },
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
        while let bytes = outbound[peer]?.waiting.popFirst() { write(bytes, on: channel, to: peer) }
    }

    private func write(_ bytes: [UInt8], on channel: any Channel, to peer: PeerID) {
        let streams = NIOLoopBound(self, eventLoop: host.eventLoop)
        let number = outbound[peer]?.number
        channel.writeAndFlush(ByteBuffer(bytes: bytes)).hop(to: host.eventLoop).whenComplete { _ in
            guard streams.value.outbound[peer]?.number == number else { return }
            streams.value.outbound[peer]?.queued -= bytes.count
        }
    }

    private func lost(_ number: UInt64, to peer: PeerID) {
        guard outbound[peer]?.number == number else { return }
        outbound.removeValue(forKey: peer)?.channel?.close(promise: nil)
    }

    // MARK: inbound

    private func accept(_ channel: any Channel, from peer: PeerID) -> UInt64? {
        let standing = standing(peer)
        guard standing == .admitted || standing == .proving else { return nil }
        number += 1
        inbound[peer, default: []].append((number, channel))
        if let streams = inbound[peer], streams.count > Self.maximumInbound {
            streams[0].channel.close(promise: nil)
            inbound[peer]?.removeFirst()
        }
        return number
    }

    private func frame(_ bytes: [UInt8], from peer: PeerID) {
        switch standing(peer) {
        case .admitted: received(peer, bytes)
        case .proving:
            // Only what opens a comparison can come so early, and that is short.
            guard bytes.count <= 4096, early[peer, default: []].count < Self.maximumEarly else { return }
            early[peer, default: []].append(bytes)
        case .unknown, .stock, .refused, nil: break
        }
    }

    private func ended(_ number: UInt64, from peer: PeerID) {
        inbound[peer]?.removeAll { $0.number == number }
        if inbound[peer]?.isEmpty == true { inbound[peer] = nil }
    }
}
