package import LibP2P

/// Whose accepts decide a decree, and how many of them.
package enum Electorate: Hashable, Sendable {
    /// The founding: any members, `quorum` of them (`p2p.minimum_nodes`). Nobody has named anyone yet.
    case members(quorum: Int)
    /// Every later decree: a majority of the voters that the decree before it has named.
    case voters([PeerID])
    /// After a majority of the voters was lost for good: every one of these nodes, on each of which an operator
    /// has said so. Sorted.
    case recovered([PeerID])

    /// How many accepts decide.
    package var needed: Int {
        switch self {
        case .members(let quorum): quorum
        case .voters(let voters): Voters.majority(of: voters.count)
        case .recovered(let nodes): nodes.count
        }
    }

    /// Whether the word of `peer` counts.
    package func includes(_ peer: PeerID) -> Bool {
        switch self {
        case .members: true
        case .voters(let peers), .recovered(let peers): peers.contains(peer)
        }
    }

    /// Those who are named, or nil where nobody is.
    package var named: [PeerID]? {
        switch self {
        case .members: nil
        case .voters(let peers), .recovered(let peers): peers
        }
    }

    /// Bounds, whatever it is for.
    var isWellFormed: Bool {
        switch self {
        case .members(let quorum): (1...DecreeCertificate.mostAccepts).contains(quorum)
        case .voters(let voters): Voters.areWellFormed(voters)
        case .recovered(let nodes):
            (1...DecreeCertificate.mostAccepts).contains(nodes.count) && nodes == nodes.sorted()
                && Set(nodes).count == nodes.count
        }
    }
}
