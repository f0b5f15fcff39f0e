internal import Coordination
internal import LibP2P
internal import Multiformats
internal import Timing

/// Messages of `/kairos/lease/1.0.0` to and from other servers. Belongs to the host's event loop.
final class LeaseStreams {
    static let protocolID: ProtocolID = "/kairos/lease/1.0.0"
    /// Messages that wait for a stream to one peer; older ones say nothing that newer ones do not.
    private static let mostWaiting = 8
    /// What one peer may say: a holder sends some two messages a second.
    private static let burst = 60
    private static let perSecond = 30.0

    private let host: any Host
    private let time: any TimeSource
    private let isAdmitted: (PeerID) -> Bool
    private let received: (PeerID, LeaseMessage) -> Void
    private var budgets: [PeerID: TokenBucket] = [:]
    private lazy var streams = PeerStreams(
        host: host, protocolID: Self.protocolID, framing: .fixed(LeaseMessage.length),
        backlog: .latest(Self.mostWaiting), isMessage: { LeaseMessage($0) != nil }, accepts: isAdmitted,
        received: { [unowned self] peer, bytes in
            if let message = LeaseMessage(bytes) { heard(message, from: peer) }
        })

    init(
        host: any Host, time: any TimeSource, isAdmitted: @escaping (PeerID) -> Bool,
        received: @escaping (PeerID, LeaseMessage) -> Void
    ) {
        self.host = host
        self.time = time
        self.isAdmitted = isAdmitted
        self.received = received
    }

    func start() { streams.start() }

    func stop() {
        streams.stop()
        budgets.removeAll()
    }

    /// Closes the streams of all peers but these.
    func retain(_ peers: Set<PeerID>) {
        for peer in streams.peers.subtracting(peers) { streams.forget(peer) }
        budgets = budgets.filter { peers.contains($0.key) }
    }

    func send(_ message: LeaseMessage, to peer: PeerID) {
        if isAdmitted(peer) { streams.send(message.bytes, to: peer) }
    }

    private func heard(_ message: LeaseMessage, from peer: PeerID) {
        guard isAdmitted(peer) else { return }
        let now = time.now()
        var budget =
            budgets[peer] ?? TokenBucket(capacity: Self.burst, refillPerSecond: Self.perSecond, at: now)
        let isWithin = budget.take(at: now)
        budgets[peer] = budget
        if isWithin { received(peer, message) }
    }
}
