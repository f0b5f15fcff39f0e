internal import LibP2P
internal import Timing

/// What neighbours say to one another.
extension Overlay {
    mutating func frame(_ bytes: [UInt8], from peer: PeerID, at now: Instant) {
        guard links[peer] != nil else { return }
        links[peer]?.probeDue = nil
        guard links[peer]?.frames.take(at: now) == true else {
            counters.rateLimited += 1
            return
        }
        guard let frame = OverlayFrame(decoding: bytes) else {
            counters.badFrames += 1
            return
        }
        switch frame {
        case .records(let records): receive(records, from: peer, at: now)
        case .digest(let theirs):
            if relayDue != nil { relay(at: now) }
            links[peer]?.digest = theirs
            compareNext(at: now)
        case .versions(let versions): answer(versions, to: peer, at: now)
        case .want(let tags):
            // Each record once, however often it was asked for.
            var asked: Set<UInt64> = []
            let distinct = tags.filter { asked.insert($0).inserted }
            reply(OverlayFrame.frames(distinct.compactMap { record(of: $0)?.encoded }), to: peer, at: now)
            if comparing?.peer == peer {
                comparing = nil
                if relayDue != nil { relay(at: now) }
                compareNext(at: now)
            }
        case .probe: send(.alive, to: peer)
        case .alive: break
        }
    }

    /// Sends what a peer has asked for, as far as its allowance goes: asking is cheap, answers are long.
    private mutating func reply(_ frames: [OverlayFrame], to peer: PeerID, at now: Instant) {
        for frame in frames {
            let bytes = frame.encoded
            guard links[peer]?.answers.take(bytes.count, at: now) == true else {
                counters.rateLimited += 1
                return
            }
            send(bytes, to: peer)
        }
    }

    // MARK: records

    /// Takes as many records as one turn may, and the rest in later turns, for all peers in turns.
    private mutating func receive(_ records: [[UInt8]], from peer: PeerID, at now: Instant) {
        let waiting = links[peer]?.waiting.count ?? 0
        let fresh = waiting == 0 ? records.prefix(Self.recordsOfTurn) : []
        let room = max(0, Self.maximumWaiting - waiting)
        let rest = records.dropFirst(fresh.count)
        links[peer]?.waiting.append(contentsOf: rest.prefix(room))
        if rest.count > room { counters.rateLimited += 1 }
        if !rest.isEmpty { recordsDue = recordsDue ?? now + Self.turnInterval }
        take(Array(fresh), from: peer, at: now)
    }

    /// Goes on with records that wait.
    mutating func takeWaiting(at now: Instant) {
        recordsDue = nil
        let peers = links.keys.filter { links[$0]?.waiting.isEmpty == false }.sorted()
        guard !peers.isEmpty else { return }
        let share = max(1, Self.recordsOfTurn / peers.count)
        for peer in peers.shuffled(using: &generator).prefix(Self.recordsOfTurn) {
            guard let waiting = links[peer]?.waiting else { continue }
            let batch = Array(waiting.prefix(share))
            links[peer]?.waiting.removeFirst(batch.count)
            take(batch, from: peer, at: now)
        }
        if links.values.contains(where: { !$0.waiting.isEmpty }) { recordsDue = now + Self.turnInterval }
    }

    private mutating func take(_ encoded: [[UInt8]], from peer: PeerID, at now: Instant) {
        for bytes in encoded {
            guard let record = try? LinkRecord(decoding: bytes) else {
                counters.recordsRejected += 1
                continue
            }
            if record.peer == localPeer {
                outdo(record, at: now)
                continue
            }
            let before = known[record.peer]?.record
            guard before.map({ $0.version < record.version }) ?? true else { continue }
            guard links[peer]?.records.take(at: now) == true else {
                counters.rateLimited += 1
                continue
            }
            guard record.isAuthentic(scope: scope) else {
                counters.recordsRejected += 1
                // Who passes records on has checked them: one that is forged is the sender's own work, and the
                // others of its frame are worth no more.
                links[peer]?.waiting.removeAll()
                break
            }
            guard note(record.peer, at: now) else {
                counters.recordsRejected += 1
                continue
            }
            counters.recordsAccepted += 1
            known[record.peer]?.record = record
            if links[record.peer] == nil, before?.addresses != record.addresses, wanted.contains(record.peer)
            {
                keep(record.peer)
            }
            relays[record.peer] = (bytes, peer)
            for suspect in lost(by: record, before) where suspects[suspect] == nil {
                suspects[suspect] = (record.peer, now + Self.suspicionDelay)
            }
        }
        guard !relays.isEmpty else { return }
        if let relayed, relayed + relayInterval > now {
            relayDue = relayed + relayInterval
        } else {
            relay(at: now)
        }
    }

