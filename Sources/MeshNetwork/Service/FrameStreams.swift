internal import LibP2P
internal import Multiformats

/// Frames of one protocol, such as `/kairos/ledger/1.0.0`, to and from members of the room. Belongs to the host's event loop.
final class FrameStreams {
    static let ledger: ProtocolID = "/kairos/ledger/1.0.0"
    static let links: ProtocolID = "/kairos/links/1.0.0"
    /// Bytes that wait to be sent to all peers, in both protocols; frames beyond are dropped, and the next
    /// comparison brings them.
    static let maximumQueued = 8 << 20
    /// Frames that are kept for a peer that admitted us before we admitted it.
    private static let maximumEarly = 8

    private let host: any Host
    private let protocolID: ProtocolID
    private let maximumLength: Int
    /// Whether a peer's frames are wanted now, may be wanted soon, or never.
    private let standing: (PeerID) -> Admission.Standing?
    private let received: (PeerID, [UInt8]) -> Void
    private let pool: OutboundPool
    private var early: [PeerID: [[UInt8]]] = [:]
    private lazy var streams = PeerStreams(
        host: host, protocolID: protocolID, framing: .lengthPrefixed(maximum: maximumLength),
        backlog: .pool(pool),
        accepts: { [unowned self] peer in
            let standing = standing(peer)
            return standing == .admitted || standing == .proving
        },
        received: { [unowned self] peer, bytes in frame(bytes, from: peer) })

    init(
        host: any Host, protocolID: ProtocolID, maximumLength: Int, pool: OutboundPool,
        standing: @escaping (PeerID) -> Admission.Standing?,
        received: @escaping (PeerID, [UInt8]) -> Void
    ) {
        self.host = host
        self.protocolID = protocolID
        self.maximumLength = maximumLength
        self.pool = pool
        self.standing = standing
        self.received = received
    }

    var dropped: Int { streams.dropped }

    func start() { streams.start() }

    func stop() {
        streams.stop()
        early.removeAll()
    }

    /// Sends a frame to an admitted peer.
    func send(_ frame: [UInt8], to peer: PeerID) { streams.send(frame, to: peer) }

    /// The peer was admitted: what it said before counts now.
    func admitted(_ peer: PeerID) {
        for frame in early.removeValue(forKey: peer) ?? [] { received(peer, frame) }
    }

    /// The peer is gone or no longer a member.
    func forget(_ peer: PeerID) {
        early[peer] = nil
        streams.forget(peer)
    }

    private func frame(_ bytes: [UInt8], from peer: PeerID) {
        switch standing(peer) {
        case .admitted: received(peer, bytes)
        case .proving:
            // Only what opens a comparison can come so early, and that is short.
            guard bytes.count <= 4096, early[peer, default: []].count < Self.maximumEarly else { return }
            early[peer, default: []].append(bytes)
        case .unknown, .visitor, .stock, .refused, nil: break
        }
    }
}
