internal import LibP2P
internal import OrderedCollections
internal import Timing

/// Messages: publishing, receiving, and serving those that peers missed.
extension Router {
    mutating func receive(_ bytes: [UInt8], from peer: PeerID, at now: Instant) {
        guard peers[peer] != nil else { return }
        counters.framesReceived += 1
        guard peers[peer]?.frames.take(at: now) ?? false else {
            effects.append(.resetStream(peer, .tooManyFrames))
            return
        }
        do {
            handle(try RPC(parsing: bytes[...]), from: peer, at: now)
        } catch {
            counters.undecodable += 1
            effects.append(.resetStream(peer, .undecodable))
        }
    }

    mutating func handle(_ rpc: RPC, from peer: PeerID, at now: Instant) {
        guard peers[peer] != nil else { return }
        handle(rpc.subscriptions, from: peer, at: now)
        if !rpc.messages.isEmpty, let ignoredUntil = peers[peer]?.ignoredUntil, ignoredUntil <= now {
            for message in rpc.messages { receive(message, from: peer, at: now) }
        }
        peers[peer]?.renewWindow(at: now, length: parameters.heartbeat)
        if !rpc.ihave.isEmpty { handle(rpc.ihave, from: peer, at: now) }
        if !rpc.iwant.isEmpty { serve(rpc.iwant, to: peer) }
        handle(grafts: rpc.graft, from: peer, at: now)
        handle(prunes: rpc.prune, from: peer, at: now)
    }

    private mutating func handle(_ subscriptions: [RPC.Subscription], from peer: PeerID, at now: Instant) {
        for subscription in subscriptions {
            guard peers[peer]?.control.take(at: now) ?? false else { return }
            let topic = subscription.topic
            if subscription.subscribes {
                guard let known = peers[peer]?.topics, known.count < parameters.maximumTopicsPerPeer else {
                    continue
                }
                if peers[peer]?.topics.append(topic).inserted ?? false { repairMesh(of: topic, at: now) }
            } else {
                peers[peer]?.topics.remove(topic)
                if topics[topic]?.mesh.remove(peer) != nil { repairMesh(of: topic, at: now) }
            }
        }
    }

    // MARK: Publishing and receiving

    mutating func publish(_ message: GossipMessage, at now: Instant) {
        guard let topic = message.topic, message.encoded.count <= largestMessage else { return }
        let id = message.id
        guard seen.insert(id, at: now) else { return }
        counters.published += 1
        remember(message, id, topic, at: now)
        let receivers = peers.filter { $0.value.topics.contains(topic) }.keys
        _ = spread(
            message, id, topic, to: Array(receivers), eager: parameters.degreePublish, at: now)
    }

    /// What fits into a frame together with its own tag and length.
    var largestMessage: Int { max(parameters.maximumMessageSize - 16, 0) }

    private mutating func remember(_ message: GossipMessage, _ id: MessageID, _ topic: Topic, at now: Instant)
    {
        cache.insert(message, id: id, topic: topic)
        wantHeartbeat(at: now + parameters.heartbeat)
    }

    private mutating func receive(_ message: GossipMessage, from peer: PeerID, at now: Instant) {
        guard let topic = message.topic, let state = topics[topic] else { return }
        let id = message.id
        guard id.bytes.count <= MessageID.maximumLength,
            message.from.map({ !$0.elementsEqual(localPeer.bytes) }) ?? false
        else { return }
        guard !seen.contains(id, at: now) else {
            knows(peer, id)
            counters.duplicates += 1
            return
        }
        guard peers[peer]?.messages.take(at: now) ?? false,
            peers[peer]?.messageBytes.take(message.encoded.count, at: now) ?? false
        else {
            counters.throttled += 1
            return
        }
        // A forgery must not count as seen, or it would keep the real message out.
        guard message.isAuthentic else {
            blame(peer, at: now)
            return
        }
        _ = seen.insert(id, at: now)
        let holders = holders(of: id)
        counters.delivered += 1
        effects.append(.deliver(message, id, relay: peer))
        if state.validates {
            hold(
                Pending(
                    message: message, topic: topic, relay: peer, holders: holders,
                    expires: now + parameters.verdictTimeout), id)
        } else {
            forward(message, id, topic, holders: holders.union([peer]), at: now)
        }
    }

