package import LibP2P
package import Multiformats
package import Timing

/// Which nodes this one is connected to, and who is here at all.
///
/// - **Neighbours.** A node keeps connections to a few others, chosen by `RingNeighbours` among those that
///   are present or were just heard of; up to nine nodes that is everybody. Peers that are away are tried
///   by those whose neighbours they would be. All other connections are made when somebody wants to talk,
///   and closed when nobody uses them any more.
/// - **Presence.** Each node signs a record of its links, with a new version when they change, and
///   neighbours pass it on (`LinkRecord`). A peer is present when a path of links leads to it, each of
///   which is in the records of both its ends. So a node is gone when the last of its neighbours has said
///   so, and one that hears that another has lost a neighbour asks that one at once. Nothing is said
///   while nothing changes.
/// - **Agreement.** What a stream lost is found when links come up and now and then, by comparing sums
///   over the versions of all records.
///
/// Pure: the driver brings connections, frames and the time, and carries the effects out.
package struct Overlay: Sendable {
    let identity: Identity
    let scope: [UInt8]
    let configuration: Configuration
    var generator: SeededGenerator
    package internal(set) var counters = Counters()
    var effects: [Effect] = []

    var rings = RingNeighbours()
    var known: [PeerID: Known] = [:]
    var owners: [UInt64: PeerID] = [:]
    var links: [PeerID: Link] = [:]
    var pins: [PeerID: [PinReason: [Multiaddr]]] = [:]
    /// Whom this node stays connected to.
    var wanted: Set<PeerID> = []
    /// Who is here.
    package internal(set) var present: Set<PeerID> = []
    /// Whether links or records have changed since that was worked out.
    var presenceIsStale = false

    var addresses: [Multiaddr] = []
    var own: LinkRecord?
    var lastVersion: UInt64
    var issued: Instant?
    var issueDue: Instant?
    /// New records that were not passed on yet, each with who brought it.
    var relays: [PeerID: (record: [UInt8], from: PeerID)] = [:]
    var relayed: Instant?
    var relayDue: Instant?
    /// Neighbours that another one has lost, which one, and when it is time to ask them.
    var suspects: [PeerID: (by: PeerID, due: Instant)] = [:]
    /// With whom records are being compared, and until when.
    var comparing: (peer: PeerID, until: Instant)?
    var compareDue: Instant
    /// When records that wait are looked at; nil when there are none.
    var recordsDue: Instant?
    var sweepDue: Instant
    /// When the choice of neighbours changes by itself.
    var chooseDue: Instant?
    var lastChosen: Instant?

    /// Makes the overlay of a node that is alone.
    ///
    /// - Parameters:
    ///   - scope: the tag of the network; records of another one count for nothing.
    ///   - version: that of the first record, which has to be greater than those of former runs:
    ///     milliseconds of wall-clock time. Should a former one be greater all the same, it is outdone when
    ///     it is met.
    package init(
        identity: Identity, scope: [UInt8], version: UInt64, configuration: Configuration = Configuration(),
        generator: SeededGenerator, at now: Instant
    ) {
        self.identity = identity
        self.scope = scope
        self.configuration = configuration
        self.generator = generator
        lastVersion = version
        compareDue = now + configuration.compareInterval
        sweepDue = now + .seconds(60)
    }

    var localPeer: PeerID { identity.peerID }

    /// The peers that are connected and admitted.
    package var linked: Set<PeerID> { Set(links.keys) }

    /// The peers that this node stays connected to.
    package var neighbours: Set<PeerID> { wanted }

    /// Where `peer` can be dialled, as far as is known.
    package func addresses(of peer: PeerID) -> [Multiaddr] {
        let entry = known[peer]
        var addresses = entry?.record?.addresses ?? []
        let pinned = pins[peer]?[.configuration] ?? []
        for address in (entry?.addresses ?? []) + pinned where !addresses.contains(address) {
            addresses.append(address)
        }
        return addresses
    }

    /// For what `peer` is dialled. That it was admitted while it was connected the swarm knows itself.
    package func dialClass(of peer: PeerID) -> DialClass {
        if pins[peer] != nil { return .pinned }
        guard let entry = known[peer] else { return .unproven }
        return entry.hasPlace || entry.isStock || links[peer] != nil ? .recorded : .unproven
    }

    /// When the next `.tick` is wanted.
    package var nextDeadline: Instant {
        var deadline = min(sweepDue, links.isEmpty ? .distantFuture : compareDue)
        for due in [issueDue, relayDue, comparing?.until, chooseDue, recordsDue] {
            if let due { deadline = min(deadline, due) }
        }
        for suspicion in suspects.values { deadline = min(deadline, suspicion.due) }
        for (peer, link) in links {
            if let due = link.probeDue { deadline = min(deadline, due) }
            if let since = link.surplusSince { deadline = min(deadline, surplusDue(peer, since)) }
        }
        return deadline
    }

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .discovered(let peer, let addresses, let isProven):
            discovered(peer, addresses, isProven: isProven, at: now)
        case .pin(let isPinned, let peer, let addresses, let reason):
            pin(isPinned, peer, addresses, reason, at: now)
        case .listening(let addresses):
            self.addresses = addresses
            update(at: now)
        case .linkUp(let peer): linkUp(peer, at: now)
        case .linkDown(let peer): linkDown(peer, at: now)
        case .stock(let peer): stock(peer, at: now)
        case .dialFailed(let peer):
            guard known[peer] != nil, links[peer] == nil else { break }
            known[peer]?.failed = now
            update(at: now)
        case .frame(let peer, let bytes): frame(bytes, from: peer, at: now)
        case .request(let peer): request(peer, at: now)
        case .tick: tick(at: now)
        }
        defer { effects = [] }
        return effects
    }

    // MARK: what others say

    private mutating func discovered(
        _ peer: PeerID, _ addresses: [Multiaddr], isProven: Bool, at now: Instant
    ) {
        // Whoever proves nothing cannot say where a member is.
        guard peer != localPeer, isProven || known[peer]?.hasPlace != true,
            isProven ? note(peer, at: now) : noteUnproven(peer, at: now)
        else { return }
        let hadPlace = known[peer]?.hasPlace ?? false
        if isProven { known[peer]?.isProven = true }
        let isNew = known[peer]?.addresses != addresses || known[peer]?.hasPlace != hadPlace
        known[peer]?.addresses = Array(addresses.prefix(LinkRecord.maximumAddresses))
        known[peer]?.discovered = now
        known[peer]?.lastSeen = now
        if isNew, wanted.contains(peer), links[peer] == nil { keep(peer) }
        // That a linked node is still there is no news.
        if isNew || links[peer] == nil { update(at: now) }
    }

    private mutating func pin(
        _ isPinned: Bool, _ peer: PeerID, _ addresses: [Multiaddr], _ reason: PinReason, at now: Instant
    ) {
        guard peer != localPeer else { return }
        if isPinned {
            guard pins[peer]?[reason] != addresses, pins.count < Self.maximumKnown else { return }
            pins[peer, default: [:]][reason] = addresses
            if wanted.contains(peer) { keep(peer) }
        } else {
            pins[peer]?[reason] = nil
            if pins[peer]?.isEmpty == true { pins[peer] = nil }
        }
        update(at: now)
    }

    private mutating func stock(_ peer: PeerID, at now: Instant) {
        guard note(peer, at: now) else { return }
        known[peer]?.isStock = true
        known[peer]?.lastSeen = now
        update(at: now)
    }

    private mutating func linkUp(_ peer: PeerID, at now: Instant) {
        guard peer != localPeer, links[peer] == nil, note(peer, at: now, evenIfFull: true) else { return }
        known[peer]?.isStock = false
        known[peer]?.isProven = true
        known[peer]?.failed = nil
        known[peer]?.lastSeen = now
        presenceIsStale = true
        links[peer] = Link(
            frames: TokenBucket(capacity: 1024, perSecond: 64, at: now),
            records: TokenBucket(capacity: 4096, perSecond: 512, at: now),
            // Twice all records that a node can know, at once.
            answers: TokenBucket(
                capacity: 2 * Self.maximumKnown * LinkRecord.maximumLength, perSecond: 65_536, at: now))
        update(at: now)
        // Unless it has just gone out to all.
        if let own, issued != now { send(.records([own.encoded]), to: peer) }
        send(.digest(digest), to: peer)
    }

    private mutating func linkDown(_ peer: PeerID, at now: Instant) {
        guard links.removeValue(forKey: peer) != nil else { return }
        presenceIsStale = true
        if comparing?.peer == peer { comparing = nil }
        suspects[peer] = nil
        known[peer]?.lastSeen = now
        update(at: now)
        compareNext(at: now)
    }

    private mutating func request(_ peer: PeerID, at now: Instant) {
        if links[peer] != nil {
            if links[peer]?.surplusSince != nil { links[peer]?.surplusSince = now }
            return
        }
        effects.append(.dial(peer, addresses(of: peer)))
    }

    /// Makes room for a peer; false when there is none.
    mutating func note(_ peer: PeerID, at now: Instant, evenIfFull: Bool = false) -> Bool {
        if known[peer] != nil { return true }
        if known.count >= Self.maximumKnown {
            let oldest = known.filter { links[$0.key] == nil && !present.contains($0.key) }
                .min { Self.isWorthLess($0, $1) }
            if let oldest { forget(oldest.key) } else if !evenIfFull { return false }
        }
        add(peer, at: now)
        return true
    }

    /// Makes room for a peer that has shown nothing, at the cost of one like it, drawn by lot: who is heard
    /// oftest must not be who stays.
    private mutating func noteUnproven(_ peer: PeerID, at now: Instant) -> Bool {
        if known[peer] != nil { return true }
        let others = known.filter { links[$0.key] == nil && !$0.value.hasPlace && !$0.value.isStock }
        if others.count >= Self.maximumUnproven || known.count >= Self.maximumKnown {
            guard let victim = others.keys.sorted().randomElement(using: &generator) else { return false }
            forget(victim)
        }
        add(peer, at: now)
        return true
    }

    /// Who has shown nothing gives way before everybody else, and then who was seen longest ago.
    private static func isWorthLess(
        _ left: (key: PeerID, value: Known), _ right: (key: PeerID, value: Known)
    ) -> Bool {
        let isFirst = left.value.hasPlace || left.value.isStock
        let isSecond = right.value.hasPlace || right.value.isStock
        guard isFirst == isSecond else { return isSecond }
        return (left.value.lastSeen, left.key) < (right.value.lastSeen, right.key)
    }

    private mutating func add(_ peer: PeerID, at now: Instant) {
        known[peer] = Known(firstHeard: now, lastSeen: now)
        owners[rings.place(of: peer).tag] = peer
    }

    private mutating func forget(_ peer: PeerID) {
        known[peer] = nil
        owners[rings.place(of: peer).tag] = nil
    }

    // MARK: time

    private mutating func tick(at now: Instant) {
        if let recordsDue, recordsDue <= now { takeWaiting(at: now) }
        if let relayDue, relayDue <= now { relay(at: now) }
        if let comparing, comparing.until <= now {
            self.comparing = nil
            compareNext(at: now)
        }
        if sweepDue <= now {
            sweepDue = now + .seconds(60)
            for (peer, entry) in known
            where links[peer] == nil && !present.contains(peer)
                && now - entry.lastSeen >= configuration.memory
            {
                forget(peer)
            }
        }
        if compareDue <= now {
            let interval = configuration.compareInterval
            compareDue = now + generator.duration(in: (interval / 2)...(interval * 3 / 2))
            if let peer = links.keys.sorted().randomElement(using: &generator) {
                send(.digest(digest), to: peer)
            }
        }
        examineSuspects(at: now)
        for peer in links.keys.sorted() {
            if let due = links[peer]?.probeDue, due <= now {
                links[peer]?.probeDue = nil
                effects.append(.disconnect(peer))
            }
            if let since = links[peer]?.surplusSince, surplusDue(peer, since) <= now {
                links[peer]?.surplusSince = now
                effects.append(.closeUnlessUsed(peer))
            }
        }
        chooseDue = nil
        update(at: now)
    }

    /// One end closes; the other stands behind it. All links are looked at in the same moments, twice in the
    /// grace, so that many in use cost a node few wakings.
    private func surplusDue(_ peer: PeerID, _ since: Instant) -> Instant {
        let step = configuration.surplusGrace / 2
        let earliest = since + step * (localPeer < peer ? 2 : 3)
        return (earliest + step).rounded(downTo: step)
    }

    mutating func send(_ frame: OverlayFrame, to peer: PeerID) { send(frame.encoded, to: peer) }

    mutating func send(_ bytes: [UInt8], to peer: PeerID) {
        counters.framesSent += 1
        counters.frameBytesSent += bytes.count
        effects.append(.send(peer, bytes))
    }

    mutating func keep(_ peer: PeerID) {
        effects.append(.keep(true, peer, addresses(of: peer)))
    }
}
