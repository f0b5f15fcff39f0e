package import LibP2P

/// Who decides the next decree. Few and odd: a majority of three can do without one of them, a majority of four
/// without no more, and of two not without either.
package enum Voters {
    /// The most voters of a decree. Four of them may be gone.
    package static let most = 9

    /// How many of `count` voters decide.
    package static func majority(of count: Int) -> Int { count / 2 + 1 }

    /// The first of `peers`, as many as may be voters: an odd number, at most `most`.
    package static func odd(_ peers: [PeerID]) -> [PeerID] {
        let count = min(peers.count, most)
        return Array(peers.prefix(count - (count % 2 == 0 ? min(1, count) : 0)))
    }

    /// The voters after `former` where nothing is known of who is here: servers in place of others, without those
    /// who are forgotten. Never more than there were, as a new vote is a matter of who is here.
    package static func following(_ former: [PeerID], servers: [PeerID], without gone: Set<PeerID>)
        -> [PeerID]
    {
        let count = max(1, former.count { !gone.contains($0) })
        return odd(Array(ranked(former, servers: servers, without: gone).prefix(count)))
    }

    /// The voters as they should be: the servers, the former voters that are not gone, then `candidates` in their
    /// order. A voter that is gone keeps its vote while nobody can have it.
    /// - Parameters:
    ///   - gone: voters that have been away for so long that they are replaced.
    ///   - forgotten: who has no vote in any case.
    package static func chosen(
        after former: [PeerID], servers: [PeerID], candidates: [PeerID], gone: Set<PeerID>,
        forgotten: Set<PeerID>
    ) -> [PeerID] {
        let staying = former.filter { !gone.contains($0) || servers.contains($0) }
        let known = Set(staying).union(servers)
        let willing = candidates.filter {
            !known.contains($0) && !forgotten.contains($0) && !gone.contains($0)
        }
        let leaving = former.filter { gone.contains($0) && !servers.contains($0) }
        let present = ranked(staying + willing, servers: servers, without: forgotten)
        if present.count >= former.count { return odd(present) }
        // Fewer than there were: whoever is gone may come back, and a smaller number would be no safer.
        return odd(Array((present + leaving.filter { !forgotten.contains($0) }).prefix(max(former.count, 1))))
    }

    /// Bounds of what a decree may name.
    static func areWellFormed(_ voters: [PeerID]) -> Bool {
        voters.count % 2 == 1 && voters.count <= most && Set(voters).count == voters.count
    }

    private static func ranked(_ voters: [PeerID], servers: [PeerID], without gone: Set<PeerID>) -> [PeerID] {
        let serving = servers.filter { !gone.contains($0) }
        return serving + voters.filter { !serving.contains($0) && !gone.contains($0) }
    }
}
