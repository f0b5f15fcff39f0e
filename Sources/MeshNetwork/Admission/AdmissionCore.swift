package import LibP2P
internal import OrderedCollections
package import Timing

/// Which peers have proved that they know the network token, and whom to ask for a proof.
///
/// Both ends of a new connection could open the exchange; the one with the lesser peer ID does so at
/// once, and the other only when nothing came of it, so that one run is the rule.
package struct AdmissionCore: Sendable {
    package enum Input: Sendable {
        case connected(PeerID)
        case disconnected(PeerID)
        /// Identify says whether the peer speaks the protocol.
        case identified(PeerID, speaksAdmission: Bool)
        /// A run on one of the peer's streams has ended so.
        case admitted(PeerID)
        case refused(PeerID, AdmissionExchange.Refusal)
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Open a stream to the peer and run the exchange as its opener.
        case open(PeerID)
        case admitted(PeerID)
        case dismissed(PeerID)
        /// The peer has failed too often: close its connections.
        case disconnect(PeerID)
    }

    private struct Candidate {
        var speaks = false
        var openAt: Instant?
        var failures = 0
    }

    /// How long the end with the greater peer ID waits for the other to begin, and either end before
    /// it tries again.
    package static let patience = Duration.seconds(2)
    /// After how many failed runs a connection is closed.
    package static let mostFailures = 3
    /// How many peers that failed are remembered between their connections.
    private static let mostRemembered = 1024

    private let localPeer: PeerID
    private var candidates: [PeerID: Candidate] = [:]
    private var failed: OrderedDictionary<PeerID, Int> = [:]
    /// The peers that have proved themselves and are connected.
    package private(set) var admitted: Set<PeerID> = []
    /// How many runs have failed since the start.
    package private(set) var refusals = 0

    package init(localPeer: PeerID) {
        self.localPeer = localPeer
    }

    /// When `.tick` is wanted.
    package var nextDeadline: Instant? { candidates.values.compactMap(\.openAt).min() }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .connected(let peer):
            guard !admitted.contains(peer), candidates[peer] == nil else { return [] }
            // Who was sent away before gets one try a connection.
            candidates[peer] = Candidate(failures: min(failed[peer] ?? 0, Self.mostFailures - 1))
            return []
        case .disconnected(let peer):
            candidates[peer] = nil
            return admitted.remove(peer) == nil ? [] : [.dismissed(peer)]
        case .identified(let peer, let speaks):
            guard var candidate = candidates[peer], candidate.speaks != speaks else { return [] }
            candidate.speaks = speaks
            candidate.openAt = speaks ? (localPeer < peer ? now : now + Self.patience) : nil
            candidates[peer] = candidate
            return openDue(at: now)
        case .admitted(let peer):
            guard candidates.removeValue(forKey: peer) != nil else { return [] }
            failed[peer] = nil
            return admitted.insert(peer).inserted ? [.admitted(peer)] : []
        case .refused(let peer, _):
            refusals += 1
            if failed.count >= Self.mostRemembered, failed[peer] == nil { failed.removeFirst() }
            failed[peer, default: 0] += 1
            guard var candidate = candidates[peer] else { return [] }
            candidate.failures += 1
            guard candidate.failures < Self.mostFailures else {
                candidates[peer] = nil
                return [.disconnect(peer)]
            }
            candidate.openAt = candidate.speaks ? now + Self.patience * candidate.failures : nil
            candidates[peer] = candidate
            return []
        case .tick:
            return openDue(at: now)
        }
    }

    private mutating func openDue(at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        for (peer, candidate) in candidates {
            guard let due = candidate.openAt, now >= due else { continue }
            candidates[peer]?.openAt = now + Self.patience * 4
            effects.append(.open(peer))
        }
        return effects
    }
}
