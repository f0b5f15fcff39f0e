package import LibP2P
internal import Timing

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

/// The cluster, as the members have agreed on it: who founded it, whether it runs, who its servers are, and
/// who decides what comes next.
///
/// Decrees are numbered, and each number is decided once. The newest one counts. So a change of the
/// cluster is a decision like its founding, and two changes that exclude each other, such as "the cluster
/// runs" and "it is founded anew", compete for one number, of which only one can win.
package struct Decree: Hashable, Sendable {
    /// Counts the decrees of the network, from 1 to `WireCounter.greatest`.
    package let number: UInt64
    /// Counts the foundings of the network, from 1; never more than `number`.
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
    /// Who decides the decree after this one, by majority: the servers first, then other members. An odd
    /// number, at most `Voters.most`. In a decree of former builds, which named none, its servers.
    package let voters: [PeerID]
    /// In a decree of former builds, how many members of any kind decided what came after it; nil in all others.
    package let formerQuorum: Int?

    /// The most servers that a cluster has.
    package static let mostServers = 128
    /// How many forgotten nodes are remembered; the oldest make room.
    package static let mostForgotten = 512

    package init(
        number: UInt64, epoch: UInt64, founder: ElectedServer, isRunning: Bool, servers: [ElectedServer],
        forgotten: [PeerID], voters: [PeerID]
    ) {
        self.number = number
        self.epoch = epoch
        self.founder = founder
        self.isRunning = isRunning
        self.servers = servers
        self.forgotten = forgotten
        self.voters = voters
        self.formerQuorum = nil
    }

    /// A decree of former builds: any `formerQuorum` members decided what came after it. What comes after it
    /// now is decided by its servers, the only keys that it names.
    package init(
        number: UInt64, epoch: UInt64, founder: ElectedServer, isRunning: Bool, servers: [ElectedServer],
        forgotten: [PeerID], formerQuorum: Int
    ) {
        self.number = number
        self.epoch = epoch
        self.founder = founder
        self.isRunning = isRunning
        self.servers = servers
        self.forgotten = forgotten
        self.voters = Voters.odd(servers.map(\.peer))
        self.formerQuorum = formerQuorum
    }

    /// The network's first decree: `founder` founds the cluster.
    package static func founding(_ founder: ElectedServer, voters: [PeerID]) -> Decree {
        Decree(
            number: 1, epoch: 1, founder: founder, isRunning: false, servers: [founder], forgotten: [],
            voters: voters)
    }

    /// The founder's K3s is ready: others may join.
    package var running: Decree { next(isRunning: true) }

    /// Another founding, by `founder`: the cluster so far is given up. The founder takes a voter's place, if it
    /// is none.
    package func refounded(by founder: ElectedServer) -> Decree {
        let forgotten = forgotten.filter { $0 != founder.peer }
        return Decree(
            number: number + 1, epoch: epoch + 1, founder: founder, isRunning: false, servers: [founder],
            forgotten: forgotten,
            voters: Voters.following(voters, servers: [founder.peer], without: Set(forgotten)))
    }

    /// One more server. It takes the place of a voter that is none.
    package func adding(_ server: ElectedServer) -> Decree { next(servers: servers + [server]) }

    /// `peers` are gone for good, and serve and vote no more; nil when no server would be left.
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

    /// Nothing changes but who decides.
    package func naming(voters: [PeerID]) -> Decree { next().with(voters: voters) }

    /// The same with other voters: any decree may name those who decide the next one.
    package func with(voters: [PeerID]) -> Decree {
        Decree(
            number: number, epoch: epoch, founder: founder, isRunning: isRunning, servers: servers,
            forgotten: forgotten, voters: voters)
    }

    private func next(
        isRunning: Bool? = nil, servers: [ElectedServer]? = nil, forgotten: [PeerID]? = nil
    ) -> Decree {
        let servers = servers ?? self.servers
        let forgotten = forgotten ?? self.forgotten
        return Decree(
            number: number + 1, epoch: epoch, founder: founder, isRunning: isRunning ?? self.isRunning,
            servers: servers, forgotten: forgotten,
            voters: Voters.following(voters, servers: servers.map(\.peer), without: Set(forgotten)))
    }

    /// Whether this decree can come after `previous`: exactly one thing is changed, and the voters perhaps. All
    /// members know the same predecessor, so all of them judge alike.
    package func follows(_ previous: Decree?) -> Bool {
        guard isWellFormed, formerQuorum == nil else { return false }
        guard let previous else {
            return self == .founding(founder, voters: voters) && voters.contains(founder.peer)
        }
        guard WireCounter(previous.number)?.next?.value == number else { return false }
        func isLike(_ decree: Decree) -> Bool { self == decree.with(voters: voters) }
        if epoch != previous.epoch {
            return isLike(previous.refounded(by: founder)) && voters.contains(founder.peer)
        }
        if isLike(previous.next()) { return voters != previous.voters || previous.formerQuorum != nil }
        if isLike(previous.running) { return !previous.isRunning }
        if let last = servers.last, isLike(previous.adding(last)) {
            return previous.isRunning && !previous.isForgotten(last.peer)
        }
        if let back = previous.forgotten.first(where: { !isForgotten($0) }),
            previous.recalling(back).map(isLike) ?? false
        {
            return true
        }
        let gone = Set(forgotten).subtracting(previous.forgotten)
        return !gone.isEmpty && previous.forgetting(gone).map(isLike) ?? false
    }

    /// Bounds, and what no decree ever says, whatever came before it.
    package var isWellFormed: Bool {
        number >= 1 && epoch >= 1 && epoch <= number && WireCounter(number) != nil
            && (1...Self.mostServers).contains(servers.count)
            && Set(servers.map(\.peer)).count == servers.count
            && forgotten.count <= Self.mostForgotten && Set(forgotten).count == forgotten.count
            && servers.allSatisfy { $0.uuid.utf8.count <= Self.longestUUID && !isForgotten($0.peer) }
            && founder.uuid.utf8.count <= Self.longestUUID
            && Voters.areWellFormed(voters) && !voters.contains(where: isForgotten)
            && formerQuorum.map { (1...DecreeCertificate.mostAccepts).contains($0) } ?? true
    }

    /// Whether this decree can come later than `earlier`, any number of decrees between them: it is of the
    /// same founding or of a later one.
    package func descends(from earlier: Decree) -> Bool {
        guard number > earlier.number else { return false }
        if number == earlier.number + 1, formerQuorum == nil { return follows(earlier) }
        return epoch > earlier.epoch || (epoch == earlier.epoch && founder == earlier.founder)
    }

    /// The longest UUID, in UTF-8 bytes.
    package static let longestUUID = 512

    package func isForgotten(_ peer: PeerID) -> Bool { forgotten.contains(peer) }

    /// Whether `peer` has a vote on the next decree.
    package func isVoter(_ peer: PeerID) -> Bool { voters.contains(peer) }

    /// Whether `peer` is one of the servers.
    package func isServer(_ peer: PeerID) -> Bool { servers.contains { $0.peer == peer } }
}