    /// What comes within this time is passed on, and thought about, together: while many nodes start, each
    /// of them hears of many changes.
    private var relayInterval: Duration {
        .milliseconds(min(5 + present.count / 2, 50))
    }

    /// Passes new records on to everybody but those who brought them.
    mutating func relay(at now: Instant) {
        relayDue = nil
        relayed = now
        presenceIsStale = true
        let fresh = relays.sorted { $0.key < $1.key }.map(\.value)
        relays = [:]
        for other in links.keys.sorted() {
            let news = fresh.filter { $0.from != other }.map(\.record)
            for frame in OverlayFrame.frames(news) { send(frame, to: other) }
        }
        update(at: now)
    }

    /// A former run of this node, or a clock that was set back: the record that counts has to be this one.
    private mutating func outdo(_ record: LinkRecord, at now: Instant) {
        guard record.version >= own?.version ?? 0, record != own, record.isAuthentic(scope: scope)
        else { return }
        lastVersion = max(lastVersion, record.version)
        reissue(at: now)
    }

    func record(of tag: UInt64) -> LinkRecord? {
        if tag == PeerPlace(localPeer).tag { return own }
        return owners[tag].flatMap { known[$0]?.record }
    }

    // MARK: suspicion

    /// Neighbours of this node that the owner of `record` was connected to for its own sake, and is no more.
    private func lost(by record: LinkRecord, _ before: LinkRecord?) -> [PeerID] {
        guard let before else { return [] }
        let left = Set(record.links.map(\.tag))
        return before.links.compactMap { link in
            guard link.isWanted, !left.contains(link.tag), let peer = owners[link.tag], links[peer] != nil
            else { return nil }
            return peer
        }
    }

    /// Asks those who still say that they are connected to the one that has lost them. When two merely
    /// no longer want one another, both say so within moments.
    mutating func examineSuspects(at now: Instant) {
        for (peer, suspicion) in suspects where suspicion.due <= now {
            suspects[peer] = nil
            let tag = rings.place(of: suspicion.by).tag
            guard known[peer]?.record?.links.contains(where: { $0.tag == tag }) == true else { continue }
            probe(peer, at: now)
        }
    }

    private mutating func probe(_ peer: PeerID, at now: Instant) {
        guard let link = links[peer], link.probeDue == nil,
            link.probed.map({ now - $0 >= Self.probeInterval }) ?? true
        else { return }
        links[peer]?.probed = now
        links[peer]?.probeDue = now + configuration.probePatience
        counters.probes += 1
        send(.probe, to: peer)
    }

    // MARK: comparing

    /// The records of those that are here, and this node's own.
    private var visible: [LinkRecord] {
        present.compactMap { known[$0]?.record } + [own].compactMap { $0 }
    }

    var digest: OverlayDigest {
        var digest = OverlayDigest()
        var rings = rings
        for record in visible { digest.add(tag: rings.place(of: record.peer).tag, version: record.version) }
        return digest
    }

    /// Starts to compare records with a link that has said to hold others, unless it holds fewer and will
    /// ask itself. One at a time: what one tells need not be told by the next.
    mutating func compareNext(at now: Instant) {
        guard comparing == nil else { return }
        let mine = digest
        for peer in links.keys.sorted() {
            guard let theirs = links[peer]?.digest else { continue }
            links[peer]?.digest = nil
            let asks = theirs.count != mine.count ? mine.count < theirs.count : localPeer < peer
            guard theirs != mine, asks else { continue }
            comparing = (peer, now + Self.comparePatience)
            var rings = rings
            let versions = visible.map {
                OverlayFrame.Version(tag: rings.place(of: $0.peer).tag, version: $0.version)
            }
            return reply([.versions(versions.sorted { $0.tag < $1.tag })], to: peer, at: now)
        }
    }

    private mutating func answer(_ versions: [OverlayFrame.Version], to peer: PeerID, at now: Instant) {
        var theirs: [UInt64: UInt64] = [:]
        for item in versions { theirs[item.tag] = item.version }
        var newer: [[UInt8]] = []
        for record in visible {
            let version = theirs[rings.place(of: record.peer).tag]
            if version.map({ $0 < record.version }) ?? true { newer.append(record.encoded) }
        }
        var missing: [UInt64] = []
        let ownTag = PeerPlace(localPeer).tag
        var looked: Set<UInt64> = [ownTag]
        for item in versions where looked.insert(item.tag).inserted {
            guard let mine = record(of: item.tag) else {
                missing.append(item.tag)
                continue
            }
            if mine.version < item.version {
                missing.append(item.tag)
            } else if mine.version > item.version, !present.contains(mine.peer) {
                newer.append(mine.encoded)
            }
        }
        reply(OverlayFrame.frames(newer) + [.want(missing)], to: peer, at: now)
    }
}
