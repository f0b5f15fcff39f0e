import Coordination
import K3s
import LibP2P
import NodeAgent
import Timing

/// The promises about several servers: how many there are, who holds the API address, who restarts.
extension World {
    // MARK: who serves

    /// A node acts on `decree`: no more servers than asked for, and one after the other.
    mutating func checkServers(_ decree: Decree) {
        let asked = machines.compactMap(\.additionalServers).max()
        let masters = scenario.forced.values.count { $0 == .master }
        let most = asked.map { 1 + $0 + masters } ?? 1
        if decree.servers.count > most {
            violate(.askedServers, "decree \(decree.number) has \(decree.servers.count) servers of \(most)")
        }
        guard let previous = decrees[decree.number &- 1]?.first, let last = decree.servers.last,
            decree == previous.adding(last)
        else { return }
        for server in previous.servers where server.peer != decree.founder.peer {
            guard let name = nodeNames[server.peer], !everVoters.contains(name) else { continue }
            violate(.oneAfterTheOther, "decree \(decree.number) adds a server before \(name) had a vote")
        }
    }

    /// A node acts on it that `peer` has no part in the cluster any more.
    mutating func checkForgotten(_ peer: PeerID, by index: Int) {
        guard machines[index].disk.election?.certificate?.decree.isForgotten(peer) != true else { return }
        violate(.certifiedRole, "n\(index) treats a member as gone that nobody has forgotten")
    }

    // MARK: the API address

    /// Something about the lease of machine `index` has changed.
    mutating func checkHolders(_ index: Int) {
        guard holdsAPI(index), let servers = machines[index].agent?.lease.servers else { return }
        if !servers.members.contains(machines[index].peer) {
            violate(.oneAPIHolder, "n\(index) holds the API address and is no server")
        }
        for other in machines.indices
        where other != index && machines[other].peer != machines[index].peer && holdsAPI(other) {
            guard let others = machines[other].agent?.lease.servers else { continue }
            // The members have agreed that one of them is gone, and it does not know yet: it is cut off.
            let (older, newer) = servers.number < others.number ? (index, others) : (other, servers)
            if servers.number != others.number, !newer.members.contains(machines[older].peer) { continue }
            violate(.oneAPIHolder, "n\(index) and n\(other) hold the API address")
        }
    }

    /// How long a server whose K3s does not work may hold the API address: two questions 2 s apart have to
    /// fail, and the first comes within 2 s. On a machine whose agent stands still the lease runs out.
    private static let patienceWithIll = Duration.milliseconds(4600)

    /// Looks at what the servers hold although they should not.
    mutating func lookAtServers() {
        for index in machines.indices {
            guard machines[index].agent != nil, holdsAPI(index), !serves(index) else {
                illSince[index] = nil
                continue
            }
            // An agent that stands still asks nothing; while it does, its lease runs out.
            let since = machines[index].frozenUntil > now ? now : illSince[index] ?? now
            illSince[index] = since
            guard machines[index].lag == .zero, now - since > Self.patienceWithIll else { continue }
            violate(.healthyHolder, "n\(index) holds the API address and its K3s is ill since \(since)")
        }
    }

    // MARK: restarts

    /// The agent of machine `index` restarts a server that runs.
    mutating func checkRestart(of index: Int) {
        let k3s = machines[index].k3s
        guard let process = k3s.process, process.command == .server, process.isReady,
            let number = k3s.datastore, clusters[number].isEtcd
        else { return }
        for other in machines.indices where other != index {
            guard machines[other].k3s.datastore == number, !machines[other].isGone,
                let start = machines[other].restarting, machines[other].k3s.process?.number == start
            else { continue }
            violate(.oneRestart, "n\(index) restarts its K3s while n\(other) does")
        }
        machines[index].restarting = process.number + 1
    }
}