    private mutating func hold(_ entry: Pending, _ id: MessageID) {
        let size = entry.message.encoded.count
        guard pending.count < parameters.maximumPendingVerdicts,
            pending.isEmpty || pendingBytes + size <= parameters.maximumCachedBytes
        else { return }
        pending[id] = entry
        pendingBytes += size
    }

    mutating func judge(_ id: MessageID, _ verdict: Verdict, at now: Instant) {
        guard let entry = pending.removeValue(forKey: id) else { return }
        pendingBytes -= entry.message.encoded.count
        switch verdict {
        case .accept:
            forward(
                entry.message, id, entry.topic, holders: entry.holders.union([entry.relay]), at: now)
        case .ignore: break
        case .reject: blame(entry.relay, at: now)
        }
    }

    private mutating func blame(_ peer: PeerID, at now: Instant) {
        counters.invalid += 1
        guard let isPatient = peers[peer]?.invalid.take(at: now), !isPatient else { return }
        peers[peer]?.ignoredUntil = now + parameters.ignoreTime
    }

    /// Passes a message on to the mesh and to direct peers, except to those that have it and its author.
    private mutating func forward(
        _ message: GossipMessage, _ id: MessageID, _ topic: Topic, holders: Set<PeerID>, at now: Instant
    ) {
        remember(message, id, topic, at: now)
        guard let mesh = topics[topic]?.mesh else { return }
        let author = message.author
        let receivers = peers.filter { peer, state in
            !holders.contains(peer) && peer != author
                && (mesh.contains(peer) || state.isDirect && state.topics.contains(topic))
        }.keys
        counters.forwarded += spread(
            message, id, topic, to: Array(receivers), eager: parameters.degreeForward, at: now)
    }

    // MARK: Gossip

    private mutating func handle(_ ihave: [RPC.IHave], from peer: PeerID, at now: Instant) {
        guard let state = peers[peer], state.isOpen, state.ignoredUntil <= now else { return }
        guard state.ihaveFrames < parameters.maximumIHavePerHeartbeat else { return }
        peers[peer]?.ihaveFrames += 1
        var room = parameters.maximumIDsAskedPerHeartbeat - state.idsAsked
        var rpc = RPC()
        for list in ihave where topics[list.topic] != nil {
            for id in list.ids {
                guard room > 0 else { break }
                guard !seen.contains(id, at: now), pending[id] == nil else {
                    knows(peer, id)
                    continue
                }
                guard mayAsk(peer, for: id, at: now) else { continue }
                rpc.iwant.append(id)
                room -= 1
            }
        }
        guard !rpc.iwant.isEmpty else { return }
        peers[peer]?.idsAsked += rpc.iwant.count
        send(rpc, to: peer)
    }

    private mutating func serve(_ ids: [MessageID], to peer: PeerID) {
        guard let state = peers[peer], state.isOpen else { return }
        var rpc = RPC()
        var size = 16
        for id in ids.prefix(max(parameters.maximumIDsAskedPerHeartbeat - state.idsRequested, 0)) {
            // A full queue would waste what the cache lets the peer have.
            guard let queue = peers[peer]?.queue, queue.count < parameters.outboundQueue else { break }
            knows(peer, id)
            guard let message = cache.serve(id, to: peer) else { continue }
            if !rpc.messages.isEmpty, size + message.encoded.count + 12 > parameters.maximumMessageSize {
                send(rpc, to: peer)
                rpc.messages = []
                size = 16
            }
            rpc.messages.append(message)
            size += message.encoded.count + 12
        }
        peers[peer]?.idsRequested += ids.count
        if !rpc.messages.isEmpty { send(rpc, to: peer) }
    }
}
