import Coordination
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing

/// What packets do, and who knows whom.
extension World {
    /// Whether a packet that is sent now would arrive.
    func packetsPass(_ from: Int, _ to: Int) -> Bool {
        if machines[from].isGone || machines[to].isGone { return false }
        for cut in cuts.values {
            if cut.from.contains(from), cut.to.contains(to) { return false }
            if cut.bothWays, cut.from.contains(to), cut.to.contains(from) { return false }
        }
        return true
    }

    private mutating func delay() -> Duration {
        let longest = max(.milliseconds(25), delays.values.max() ?? .zero)
        return random.duration(in: .milliseconds(1)...longest)
    }

    mutating func send(_ event: Event) {
        let loss = losses.values.max() ?? 0
        let copies = chance(duplications.values.max() ?? 0) ? 2 : 1
        for _ in 0..<copies where !chance(loss) { schedule(event, after: delay()) }
    }

    /// Says `block` in the room, as `author`.
    mutating func publish(_ block: Block, from: Int, to audience: [Int]? = nil) {
        if archive.count < 48 { archive.append(block) }
        let author = machines[from].peer
        for to in audience ?? Array(machines.indices)
        where to != from && machines[to].agent != nil && packetsPass(from, to) {
            send(.room(from: from, to: to, block, author: author))
        }
    }

    /// Sends a frame to `peer`, or to each of the machines that have its key.
    mutating func sendFrame(_ bytes: [UInt8], from: Int, to peer: PeerID) {
        for to in machines.indices
        where to != from && machines[to].peer == peer && machines[to].agent != nil && packetsPass(from, to) {
            send(.frame(from: from, to: to, bytes))
        }
    }

    mutating func receiveRoom(_ block: Block, author: PeerID, at to: Int) {
        guard
            machines[to].agent?.replication.allowsRoomMessage(from: author, bytes: 400, at: now) == true
        else { return }
        feed(.roomBlock(block, author: author), to: to)
    }

    /// Something changed about who can talk to whom: each machine notices in its own time.
    mutating func topologyChanged() {
        for index in machines.indices where machines[index].agent != nil {
            schedule(
                .detect(index, life: machines[index].life),
                after: random.duration(in: .milliseconds(20) ... .milliseconds(900)))
        }
    }

    /// Machine `index` finds out whom it is connected with now.
    mutating func detect(_ index: Int) {
        guard let before = machines[index].agent?.connections else { return }
        var after: [Int: Int] = [:]
        for other in machines.indices
        where other != index && machines[other].agent != nil && machines[other].peer != machines[index].peer
            && packetsPass(index, other) && packetsPass(other, index)
        {
            after[other] = machines[other].life
        }
        guard before != after else { return }
        trace(8, index, after.count)
        let connectedPeers = machines[index].agent?.connectedPeers ?? [:]
        var peersNow: [Int: PeerID] = [:]
        for other in after.keys { peersNow[other] = machines[other].peer }
        machines[index].agent?.connectedPeers = peersNow
        machines[index].agent?.connections = after
        // A peer stays while any connection with its key does.
        let stayed = Set(
            before.filter { after[$0.key] == $0.value }.keys.map { connectedPeers[$0] ?? machines[$0].peer })
        var left: Set<PeerID> = []
        for other in before.keys.sorted() where after[other] != before[other] {
            let peer = connectedPeers[other] ?? machines[other].peer
            if !stayed.contains(peer), left.insert(peer).inserted { feed(.peerLeft(peer), to: index) }
        }
        var admitted = stayed
        for other in after.keys.sorted() where after[other] != before[other] {
            let peer = machines[other].peer
            if admitted.insert(peer).inserted { feed(.peerAdmitted(peer), to: index) }
        }
        tellMembers(index)
    }

    /// Tells the node who is admitted, as the mesh would.
    mutating func tellMembers(_ index: Int) {
        guard let agent = machines[index].agent else { return }
        let peers = Set(agent.connections.keys.map { machines[$0].peer })
        feed(.present(peers), to: index)
        feed(.members(connected: peers, roomAnswered: agent.replication.hasCaughtUp), to: index)
        feed(LeaseCore.Input.connected(peers), to: index)
    }
}
