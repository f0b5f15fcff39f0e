/// Why the swarm could not do what it was asked.
package enum SwarmError: Error, Hashable, Sendable, CustomStringConvertible {
    /// There is no connection to the peer; dial it.
    case notConnected
    /// The peer is this node itself.
    case dialToSelf
    /// No address is known that this node can dial and may dial.
    case noDialableAddress
    /// Every address failed not long ago; the next attempt is allowed after this time.
    case backingOff(Duration)
    /// Every address failed; the reasons by address.
    case dialFailed([String])
    /// A limit of ours is reached; the text names it.
    case limitReached(String)
    /// The connection was refused by the gater or closed as surplus.
    case refused(String)
    /// The peer speaks none of the protocols.
    case noCommonProtocol([ProtocolID])
    /// The other end proved to be another peer than the one meant.
    case wrongPeer(expected: String, actual: String)
    /// Something took longer than it may; the text names it.
    case timedOut(String)
    /// The address cannot be listened on or dialled; the text says why.
    case invalidAddress(String)
    /// The swarm has been shut down.
    case shutDown

    package var description: String {
        switch self {
        case .notConnected: "not connected to the peer"
        case .dialToSelf: "the peer is this node itself"
        case .noDialableAddress: "no address of the peer can be dialled"
        case .backingOff(let wait): "every address failed lately, the next attempt is in \(wait)"
        case .dialFailed(let reasons): "every address failed: \(reasons.joined(separator: "; "))"
        case .limitReached(let name): "limit reached: \(name)"
        case .refused(let reason): "refused: \(reason)"
        case .noCommonProtocol(let protocols):
            "the peer speaks none of \(protocols.map(\.rawValue).joined(separator: ", "))"
        case .wrongPeer(let expected, let actual): "expected peer \(expected) but \(actual) answered"
        case .timedOut(let name): "timed out: \(name)"
        case .invalidAddress(let reason): "invalid address: \(reason)"
        case .shutDown: "the swarm is shut down"
        }
    }
}
