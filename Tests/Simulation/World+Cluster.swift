import Coordination
import K3s
import LibP2P
import NodeAgent
import Timing
import VPN

/// What K3s does on its own, and with the K3s of other machines: founding, joining, and the membership of
/// its etcd (contract/k3s.md §2, §11).
extension World {
    private func nodeName(_ index: Int) -> String { machines[index].k3s.node.name.text }

    // MARK: who works

    /// Whether K3s of the two machines can talk: over the VPN, so both agents have to work.
    func canTalk(_ one: Int, _ other: Int) -> Bool {
        one == other
            || packetsPass(one, other) && packetsPass(other, one)
                && [one, other].allSatisfy { machines[$0].address != nil && machines[$0].frozenUntil <= now }
    }

    /// The members with a vote that run and that the machine's etcd can talk to, by name.
    private func votersReached(from index: Int, in number: Int) -> Set<String> {
        let cluster = clusters[number]
        let reached = machines.indices.filter { other in
            guard let process = machines[other].k3s.process, process.command == .server, !process.hasEnded,
                machines[other].k3s.datastore == number, !machines[other].isGone,
                cluster.members[nodeName(other)] == true
            else { return false }
            return canTalk(index, other)
        }
        return Set(reached.map(nodeName))
    }

    /// Whether the machine's etcd is a member and reaches a majority of those that vote.
    private func hasQuorum(_ index: Int, in number: Int) -> Bool {
        guard clusters[number].members[nodeName(index)] != nil else { return false }
        return votersReached(from: index, in: number).count * 2 > clusters[number].voters
    }

    /// Ends the K3s of those that were taken out of etcd, once a member tells them (contract/k3s.md §11.2).
    mutating func tellOfRemovals() {
        for index in machines.indices { endIfRemoved(index) }
    }

    /// Whether it was, and its K3s ends.
    @discardableResult
    private mutating func endIfRemoved(_ index: Int) -> Bool {
        let k3s = machines[index].k3s
        guard !machines[index].isGone, let process = k3s.process, process.command == .server,
            !process.hasEnded, let number = k3s.datastore, clusters[number].isEtcd,
            clusters[number].members[nodeName(index)] == nil,
            !votersReached(from: index, in: number).isEmpty
        else { return false }
        note("etcd of n\(index) learns that it was taken out")
        machines[index].k3s.isTakenOut = true
        machines[index].k3s.process?.isReady = false
        machines[index].k3s.process?.startsAgainAt = now + .seconds(5)
        machines[index].k3s.restarts += 1
        schedule(.k3sAttempt(index, start: process.number), after: .seconds(5))
        reconcile(.changed, at: index)
        return true
    }

    /// Whether the API server of the machine's K3s answers that it is ready.
    func serves(_ index: Int) -> Bool {
        let machine = machines[index]
        guard !machine.isGone, !machine.hasIllAPI, let process = machine.k3s.process,
            process.command == .server, process.isReady, let number = machine.k3s.datastore
        else { return false }
        return !clusters[number].isEtcd || hasQuorum(index, in: number)
    }

    /// What the cluster says of the machine's etcd; nil when nobody can say.
    func membership(of index: Int) -> Bool? {
        guard serves(index), let number = machines[index].k3s.datastore else { return nil }
        return clusters[number].members[nodeName(index)]
    }

    // MARK: starting

    mutating func comeUpAsServer(_ index: Int, _ settings: [String: String]) -> Bool {
        guard let token = settings["token"] else { return false }
        if machines[index].k3s.isTakenOut {
            // What it was is moved aside, and it joins as another (contract/k3s.md §11.2).
            note("K3s of n\(index) moves the data of a member that was taken out aside")
            machines[index].k3s.datastore = nil
            machines[index].k3s.isTakenOut = false
        }
        if let number = machines[index].k3s.datastore {
            guard clusters[number].admits(token, number: number) else { return false }
            if !clusters[number].isEtcd {
                // Data in SQLite move into an etcd of its own (contract/k3s.md §2).
                guard settings["cluster-init"] == "true" else { return true }
                note("K3s of n\(index) moves its data into etcd")
                clusters[number].isEtcd = true
                clusters[number].members = [nodeName(index): true]
                everVoters.insert(nodeName(index))
                return true
            }
            return !endIfRemoved(index) && hasQuorum(index, in: number)
        }
        if settings["server"] != nil { return join(index, settings) }
        checkFounding(by: index)
        let isEtcd = settings["cluster-init"] == "true"
        if isEtcd { everVoters.insert(nodeName(index)) }
        machines[index].k3s.datastore = clusters.count
        let cluster = ModelledCluster(
            founder: index, epoch: machines[index].epoch, token: token, isEtcd: isEtcd,
            members: isEtcd ? [nodeName(index): true] : [:], joined: [index])
        clusters.append(cluster)
        return true
    }

