internal import Multiformats

/// What this node says of itself, and to which peers which state of it has been said. Pure: the
/// swarm's driver asks it what to send.
struct IdentifyState {
    static let identify: ProtocolID = "/ipfs/id/1.0.0"
    static let push: ProtocolID = "/ipfs/id/push/1.0.0"

    private let publicKey: [UInt8]
    private let agentVersion: String
    /// Sorted, so that equal states are equal messages.
    private(set) var protocols: [ProtocolID] = []
    private(set) var listenAddresses: [Multiaddr] = []
    /// Grows with every change.
    private(set) var version: UInt64 = 0
    private var told: [PeerID: UInt64] = [:]

    init(publicKey: [UInt8], agentVersion: String) {
        self.publicKey = publicKey
        self.agentVersion = agentVersion
    }

    /// Sets what is served; true when that is a change.
    mutating func setProtocols(_ names: Set<ProtocolID>) -> Bool {
        let sorted = names.sorted { $0.rawValue < $1.rawValue }
        guard sorted != protocols else { return false }
        protocols = sorted
        version += 1
        return true
    }

    /// Sets where this node listens; true when that is a change.
    mutating func setListenAddresses(_ addresses: [Multiaddr]) -> Bool {
        guard addresses != listenAddresses else { return false }
        listenAddresses = addresses
        version += 1
        return true
    }

    /// The message for a peer at the other end of a connection to `remoteAddress`: loopback addresses
    /// are for loopback connections alone (contract/wire.md D.5). No signed record goes along: it is
    /// optional, and what it adds, proof of the addresses towards third parties, nobody asks for.
    func message(over remoteAddress: Multiaddr) -> IdentifyMessage {
        let isLoopback = remoteAddress.reach == .loopback
        var message = IdentifyMessage()
        message.publicKey = publicKey
        message.listenAddresses = listenAddresses.filter { isLoopback || $0.reach != .loopback }.map(\.bytes)
        message.protocols = protocols
        message.observedAddress = remoteAddress.bytes
        message.protocolVersion = ""
        message.agentVersion = agentVersion
        return message
    }

    /// Notes that the peer has been told the present state.
    mutating func noteTold(_ peer: PeerID) {
        told[peer] = version
    }

    /// Whether the peer does not know the present state.
    func isStale(_ peer: PeerID) -> Bool {
        told[peer] != version
    }

    /// The peer is gone.
    mutating func forget(_ peer: PeerID) {
        told[peer] = nil
    }
}
