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
