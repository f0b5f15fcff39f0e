import Coordination
import K3s
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing
import VPN

/// What there is to be once nothing fails any more.
extension World {
    /// Whether this run has to end well: not when the cluster's data are gone with the machines that held
    /// them, which no election brings back.
    package var endsWell: Bool { clusterLives { _ in false } }

    /// Whether members that left took the cluster with them.
    package var clusterLeft: Bool {
        !endsWell && clusterLives { machines[$0].disk.election?.hasLeft == true }
    }

    /// Whether the servers that are left, and those machines besides, keep the data of the newest cluster.
    private func clusterLives(besides: (Int) -> Bool) -> Bool {
        guard let decree = newestDecree, decree.isRunning else { return true }
        let present = machines.indices.filter { !machines[$0].isGone }
        return clusters.indices.contains { number in
            guard clusters[number].epoch == decree.epoch else { return false }
            let keepers = present.filter { index in
                machines[index].k3s.datastore == number
                    && (decree.isServer(machines[index].peer)
                        || machines[index].agent?.core.isDeparting == true)
                    || besides(index)
                        && (machines[index].k3s.setAside.contains(number)
                            || machines[index].k3s.datastore == number)
            }
            guard clusters[number].isEtcd else { return !keepers.isEmpty }
            let votes = Set(keepers.map(name)).count { clusters[number].members[$0] == true }
            return votes * 2 > clusters[number].voters
        }
    }

    private func name(_ index: Int) -> String { machines[index].k3s.node.name.text }

    /// What is not yet as it should be once nothing fails any more.
    package var disorder: [String] {
        let present = machines.indices.filter { !machines[$0].isGone }
        if !present.contains(where: { machines[$0].forced != .worker }) { return [] }
        guard let decree = newestDecree else { return ["nothing is decided"] }
        var disorder: [String] = []
        for index in present {
            guard let agent = machines[index].agent else {
                disorder.append("n\(index) is down")
                continue
            }
            // Whoever has left has given its address up, too.
            if machines[index].disk.election?.hasLeft == true,
                decree.forgetting([machines[index].peer]) != nil
            {
                disorder += disorderOfLeaver(index, decree)
                continue
            }
            guard agent.core.address != nil, agent.device == agent.core.address else {
                disorder.append("n\(index) has no address: \(agent.core.waiting.map(\.what))")
                continue
            }
            // A machine that was made the server by its cloud-config and lost waits, and says so.
            if case .contradiction = agent.core.plan { continue }
            disorder += disorderOfK3s(index, agent)
        }
        return disorder + disorderOfServers(decree, present) + disorderOfAPI(decree, present)
    }

    private func disorderOfLeaver(_ index: Int, _ decree: Decree) -> [String] {
        if !decree.isForgotten(machines[index].peer) { return ["n\(index) has yet to leave"] }
        if machines[index].k3s.process != nil { return ["n\(index) has left, and its K3s runs"] }
        return machines[index].k3s.datastore == nil ? [] : ["n\(index) has left, and its data are in place"]
    }

    private func disorderOfK3s(_ index: Int, _ agent: Machine.Agent) -> [String] {
        guard let desired = machines[index].k3s.desired, agent.core.plan.role != nil else {
            return ["n\(index) has no role: \(agent.core.waiting.map(\.what))"]
        }
        let k3s = machines[index].k3s
        guard let process = k3s.process, process.isReady, process.command == desired.command else {
            return ["K3s of n\(index) is not up as \(desired.command)"]
        }
        // What a founder reads at its next start only is no setting that it runs with.
        func read(_ settings: [String: String]?) -> [String: String]? {
            agent.core.plan.role == .founder ? settings?.filter { $0.key != "server" } : settings
        }
        if read(process.settings) != read(k3s.desiredSettings) {
            return ["K3s of n\(index) runs with other settings than its role asks for"]
        }
        return []
    }

