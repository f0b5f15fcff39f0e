package import Coordination
internal import Ledger
package import LibP2P
internal import Timing
internal import VPN

extension NodeCore {
    /// How long a server that the members have forgotten goes on, with its K3s and its address.
    enum Departure: Hashable, Sendable {
        /// It is none, or it is out of etcd.
        case none
        /// Until it is out: the one server that stays cannot go on before that.
        case untilOut
        /// Until it is out, or then: the others can go on without it.
        case until(Instant)
        /// It has had its time.
        case over

        var deadline: Instant? {
            if case .until(let end) = self { return end }
            return nil
        }
    }

    /// Whether this node left the cluster, and the members have agreed to it. It does not come back under this
    /// identity.
    var hasLeft: Bool {
        election.hasLeft && election.decree?.isForgotten(localPeer) ?? false
    }

    /// Whether it goes on for now as a server that the members have forgotten.
    package var isDeparting: Bool { departure != .none && departure != .over }

    /// As long as the others may take to take a server out of etcd that they have forgotten, a restart of theirs
    /// included.
    private static var longestDeparture: Duration { .seconds(120) }

    /// Whether this node is a server that the members have forgotten and that goes on for now, with its K3s and
    /// its address: of two members of an etcd the one that stays cannot take the other out once that has
    /// stopped. What it goes by is on its disk, so a restart in between changes nothing. Being out ends its K3s
    /// (contract/k3s.md §11.2).
    mutating func departs(at now: Instant) -> Bool {
        guard case .forgotten(let certificate) = plan, k3s.isMember == true,
            k3s.epoch == certificate.decree.epoch
        else {
            departure = .none
            return false
        }
        if certificate.decree.servers.count == 1 {
            departure = .untilOut
            return true
        }
        switch departure {
        case .none, .untilOut: departure = .until(now + Self.longestDeparture)
        case .until(let end): if now >= end { departure = .over }
        case .over: break
        }
        return departure != .over
    }

    /// What K3s is on a server that goes: what it was, or, after a restart of the agent, a server that joins
    /// those that stay. Nil while that is not known.
    var departingAssignment: K3sAssignment? {
        if var assignment, assignment.role != .agent, assignment.epoch == election.decree?.epoch {
            assignment.isDeparting = true
            return assignment
        }
        guard let (address, hostInterface) = kubernetesAddress, let decree = election.decree,
            let facts = serverFacts.first ?? ownFacts
        else { return nil }
        var assignment = K3sAssignment(
            role: .server, epoch: decree.epoch, address: address, hostInterface: hostInterface,
            apiAddress: configuration.apiAddress, joinURL: joinURL(through: facts), token: facts.token,
            highAvailability: true)
        assignment.isDeparting = true
        return assignment
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
        // Who was away meanwhile holds the address for this node's as long as it is here, unless it says so.
        effects.append(.delete(EntryID(.healthcheck, LedgerText(localPeer.description))))
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
