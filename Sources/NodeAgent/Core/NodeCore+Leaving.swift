package import Coordination
internal import Ledger
package import LibP2P
internal import Timing
internal import VPN

extension NodeCore {
    /// Whether this node left the cluster, and the members have agreed to it. It does not come back under this
    /// identity.
    var hasLeft: Bool {
        election.hasLeft && election.decree?.isForgotten(localPeer) ?? false
    }

    /// As long as the others may take to take a server out of etcd that they have forgotten, a restart of theirs
    /// included.
    private static var longestDeparture: Duration { .seconds(120) }

    /// Whether this node is a server that the members have forgotten and that goes on for now, with its K3s and
    /// its address: of two members of an etcd the one that stays cannot take the other out once that has
    /// stopped. Being out ends its K3s (contract/k3s.md §11.2).
    mutating func departs(at now: Instant) -> Bool {
        guard case .forgotten = plan else {
            departure = nil
            return false
        }
        if let assignment, assignment.role != .agent, k3s.isVoter != nil {
            departure = now + Self.longestDeparture
        }
        guard let end = departure, k3s.isReady, now < end else {
            departure = nil
            return false
        }
        return true
    }

    /// Gives up what this node held in the network, once: its address, which others may take, and the keys by
    /// which stock tools know it.
    mutating func release(at now: Instant, _ effects: inout [Effect]) {
        guard !hasReleased else { return }
        hasReleased = true
        claimStep(.release, at: now, &effects)
        for key in [LedgerKeys.address, LedgerKeys.role, LedgerKeys.advertisement].map({
            $0(configuration.uuid)
        }) {
            effects.append(.delete(EntryID(bucket: configuration.networkID, key: key)))
        }
    }

    /// The nodes that the members have agreed are gone, and what is known of them.
    package var forgotten: [PeerID: MemberCard?] {
        var cards: [PeerID: MemberCard?] = [:]
        for peer in election.decree?.forgotten ?? [] {
            cards.updateValue(election.card(of: peer), forKey: peer)
        }
        return cards
    }
}