    private func disorderOfServers(_ decree: Decree, _ present: [Int]) -> [String] {
        var disorder: [String] = []
        let servers = present.filter { machines[$0].k3s.process?.command == .server }
        let mayServe = present.filter {
            machines[$0].forced != .worker && machines[$0].disk.election?.hasLeft != true
        }
        let asked = 1 + (machines.compactMap(\.additionalServers).max() ?? 0)
        if servers.count != decree.servers.count || servers.count < min(asked, mayServe.count) {
            disorder.append("\(servers.count) servers run, of \(asked); \(decree.servers.count) are decreed")
        }
        let used = Set(present.compactMap { machines[$0].k3s.process?.cluster })
        if used.count > 1 { disorder.append("K3s of \(used.count) clusters run") }
        guard let number = used.first, clusters[number].isEtcd else { return disorder }
        if clusters[number].epoch != decree.epoch {
            disorder.append("the cluster of epoch \(clusters[number].epoch) runs, not of \(decree.epoch)")
        }
        for (name, isVoter) in clusters[number].members.sorted(by: { $0.key < $1.key }) {
            if !decree.servers.contains(where: { nodeNames[$0.peer] == name }) {
                disorder.append("\(name) is a member of etcd and no server")
            } else if !isVoter {
                disorder.append("\(name) has no vote in etcd")
            }
        }
        return disorder
    }

    private func disorderOfAPI(_ decree: Decree, _ present: [Int]) -> [String] {
        let holders = present.filter { holdsAPI($0) && serves($0) }
        guard let holder = holders.first else { return ["no healthy server holds the API address"] }
        return present.filter { index in
            machines[index].disk.election?.hasLeft != true
                && apiHolder(seenBy: index) != machines[holder].peer
        }.map { "n\($0) does not find the holder of the API address, n\(holder)" }
    }

    // MARK: ledgers

    /// How the replicas of running nodes differ.
    package var differences: [String] {
        let running = machines.indices.filter { machines[$0].agent != nil }
        guard let first = running.first else { return [] }
        var differences: [String] = []
        for index in running.dropFirst() where !hasEqualLedger(index, first) {
            let (reference, entries) = (liveEntries(first), liveEntries(index))
            let ids = Set(entries.keys).union(reference.keys).filter { id in
                entries[id] != reference[id] && !isTie(entries[id], reference[id], at: id)
            }
            let names = ids.map { id in
                let versions = [reference[id], entries[id]].map(description).joined(separator: ", ")
                return "\(id.bucket.string)/\(id.key.string) (\(versions))"
            }
            let text = names.sorted().prefix(3).joined(separator: ", ")
            if !names.isEmpty { differences.append("n\(first) and n\(index) differ in \(text)") }
        }
        return differences
    }

    /// An entry as one looks for it in a timeline: whose, and since when.
    private func description(_ entry: Entry?) -> String {
        guard let entry else { return "none" }
        let owner = machines.firstIndex { $0.peer.description == entry.owner.string }
        return "\(entry.version) of \(owner.map { "n\($0)" } ?? entry.owner.string)"
    }

    /// Whether the two hold the very same entries; asked first, because it is cheap.
    private func hasEqualLedger(_ one: Int, _ other: Int) -> Bool {
        guard let left = machines[one].agent?.replication.ledger.storage,
            let right = machines[other].agent?.replication.ledger.storage
        else { return true }
        return left == right
    }

    /// Whether two nodes have written a stock key with one version, the next after what both had seen: by
    /// stock's rules each replica keeps what it heard first (contract/wire.md J.9).
    private func isTie(_ one: Entry?, _ other: Entry?, at id: EntryID) -> Bool {
        guard let one, let other, id.bucket == LedgerText("kairos") else { return false }
        return one.version == other.version && one.owner != other.owner
    }

    private func liveEntries(_ index: Int) -> [EntryID: Entry] {
        var entries: [EntryID: Entry] = [:]
        for (bucket, keys) in machines[index].agent?.replication.ledger.storage ?? [:] {
            for (key, entry) in keys where !entry.isDeleted {
                // Whether a thief's claim counts hangs on the clock by which the owner is judged to live
                // (contract/wire.md J.9); where clocks differ by hours, replicas may stay apart in it.
                if bucket == .machines, stolen.contains(key.string) { continue }
                entries[EntryID(bucket, key)] = entry
            }
        }
        return entries
    }
}
