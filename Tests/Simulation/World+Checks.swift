import Coordination
import K3s
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing
import VPN

/// The promises, looked at whenever something happens that could break them.
extension World {
    // MARK: the election

    /// A node acts on `certificate`.
    mutating func checkActedOn(_ certificate: DecreeCertificate, by index: Int) {
        let decree = certificate.decree
        let epoch = decree.epoch
        note(
            "n\(index) knows decree \(decree.number): \(decree.founder.uuid) founds epoch \(epoch),"
                + (decree.isRunning ? " running" : " not running"))
        founders[epoch, default: []].insert(decree.founder.peer)
        if let all = founders[epoch], all.count > 1 {
            violate(.oneFounder, "epoch \(epoch) has \(all.count) founders; n\(index) knows another one")
        }
        decrees[decree.number, default: []].insert(decree)
        if let all = decrees[decree.number], all.count > 1 {
            violate(
                .oneFounder, "number \(decree.number) has \(all.count) decrees; n\(index) knows another one")
        }
        if decree.isRunning { runningEpochs.insert(epoch) }
        if let running = runningEpochs.min(), epoch > running {
            violate(.oneCluster, "epoch \(epoch) was founded although the cluster of epoch \(running) ran")
        }
        guard checkedCertificates.insert(certificate).inserted else { return }
        if certificate.accepts.count < scenario.quorum, sabotage != .quorumOfOne {
            violate(.certifiedRole, "a certificate has \(certificate.accepts.count) votes")
        }
        for accept in certificate.accepts {
            if !accept.isValid(in: certificate.scope) {
                violate(.certifiedRole, "a certificate holds a vote that nobody signed")
            }
            let vote = Vote(
                voter: accept.acceptor, scope: certificate.scope, ballot: accept.ballot,
                decree: accept.decree)
            if !durableVotes.contains(vote) {
                violate(.votesOnDisk, "a vote that is acted on was never on its voter's disk")
            }
        }
    }

    /// A node is about to tell an entry: a vote in it must be on its disk.
    mutating func checkPublished(_ id: EntryID, value: String, by index: Int) {
        guard id.bucket.string == LedgerKeys.electionBucket, id.key.string.hasSuffix("/register"),
            let register = reader.register(from: value)
        else { return }
        let disk = machines[index].disk.election
        if let disk, disk.number < register.number {
            violate(.votesOnDisk, "n\(index) votes on a decree whose predecessor is not on its disk")
        }
        // What is told of an older decree was on disk before the next was.
        if let disk, disk.number > register.number { return }
        if let accepted = register.accepted, disk?.accepted != accepted {
            violate(.votesOnDisk, "n\(index) tells a vote that is not on its disk")
        }
        if let promised = register.promised, disk?.promised != promised {
            violate(.votesOnDisk, "n\(index) tells a promise that is not on its disk")
        }
        if let drive = register.drive, disk?.highestDrivenRound ?? 0 < drive.ballot.round {
            violate(.votesOnDisk, "n\(index) proposes at a ballot that its disk does not remember")
        }
    }

    mutating func checkRole(_ assignment: K3sAssignment, of index: Int) {
        guard let certificate = machines[index].disk.election?.certificate else {
            return violate(
                .certifiedRole, "n\(index) is \(assignment.role) without a certificate on its disk")
        }
        let decree = certificate.decree
        if (decree.founder.peer == machines[index].peer) != (assignment.role == .founder)
            || assignment.epoch != decree.epoch
        {
            violate(.certifiedRole, "n\(index) is \(assignment.role), and its certificate says otherwise")
        }
        if assignment.role != .founder, !decree.isRunning {
            violate(.certifiedRole, "n\(index) joins a cluster that nobody has agreed to run")
        }
    }

    // MARK: clusters

    /// The K3s of machine `index` finds neither data nor a server and founds a cluster.
    mutating func checkFounding(by index: Int) {
        note("K3s of n\(index) founds a cluster")
        // One that never ran is given up: nobody has joined it.
        guard let first = clusters.first(where: { runningEpochs.contains($0.epoch) || $0.joined.count > 1 })
        else { return }
        // The second holder of a founder's key is that founder; it is told apart in `isFaithless`.
        if machines[index].copyOf != nil || machines[first.founder].copyOf != nil { return }
        violate(.oneCluster, "n\(index) founds a cluster after n\(first.founder) did")
    }

    // MARK: addresses

