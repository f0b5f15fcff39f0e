package import LibP2P

/// What a member says of itself in its election register.
package struct MemberCard: Hashable, Sendable {
    /// The Kairos UUID, `<machine-id>-<hostname>`: the label that stock tools know the node by.
    package let uuid: String
    /// The node's host name, for people.
    package let name: String
    /// `p2p.role` of its cloud-config, or nil when the network may choose.
    package let forcedRole: ForcedRole?

    package init(uuid: String, name: String, forcedRole: ForcedRole?) {
        self.uuid = uuid
        self.name = name
        self.forcedRole = forcedRole
    }
}

/// A role that the cloud-config fixes (`p2p.role`, contract/kairos.md §1.1).
package enum ForcedRole: String, Hashable, Sendable {
    case master
    case worker
}

/// The order in which members are preferred as the founder.
package enum CandidateOrder {
    /// The eligible `members`, most preferred first: those with a forced `master` role, then by
    /// EdgeVPN's leader rule, the greatest 32-bit FNV-1a hash of the UUID (contract/wire.md L.2).
    /// Members with a forced `worker` role never found. Ties are broken by peer ID, so that every
    /// member computes the same order.
    package static func candidates(among members: [PeerID: MemberCard]) -> [PeerID] {
        members.filter { $0.value.forcedRole != .worker }.sorted { precedes($0, $1) }.map(\.key)
    }

    /// All `members` in the order in which they should try to drive the election. It differs from
    /// the candidates' order in that forced workers come last instead of never.
    package static func proposers(among members: [PeerID: MemberCard]) -> [PeerID] {
        let eligible = candidates(among: members)
        let rest = members.filter { $0.value.forcedRole == .worker }.sorted { precedes($0, $1) }.map(\.key)
        return eligible + rest
    }

    private static func precedes(
        _ left: (key: PeerID, value: MemberCard), _ right: (key: PeerID, value: MemberCard)
    ) -> Bool {
        let leftForced = left.value.forcedRole == .master
        let rightForced = right.value.forcedRole == .master
        if leftForced != rightForced { return leftForced }
        let leftHash = fnv1a(left.value.uuid)
        let rightHash = fnv1a(right.value.uuid)
        if leftHash != rightHash { return leftHash > rightHash }
        return right.key < left.key
    }

    /// The 32-bit FNV-1a hash of the UTF-8 text.
    package static func fnv1a(_ text: String) -> UInt32 {
        var hash: UInt32 = 0x811c_9dc5
        for byte in text.utf8 {
            hash ^= UInt32(byte)
            hash &*= 0x0100_0193
        }
        return hash
    }
}