    /// One learner at a time: the next has to wait until the one before it votes.
    private mutating func join(_ index: Int, _ settings: [String: String]) -> Bool {
        let name = nodeName(index)
        guard let number = serverReached(from: index, settings), clusters[number].isEtcd,
            clusters[number].members.allSatisfy({ $0.value || $0.key == name })
        else { return false }
        // A member of the same name that lost its data is taken out first.
        let founder = clusters[number].founder
        note("K3s of n\(index) joins the etcd of the cluster that n\(founder) founded")
        clusters[number].members[name] = false
        machines[index].k3s.datastore = number
        clusters[number].joined.insert(index)
        let time = random.duration(in: .milliseconds(500) ... .milliseconds(4000))
        schedule(.promotion(index, cluster: number), after: time)
        return true
    }

    mutating func promote(_ index: Int, in number: Int) {
        let name = nodeName(index)
        guard !machines[index].isGone, machines[index].k3s.datastore == number,
            clusters[number].members[name] == false
        else { return schedule(.stalled(name, cluster: number), after: Self.longestStall) }
        guard machines[index].k3s.process?.isReady == true, hasQuorum(index, in: number) else {
            return schedule(.promotion(index, cluster: number), after: .seconds(2))
        }
        trace(13, index)
        note("etcd of n\(index) has a vote")
        clusters[number].members[nodeName(index)] = true
        everVoters.insert(nodeName(index))
    }

    /// A learner that has made no progress for five minutes is taken out (contract/k3s.md §11.1).
    private static let longestStall = Duration.seconds(300)

    mutating func takeOutStalled(_ name: String, of number: Int) {
        let isAtWork = machines.indices.contains {
            nodeName($0) == name && machines[$0].k3s.datastore == number && machines[$0].k3s.process != nil
        }
        guard clusters[number].members[name] == false, !isAtWork else { return }
        note("etcd takes \(name) out, which has not caught up")
        clusters[number].members[name] = nil
    }

    mutating func comeUpAsAgent(_ index: Int, _ settings: [String: String]) -> Bool {
        guard let number = serverReached(from: index, settings) else { return false }
        clusters[number].joined.insert(index)
        machines[index].k3s.process?.cluster = number
        return true
    }

    /// The cluster of the server behind the settings' URL, if it works, can be reached and takes the token.
    private func serverReached(from index: Int, _ settings: [String: String]) -> Int? {
        guard let url = settings["server"], let token = settings["token"] else { return nil }
        let host = String(url.dropFirst("https://".count).prefix { $0 != ":" })
        let isShared = scenario.subnet.standardAPIAddress.description == host
        let holder = isShared ? apiHolder(seenBy: index) : nil
        for other in machines.indices where other != index {
            let isMeant =
                isShared
                ? machines[other].peer == holder && holdsAPI(other)
                : machines[other].address?.description == host
            guard isMeant, canTalk(index, other), serves(other), let number = machines[other].k3s.datastore,
                clusters[number].admits(token, number: number)
            else { continue }
            return number
        }
        return nil
    }

    // MARK: members that go

    /// The agent of `index` is to take these nodes out of Kubernetes, and so out of etcd.
    mutating func removeNodes(_ nodes: [PeerID: String], after delay: Duration, by index: Int) {
        guard let agent = machines[index].agent else { return }
        for peer in nodes.keys.sorted() { checkForgotten(peer, by: index) }
        agent.removed = [:]
        for (peer, hostName) in nodes {
            agent.removed[NodeName(hostName: hostName, peerID: peer.bytes).text] = peer
        }
        agent.removals.want(Set(agent.removed.keys), after: delay, at: now)
        planRemoval(by: index)
    }

    private mutating func planRemoval(by index: Int) {
        guard let agent = machines[index].agent, let deadline = agent.removals.nextDeadline else { return }
        // An attempt takes its time.
        let at = max(deadline, now) + .milliseconds(200)
        if let planned = agent.removalTick, planned <= at { return }
        agent.removalTick = at
        schedule(.removal(index, life: machines[index].life), after: at - now)
    }

    mutating func removeNext(by index: Int) {
        guard let agent = machines[index].agent, let name = agent.removals.next(at: now) else {
            return planRemoval(by: index)
        }
        let isDone = takeOut(name, by: index)
        let isSettled = agent.removals.ended(name, isDone: isDone, at: now)
        planRemoval(by: index)
        if isSettled, let peer = agent.removed[name] { feed(.nodeRemoved(peer), to: index) }
    }

    private mutating func takeOut(_ node: String, by index: Int) -> Bool {
        guard node != nodeName(index), serves(index), let number = machines[index].k3s.datastore else {
            return false
        }
        guard let hasVote = clusters[number].members[node] else { return true }
        if hasVote {
            // etcd refuses what would leave it without a majority of those that run.
            let left = votersReached(from: index, in: number).subtracting([node]).count
            guard left * 2 > clusters[number].voters - 1 else { return false }
        }
        clusters[number].members[node] = nil
        note("n\(index) takes \(node) out of etcd")
        return true
    }

    mutating func leaveCluster(_ index: Int, epoch: UInt64) {
        // What was founded before this epoch is given up by all.
        if machines[index].epoch >= epoch { checkForgotten(machines[index].peer, by: index) }
        note("n\(index) is no part of the cluster of epoch \(epoch)")
        let node = machines[index].k3s.node
        let desired = DesiredState(leaving: epoch, layout: node.layout, supervision: node.supervision)
        machines[index].k3s.desired = desired
        reconcile(.desired(desired), at: index)
    }
}
