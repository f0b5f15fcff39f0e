package import LibP2P

/// A server, as a decree names it.
package struct ElectedServer: Hashable, Sendable {
    package let peer: PeerID
    /// The Kairos UUID that the server had when it was chosen.
    package let uuid: String

    package init(peer: PeerID, uuid: String) {
        self.peer = peer
        self.uuid = uuid
    }
}

/// The cluster, as the members have agreed on it: who founded it, whether it runs, who its servers are.
///
/// Decrees are numbered, and each number is decided once. The newest one counts. So a change of the
/// cluster is a decision like its founding, and two changes that exclude each other, such as "the cluster
/// runs" and "it is founded anew", compete for one number, of which only one can win.
package struct Decree: Hashable, Sendable {
    /// Counts the decrees of the network, from 1.
    package let number: UInt64
    /// Counts the foundings of the network, from 1.
    package let epoch: UInt64
    /// Who founded the cluster of this epoch.
    package let founder: ElectedServer
    /// Whether the founder's K3s has been ready. Before that nobody joins, so nothing is lost when
    /// another founder is chosen; after it only an operator's word begins another epoch.
    package let isRunning: Bool
    /// The servers, in the order in which they were chosen; never empty.
    package let servers: [ElectedServer]
    /// The nodes that are gone until they come back, in the order in which they were forgotten: their votes
    /// do not count, and they serve no more.
    package let forgotten: [PeerID]
    /// How many members decide what comes after this decree. It was `p2p.minimum_nodes` at the founding
    /// and changes by decree only, or two halves of the network could count by different measures.
    package let quorum: Int

    /// The most servers that a cluster has.
    package static let mostServers = 128
    /// How many forgotten nodes are remembered; the oldest make room.
    package static let mostForgotten = 512

    package init(
        number: UInt64, epoch: UInt64, founder: ElectedServer, isRunning: Bool, servers: [ElectedServer],
        forgotten: [PeerID], quorum: Int
    ) {
        self.number = number
        self.epoch = epoch
        self.founder = founder
        self.isRunning = isRunning
        self.servers = servers
        self.forgotten = forgotten
        self.quorum = quorum
    }

    /// The network's first decree: `founder` founds the cluster.
    package static func founding(_ founder: ElectedServer, quorum: Int) -> Decree {
        Decree(
            number: 1, epoch: 1, founder: founder, isRunning: false, servers: [founder], forgotten: [],
            quorum: quorum)
    }

    /// The founder's K3s is ready: others may join.
    package var running: Decree { next(isRunning: true) }

    /// Another founding, by `founder`: the cluster so far is given up.
    package func refounded(by founder: ElectedServer) -> Decree {
        Decree(
            number: number &+ 1, epoch: epoch &+ 1, founder: founder, isRunning: false, servers: [founder],
            forgotten: forgotten.filter { $0 != founder.peer }, quorum: quorum)
    }

    /// One more server.
    package func adding(_ server: ElectedServer) -> Decree { next(servers: servers + [server]) }

    /// `peers` are gone for good and serve no more; nil when no server would be left.
    package func forgetting(_ peers: Set<PeerID>) -> Decree? {
        let left = servers.filter { !peers.contains($0.peer) }
        guard !left.isEmpty else { return nil }
        let added = peers.subtracting(forgotten).sorted()
        return next(servers: left, forgotten: Array((forgotten + added).suffix(Self.mostForgotten)))
    }

    /// `peer` is back: it is a member again, without a server's role. Nil when it was not forgotten.
    package func recalling(_ peer: PeerID) -> Decree? {
        guard isForgotten(peer) else { return nil }
        return next(forgotten: forgotten.filter { $0 != peer })
    }

    /// More members must agree from now on.
    package func raising(quorum: Int) -> Decree { next(quorum: quorum) }

    private func next(
        isRunning: Bool? = nil, servers: [ElectedServer]? = nil, forgotten: [PeerID]? = nil,
        quorum: Int? = nil
    ) -> Decree {
        Decree(
            number: number &+ 1, epoch: epoch, founder: founder, isRunning: isRunning ?? self.isRunning,
            servers: servers ?? self.servers, forgotten: forgotten ?? self.forgotten,
            quorum: quorum ?? self.quorum)
    }

    /// Whether this decree can come after `previous`: exactly one thing is changed. All members know the
    /// same predecessor, so all of them judge alike.
    package func follows(_ previous: Decree?) -> Bool {
        guard isWellFormed else { return false }
        guard let previous else { return self == .founding(founder, quorum: quorum) }
        let (nextNumber, overflow) = previous.number.addingReportingOverflow(1)
        guard !overflow, number == nextNumber else { return false }
        if epoch != previous.epoch { return self == previous.refounded(by: founder) }
        if self == previous.running { return !previous.isRunning }
        if quorum != previous.quorum {
            return quorum > previous.quorum && self == previous.raising(quorum: quorum)
        }
        if let last = servers.last, self == previous.adding(last) {
            return previous.isRunning && !previous.isForgotten(last.peer)
        }
        if let back = previous.forgotten.first(where: { !isForgotten($0) }), self == previous.recalling(back)
        {
            return true
        }
        let gone = Set(forgotten).subtracting(previous.forgotten)
        return !gone.isEmpty && self == previous.forgetting(gone)
    }

    /// Bounds, and what no decree ever says, whatever came before it.
    package var isWellFormed: Bool {
        number >= 1 && epoch >= 1 && epoch <= number
            && (1...Self.mostServers).contains(servers.count)
            && Set(servers.map(\.peer)).count == servers.count
            && forgotten.count <= Self.mostForgotten && Set(forgotten).count == forgotten.count
            && servers.allSatisfy { $0.uuid.utf8.count <= Self.longestUUID && !isForgotten($0.peer) }
            && founder.uuid.utf8.count <= Self.longestUUID
            && (1...DecreeCertificate.mostAccepts).contains(quorum)
    }

    /// Whether this decree can come later than `earlier`, any number of decrees between them: it is of the
    /// same founding or of a later one.
    package func descends(from earlier: Decree) -> Bool {
        guard number > earlier.number else { return false }
        if number == earlier.number &+ 1 { return follows(earlier) }
        return epoch > earlier.epoch || (epoch == earlier.epoch && founder == earlier.founder)
    }

    /// The longest UUID, in UTF-8 bytes.
    package static let longestUUID = 512

    package func isForgotten(_ peer: PeerID) -> Bool { forgotten.contains(peer) }

    /// Whether `peer` is one of the servers.
    package func isServer(_ peer: PeerID) -> Bool { servers.contains { $0.peer == peer } }
}
