internal import LibP2P
internal import Multiformats
internal import Timing

/// Who is here, whom to be connected to, and what to say of it.
extension Overlay {
    /// Brings everything in line with the links and records that there are now.
    mutating func update(at now: Instant) {
        if presenceIsStale { updatePresence(at: now) }
        updateChoice(at: now)
        updateSurplus(at: now)
        issueIfDue(at: now)
    }

    // MARK: presence

    private mutating func updatePresence(at now: Instant) {
        presenceIsStale = false
        var found = Set(links.keys)
        var open = Array(found)
        while let peer = open.popLast() {
            guard let record = known[peer]?.record else { continue }
            let tag = rings.place(of: peer).tag
            for link in record.links {
                guard let other = owners[link.tag], other != localPeer, !found.contains(other),
                    known[other]?.record?.links.contains(where: { $0.tag == tag }) == true
                else { continue }
                found.insert(other)
                open.append(other)
            }
        }
        guard found != present else { return }
        let (come, gone) = (found.subtracting(present), present.subtracting(found))
        present = found
        counters.presenceChanges += 1
        for peer in gone { known[peer]?.lastSeen = now }
        for peer in come.sorted() {
            known[peer]?.failed = nil
            // It is there again, wherever earlier attempts have led.
            if wanted.contains(peer), links[peer] == nil { keep(peer) }
        }
        effects.append(.present(found))
    }

    // MARK: neighbours

    private mutating func updateChoice(at now: Instant) {
        if wanted.count >= RingNeighbours.degree, let lastChosen,
            lastChosen + configuration.chooseInterval > now
        {
            // While many nodes start, each newcomer would take the place of another.
            return chooseAgain(at: lastChosen + configuration.chooseInterval)
        }
        var base = present
        var away: Set<PeerID> = []
        var unresolved: [(since: Instant, peer: PeerID)] = []
        var unproven: [PeerID] = []
        var chosen = Set(pins.keys)
        chooseDue = nil
        for (peer, entry) in known where !present.contains(peer) {
            if entry.isStock {
                chosen.insert(peer)
                continue
            }
            if entry.hasPlace { away.insert(peer) }
            guard let discovered = entry.discovered, now - discovered < configuration.discoveryLife,
                entry.failed.map({ $0 < discovered }) ?? true
            else { continue }
            guard entry.hasPlace else {
                unproven.append(peer)
                continue
            }
            base.insert(peer)
            chooseAgain(at: discovered + configuration.discoveryLife)
            let resolve = entry.firstHeard + configuration.resolveAfter
            if resolve <= now {
                unresolved.append((entry.firstHeard, peer))
            } else {
                chooseAgain(at: resolve)
            }
        }
        chosen.formUnion(rings.neighbours(of: localPeer, among: base))
        chosen.formUnion(rings.neighbours(of: localPeer, among: present.union(away)).intersection(away))
        unresolved.sort { ($0.since, $0.peer) < ($1.since, $1.peer) }
        chosen.formUnion(unresolved.prefix(Self.maximumResolving).map(\.peer))
        chosen.formUnion(resolving(unproven, at: now))
        guard chosen != wanted else { return }
        let (come, gone) = (chosen.subtracting(wanted), wanted.subtracting(chosen))
        wanted = chosen
        lastChosen = now
        for peer in gone.sorted() { effects.append(.keep(false, peer, [])) }
        for peer in come.sorted() { keep(peer) }
    }

    /// Which of `unproven` are dialled now to find out what they are: those that were not yet or longest ago,
    /// each for a while, and again only when they are heard again.
    private mutating func resolving(_ unproven: [PeerID], at now: Instant) -> [PeerID] {
        var current: [PeerID] = []
        var waiting: [(last: Instant, first: Instant, peer: PeerID)] = []
        for peer in unproven {
            guard let entry = known[peer], let discovered = entry.discovered else { continue }
            if let resolved = entry.resolved {
                if now - resolved < configuration.resolvePatience {
                    current.append(peer)
                    continue
                }
                guard discovered >= resolved + configuration.resolvePatience else { continue }
            }
            waiting.append((entry.resolved ?? .zero, entry.firstHeard, peer))
        }
        waiting.sort { ($0.last, $0.first, $0.peer) < ($1.last, $1.first, $1.peer) }
        for next in waiting.prefix(max(0, Self.maximumResolving - current.count)) {
            known[next.peer]?.resolved = now
            current.append(next.peer)
        }
        for peer in current {
            if let resolved = known[peer]?.resolved {
                chooseAgain(at: resolved + configuration.resolvePatience)
            }
        }
        return current
    }

    private mutating func chooseAgain(at due: Instant) {
        chooseDue = min(chooseDue ?? .distantFuture, due)
    }

    /// Whether the peer at the other end of a link has said that it keeps it for its own sake.
    private mutating func isWantedThere(_ peer: PeerID) -> Bool {
        let tag = rings.place(of: localPeer).tag
        return known[peer]?.record?.links.contains { $0.tag == tag && $0.isWanted } ?? false
    }

    private mutating func updateSurplus(at now: Instant) {
        for (peer, link) in links {
            if wanted.contains(peer) || isWantedThere(peer) {
                links[peer]?.surplusSince = nil
            } else if link.surplusSince == nil {
                links[peer]?.surplusSince = now
            }
        }
    }

    // MARK: this node's record

    private mutating func issueIfDue(at now: Instant) {
        let content = currentLinks()
        guard content != own?.links ?? [] || addressesToSay != own?.addresses ?? [] else {
            issueDue = nil
            return
        }
        if let issued, issued + issueInterval > now {
            issueDue = issued + issueInterval
            return
        }
        issue(content, at: now)
    }

    /// Longer in large networks, where each version costs more.
    private var issueInterval: Duration {
        configuration.issueInterval * (1 + present.count / 64)
    }

    private var addressesToSay: [Multiaddr] {
        Array(addresses.prefix(LinkRecord.maximumAddresses))
    }

    /// The links that hold the overlay together: those that one of the ends wants, its own first.
    private mutating func currentLinks() -> [LinkRecord.Link] {
        var listed: [LinkRecord.Link] = []
        for peer in links.keys.sorted() where wanted.contains(peer) || isWantedThere(peer) {
            listed.append(.init(tag: rings.place(of: peer).tag, isWanted: wanted.contains(peer)))
        }
        return Array(
            (listed.filter(\.isWanted) + listed.filter { !$0.isWanted }).prefix(LinkRecord.maximumLinks))
    }

    mutating func issue(_ content: [LinkRecord.Link], at now: Instant) {
        issueDue = nil
        guard let version = WireCounter(lastVersion)?.next?.value else { return }
        lastVersion = version
        let record = LinkRecord(
            identity: identity, version: lastVersion, addresses: addressesToSay, links: content, scope: scope)
        own = record
        issued = now
        counters.recordsIssued += 1
        for peer in links.keys.sorted() { send(.records([record.encoded]), to: peer) }
    }

    mutating func reissue(at now: Instant) {
        issue(currentLinks(), at: now)
    }
}
