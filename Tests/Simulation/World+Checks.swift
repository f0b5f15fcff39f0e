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
        if let running = runningEpochs.first(where: { $0 < epoch && !givenUp.contains($0) }) {
            violate(.oneCluster, "epoch \(epoch) was founded although the cluster of epoch \(running) ran")
        }
        checkServers(decree)
        guard checkedCertificates.insert(certificate).inserted else { return }
        checkElectorate(of: certificate)
        for accept in certificate.accepts {
            if !accept.isValid(in: certificate.network, among: certificate.electorate) {
                violate(.certifiedRole, "a certificate holds a vote that nobody signed")
            }
            let vote = Vote(voter: accept.acceptor, ballot: accept.ballot, decree: accept.decree)
            if !durableVotes.contains(vote) {
                violate(.votesOnDisk, "a vote that is acted on was never on its voter's disk")
            }
        }
    }

    /// Those decided who had to: as many members as the cloud-config asks for the founding, and then a majority of
    /// those whom the decree before has named, whatever the certificate says of itself.
    private mutating func checkElectorate(of certificate: DecreeCertificate) {
        let decree = certificate.decree
        let acceptors = Set(certificate.accepts.map(\.acceptor))
        guard decree.number > 1 else {
            if acceptors.count < scenario.quorum, sabotage != .quorumOfOne {
                violate(.certifiedRole, "the founding has \(acceptors.count) votes")
            }
            return
        }
        if case .recovered(let nodes) = certificate.electorate {
            // Every one of them has been told.
            if !recoveryWords.isSuperset(of: nodes) || !acceptors.isSuperset(of: nodes) {
                violate(.certifiedRole, "voters were given up without the word on each node that stays")
            }
            return
        }
        guard let previous = decrees[decree.number - 1]?.first else { return }
        if acceptors.intersection(previous.voters).count < previous.voters.count / 2 + 1 {
            violate(
                .certifiedRole,
                "number \(decree.number) has the votes of \(acceptors.intersection(previous.voters).count) of"
                    + " \(previous.voters.count) voters")
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
        let peer = machines[index].peer
        let serves = decree.isServer(peer)
        if assignment.isDeparting {
            if !decree.isForgotten(peer) {
                violate(.certifiedRole, "n\(index) goes, and nobody has forgotten it")
            }
            return
        }
        let isAsDecreed =
            switch assignment.role {
            case .founder: serves && decree.founder.peer == peer
            // A founder whose data are gone joins the others as one.
            case .server: serves && (decree.founder.peer != peer || decree.isRunning)
            case .agent: !serves
            }
        if !isAsDecreed || decree.isForgotten(peer) || assignment.epoch != decree.epoch {
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
        guard
            let first = clusters.first(where: {
                !givenUp.contains($0.epoch) && (runningEpochs.contains($0.epoch) || $0.joined.count > 1)
            })
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
        lookAtServers()
        tellOfRemovals()
        tellOfCopies()
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
