internal import LibP2P
internal import OrderedCollections
internal import Timing

/// The mesh and the heartbeat.
extension Router {
    /// Asks for a heartbeat, at the earliest one interval after the last.
    mutating func wantHeartbeat(at moment: Instant) {
        let due = max(moment, lastHeartbeat + parameters.heartbeat)
        heartbeatDue = heartbeatDue.map { min($0, due) } ?? due
    }

    /// Grafts peers when the mesh of `topic` has too few. When there are too many, or when someone
    /// could be grafted only later, the heartbeat sees to it.
    mutating func repairMesh(of topic: Topic, at now: Instant) {
        guard let state = topics[topic] else { return }
        let size = provenCount(state.mesh)
        if size > parameters.degreeHigh { wantHeartbeat(at: now + parameters.firstHeartbeat) }
        guard size < parameters.degreeLow else { return }
        var candidates: [PeerID] = []
        var earliest: Instant?
        for (peer, peerState) in peers
        where peerState.isOpen && peerState.isProven && !peerState.isDirect
            && peerState.topics.contains(topic)
            && !state.mesh.contains(peer)
        {
            if let until = backoffs[topic]?[peer], until + parameters.backoffSlack > now {
                earliest = min(earliest ?? .distantFuture, until + parameters.backoffSlack)
            } else {
                candidates.append(peer)
            }
        }
        for peer in candidates.shuffled(using: &generator).prefix(parameters.degree - size) {
            topics[topic]?.mesh.append(peer)
            counters.grafts += 1
            var rpc = RPC()
            rpc.graft = [topic]
            send(rpc, to: peer)
        }
        if let earliest, topics[topic].map({ provenCount($0.mesh) < parameters.degreeLow }) ?? false {
            wantHeartbeat(at: earliest)
        }
    }

    /// How many of a mesh have proven themselves; the others do not count.
    private func provenCount(_ mesh: OrderedSet<PeerID>) -> Int {
        mesh.reduce(0) { peers[$1]?.isProven ?? false ? $0 + 1 : $0 }
    }

    mutating func heartbeat(at now: Instant) {
        heartbeatDue = nil
        lastHeartbeat = now
        counters.heartbeats += 1
        expireBackoffs(at: now)
        for topic in topics.keys {
            trimMesh(of: topic, at: now)
            repairMesh(of: topic, at: now)
        }
        let newest = Set(cache.gossip(windows: 1).flatMap(\.ids))
        for (topic, ids) in cache.gossip() { gossip(ids, newest: newest, in: topic) }
        cache.shift()
        if !cache.isEmpty { wantHeartbeat(at: now + parameters.heartbeat) }
    }

    private mutating func trimMesh(of topic: Topic, at now: Instant) {
        guard let mesh = topics[topic]?.mesh, provenCount(mesh) > parameters.degreeHigh else { return }
        var order = mesh.filter { peers[$0]?.isProven ?? false }.shuffled(using: &generator)
        // Peers that we chose ourselves come first until there are enough of them.
        let outbound = order.filter { peers[$0]?.direction == .outbound }.prefix(parameters.degreeOutbound)
        order = outbound + order.filter { !outbound.contains($0) }
        for peer in order.dropFirst(parameters.degree) { prune(peer, from: topic, at: now) }
    }

    /// Puts `peer` out of the mesh, or refuses it, for the usual time.
    mutating func prune(_ peer: PeerID, from topic: Topic, at now: Instant) {
        topics[topic]?.mesh.remove(peer)
        backOff(from: peer, topic, for: parameters.pruneBackoff, at: now)
        counters.prunes += 1
        var rpc = RPC()
        rpc.prune = [
            RPC.Prune(topic: topic, backoff: UInt64(clamping: parameters.pruneBackoff.components.seconds))
        ]
        send(rpc, to: peer)
    }

    /// Never shortens a backoff that runs.
    mutating func backOff(from peer: PeerID, _ topic: Topic, for time: Duration, at now: Instant) {
        let until = now + min(time, parameters.longestBackoff)
        if let running = backoffs[topic]?[peer], running >= until { return }
        backoffs[topic, default: [:]][peer] = until
    }

    func isBackingOff(from peer: PeerID, _ topic: Topic, at now: Instant) -> Bool {
        backoffs[topic]?[peer].map { $0 > now } ?? false
    }

    private mutating func expireBackoffs(at now: Instant) {
        for topic in Array(backoffs.keys) {
            backoffs[topic] = backoffs[topic]?.filter { $0.value + parameters.backoffSlack > now }
            if backoffs[topic]?.isEmpty ?? false { backoffs[topic] = nil }
        }
    }

    /// Tells some of the subscribers outside the mesh what there is.
    private mutating func gossip(_ ids: [MessageID], newest: Set<MessageID>, in topic: Topic) {
        let mesh = topics[topic]?.mesh ?? []
        let others = peers.compactMap { peer, state in
            state.isOpen && !state.isDirect && state.topics.contains(topic) && !mesh.contains(peer)
                ? peer : nil
        }
        let share = Int((Double(others.count) * parameters.gossipFactor).rounded())
        // Each ID takes up to 131 bytes, and the whole must fit into a frame.
        let most = min(parameters.maximumIDsAskedPerHeartbeat, parameters.maximumMessageSize / 160)
        let shuffled = ids.shuffled(using: &generator)
        for peer in others.shuffled(using: &generator).prefix(max(parameters.degreeLazy, share)) {
            // One of ours, told once, remembers whom it may ask.
            let told = peers[peer]?.asks ?? false ? shuffled.filter { newest.contains($0) } : shuffled
            guard !told.isEmpty else { continue }
            var rpc = RPC()
            rpc.ihave = [RPC.IHave(topic: topic, ids: Array(told.prefix(most)))]
            send(rpc, to: peer)
        }
    }

    // MARK: What peers say of the mesh

    mutating func handle(grafts: [Topic], from peer: PeerID, at now: Instant) {
        for topic in grafts {
            // An unknown topic is ignored, so that nobody learns what we are not in.
            guard let state = topics[topic], let peerState = peers[peer], !state.mesh.contains(peer) else {
                continue
            }
            guard peers[peer]?.control.take(at: now) ?? false else { return }
            let proven = provenCount(state.mesh)
            let isFull =
                peerState.isProven
                ? proven >= parameters.degreeHigh && peerState.direction == .inbound
                : state.mesh.count - proven >= parameters.unprovenDegree
            if peerState.isDirect || isFull || isBackingOff(from: peer, topic, at: now) {
                prune(peer, from: topic, at: now)
            } else {
                topics[topic]?.mesh.append(peer)
                if proven >= parameters.degreeHigh { repairMesh(of: topic, at: now) }
            }
        }
    }

    mutating func handle(prunes: [RPC.Prune], from peer: PeerID, at now: Instant) {
        for prune in prunes {
            guard topics[prune.topic] != nil, peers[peer]?.control.take(at: now) ?? false else { continue }
            let seconds = prune.backoff.flatMap { $0 == 0 ? nil : $0 }
            let time =
                seconds.map { Duration.seconds(Int64(clamping: min($0, 86400))) } ?? parameters.pruneBackoff
            backOff(from: peer, prune.topic, for: time, at: now)
            topics[prune.topic]?.mesh.remove(peer)
            repairMesh(of: prune.topic, at: now)
        }
    }
}