    mutating func checkAddress(_ address: VirtualAddress, of index: Int) {
        defer { machines[index].addresses.append(address) }
        guard let before = machines[index].addresses.last, before != address,
            machines[index].fixedAddress == nil
        else { return }
        // Where two have claimed one address, one of them has to move.
        let wasContested = machines.indices.contains { other in
            other != index && (machines[other].addresses.contains(before) || machines[other].isFaithless)
        }
        let mayHaveBeenLost = stolen.contains(before.description) || contestedAddresses.contains(before)
        if !wasContested, !mayHaveBeenLost {
            violate(.keptAddress, "n\(index) had \(before) and has \(address)")
        }
    }

    /// Looks at what takes time to become wrong.
    mutating func lookAround() {
        guard now - wholeSince > .seconds(10), cuts.isEmpty, losses.isEmpty, delays.isEmpty else { return }
        var holders: [VirtualAddress: Int] = [:]
        for index in machines.indices where machines[index].lag == .zero {
            guard let address = machines[index].address else { continue }
            if let other = holders[address], machines[other].peer != machines[index].peer {
                violate(.oneHolder, "n\(other) and n\(index) hold \(address)")
            }
            holders[address] = index
        }
    }

    // MARK: at the end

    /// Whether this run has to end well: not when the machine that holds the cluster's data was installed
    /// anew, which no election brings back.
    package var endsWell: Bool {
        guard let epoch = runningEpochs.max() else { return true }
        return clusters.filter { $0.epoch == epoch }.allSatisfy { machines[$0.founder].k3s.datastore != nil }
            && founders[epoch, default: []].allSatisfy { founder in machines.contains { $0.peer == founder } }
    }

    /// What is not yet as it should be once nothing fails any more.
    package var disorder: [String] {
        var disorder: [String] = []
        let present = machines.indices.filter { !machines[$0].isGone }
        let electors = present.filter { machines[$0].forced != .worker }
        if electors.isEmpty { return [] }
        for index in present {
            guard let agent = machines[index].agent else {
                disorder.append("n\(index) is down")
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
        let servers = present.filter { machines[$0].k3s.process?.command == .server }
        if servers.count != 1 { disorder.append("\(servers.count) servers run") }
        let used = Set(servers.compactMap { machines[$0].k3s.datastore })
        if used.count > 1 { disorder.append("servers of \(used.count) clusters run") }
        return disorder
    }

    private func disorderOfK3s(_ index: Int, _ agent: Machine.Agent) -> [String] {
        guard let desired = machines[index].k3s.desired, agent.core.plan.role != nil else {
            return ["n\(index) has no role: \(agent.core.waiting.map(\.what))"]
        }
        let k3s = machines[index].k3s
        guard let process = k3s.process, process.isReady, process.command == desired.command else {
            return ["K3s of n\(index) is not up as \(desired.command)"]
        }
        if process.settings != k3s.desiredSettings {
            return ["K3s of n\(index) runs with other settings than its role asks for"]
        }
        return []
    }

    /// How the replicas of running nodes differ.
    package var differences: [String] {
        let running = machines.indices.filter { machines[$0].agent != nil }
        guard let first = running.first, let reference = liveEntries(first) else { return [] }
        var differences: [String] = []
        for index in running.dropFirst() {
            guard let entries = liveEntries(index), entries != reference else { continue }
            let ids = Set(entries.keys).union(reference.keys).filter { entries[$0] != reference[$0] }
            let names = ids.map { id in
                let versions = [reference[id], entries[id]].map { $0.map { "\($0.version)" } ?? "none" }
                return "\(id.bucket.string)/\(id.key.string) (\(versions.joined(separator: ", ")))"
            }
            let text = names.sorted().prefix(3).joined(separator: ", ")
            differences.append("n\(first) and n\(index) differ in \(text)")
        }
        return differences
    }

    private func liveEntries(_ index: Int) -> [EntryID: Entry]? {
        guard let storage = machines[index].agent?.replication.ledger.storage else { return nil }
        var entries: [EntryID: Entry] = [:]
        for (bucket, keys) in storage {
            for (key, entry) in keys where !entry.isDeleted {
                // Whether a thief's claim counts hangs on the clock by which the owner is judged to live
                // (contract/wire.md J.9); where clocks differ by hours, replicas may stay apart in it.
                if bucket == .machines, stolen.contains(key.string) { continue }
                entries[EntryID(bucket, key)] = entry
            }
        }
        return entries
    }

    /// Addresses for which more than one member has ever had a claim in some ledger, or that a member
    /// lied about.
    private var contestedAddresses: Set<VirtualAddress> {
        var owners: [String: Set<String>] = [:]
        for machine in machines {
            guard let keys = machine.agent?.replication.ledger.storage[.machines] else { continue }
            for (key, entry) in keys { owners[key.string, default: []].insert(entry.owner.string) }
        }
        return Set(owners.filter { $0.value.count > 1 }.keys.compactMap { VirtualAddress($0) })
    }
}
