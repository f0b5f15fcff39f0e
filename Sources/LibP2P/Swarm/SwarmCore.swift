internal import DequeModule
package import Multiformats
internal import OrderedCollections
package import Timing

/// The swarm's decisions: whom to dial when and where, which connections to take, keep and close.
/// No socket, no clock, no timer: `receive` takes news and the time and returns what to do.
///
/// **Dialling.** One dial a peer at a time, over its addresses as `DialPlan` orders them; the first
/// connection ends it. An address that failed is in back-off; a peer marked to stay connected to is
/// redialled with the same back-off for the peer as a whole, quickly at first when a good
/// connection ended.
///
/// **Several connections to a peer** are legal, arise when both ends dial at once, and stock nodes
/// keep them all, so we close none of theirs (contract/wire.md D.1). Of two connections the newer
/// is preferred for streams, because a peer dials only when it has lost the older; but when both
/// were opened within moments, the one that the smaller peer ID dialled, so that both ends prefer
/// the same. Where the other end is one of our own nodes, the end with the smaller peer ID closes
/// the others after a while.
///
/// **Standing.** A peer of which nobody has said better is unproven. Such peers share few places, of which a
/// newcomer always gets one: somebody else loses his at random (`UnprovenShare`). An unproven peer makes one
/// connection, a newer one in the place of the older; what it tells of its addresses is not remembered, nor is it
/// once it is gone. Dials have slots by `DialClass`, so that dead addresses that somebody told delay nobody
/// who is worth more.
package struct SwarmCore: Sendable {
    /// Names one attempt to reach one address.
    package struct AttemptID: Hashable, Sendable {
        package let rawValue: UInt64
    }

    package enum Input: Sendable {
        /// Reach the peer at these addresses and those remembered.
        case dial(PeerID, addresses: [Multiaddr], as: DialClass = .recorded)
        /// Stay connected to the peer, or no longer.
        case keepConnected(Bool, PeerID, addresses: [Multiaddr], as: DialClass = .recorded)
        /// What the peer, which is connected, has shown of itself.
        case standing(PeerID, PeerStanding)
        /// The attempt did not lead to a connection.
        case attemptFailed(AttemptID, reason: String)
        /// A connection to the peer is secured and muxed. The attempt is nil when inbound.
        case opened(PeerID, ConnectionInfo, attempt: AttemptID?)
        /// The connection is gone.
        case closed(ConnectionID)
        /// Identify said who the peer is and where it listens.
        case identified(PeerID, addresses: [Multiaddr], isOurs: Bool)
        /// End all connections to the peer.
        case disconnect(PeerID, DisconnectReason)
        /// The networks that are refused.
        case block(AddressBlocklist)
        /// Take no new connections, dial nobody, end all.
        case shutDown
        /// The time that `nextDeadline` named has come.
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Connect to the address and prove that the peer is there, within the timeout.
        case dial(AttemptID, PeerID, Multiaddr, timeout: Duration)
        /// Give the attempt up; nothing is to be reported of it.
        case cancel(AttemptID)
        /// The dials of the peer that were asked for ended, nil being success.
        case dialEnded(PeerID, SwarmError?)
        /// The connection is taken: the first to the peer, or a further one.
        case accepted(PeerID, ConnectionInfo, isFirst: Bool)
        /// Close the connection that was just opened: it is not taken.
        case refuse(ConnectionID, DisconnectReason)
        /// Close a connection that was taken; `.closed` follows when it is gone.
        case close(ConnectionID, DisconnectReason)
        /// The connection is forgotten, and with it the peer if it was the last.
        case removed(PeerID, ConnectionID, isLast: Bool)
        /// The peer has another standing now, on all of its connections.
        case standing(PeerID, PeerStanding)
    }

    private struct Address {
        var tries = 0
        var notBefore = Instant.zero
    }

    private struct Connection {
        let info: ConnectionInfo
        let opened: Instant
        var isClosing = false
    }

    private struct Dial {
        var isAskedFor: Bool
        var steps: Deque<(address: Multiaddr, start: Instant)>
        var attempts: [AttemptID: Multiaddr] = [:]
        var failures: [String] = []
    }

    private struct Peer {
        var addresses: OrderedDictionary<Multiaddr, Address> = [:]
        var isKept = false
        var isOurs = false
        var standing: PeerStanding
        /// The best that it has shown of itself since this node started.
        var bestStanding = PeerStanding.unproven
        /// For what it was last dialled or kept.
        var dialClass = DialClass.recorded
        var tries = 0
        var quickRedials = 0
        var redial: Instant?
        var surplusDue: Instant?
        var dial: Dial?
        var connections: [Connection] = []
        var touched: Instant

        var isIdle: Bool { !isKept && dial == nil && connections.isEmpty }
        /// The class of its dials now.
        var slotClass: DialClass {
            switch bestStanding {
            case .unproven: dialClass
            case .member: max(dialClass, .recorded)
            case .admitted: max(dialClass, .proven)
            }
        }
    }

    /// This node.
    package let localPeer: PeerID
    private let limits: SwarmLimits
    private let timings: SwarmTimings
    private var random: SeededGenerator
    private var peers: [PeerID: Peer] = [:]
    private var owners: [ConnectionID: PeerID] = [:]
    private var attemptOwners: [AttemptID: PeerID] = [:]
    private var lastAttempt: UInt64 = 0
    /// Dials under way by class.
    private var slotsInUse: [DialClass: Int] = [:]
    private var attemptClasses: [AttemptID: DialClass] = [:]
    /// Who waits for a slot, by class.
    private var waiting: [DialClass: OrderedSet<PeerID>] = [:]
    private var unproven: UnprovenShare<ConnectionID>
    private var blocklist = AddressBlocklist()
    private var isShutDown = false
    private var effects: [Effect] = []

    package init(
        localPeer: PeerID, limits: SwarmLimits = SwarmLimits(), timings: SwarmTimings = SwarmTimings(),
        seed: UInt64
    ) {
        self.localPeer = localPeer
        self.limits = limits
        self.timings = timings
        self.random = SeededGenerator(seed: seed)
        self.unproven = UnprovenShare(
            capacity: limits.unprovenConnections, perAddress: limits.unprovenPerAddress,
            patience: timings.proofPatience)
    }

    // MARK: - What others may look at

    /// Connections that are up.
    package var connectionCount: Int { owners.count }

    /// Connections of unproven peers, which may have to give way.
    package var unprovenCount: Int { unproven.count }

    /// What the peer has shown of itself.
    package func standing(of peer: PeerID) -> PeerStanding { peers[peer]?.standing ?? limits.newcomers }

    /// The connection on which new streams to the peer are opened; nil when there is none.
    package func preferredConnection(to peer: PeerID) -> ConnectionID? {
        guard let entry = peers[peer] else { return nil }
        return preferred(entry, peer)?.info.id
    }

    /// All connections to the peer.
    package func connections(to peer: PeerID) -> [ConnectionInfo] {
        peers[peer]?.connections.map(\.info) ?? []
    }

    /// The peers that are connected.
    package var connectedPeers: [PeerID] {
        peers.compactMap { $0.value.connections.isEmpty ? nil : $0.key }
    }

    /// The addresses remembered for the peer.
    package func addresses(of peer: PeerID) -> [Multiaddr] {
        peers[peer].map { Array($0.addresses.keys) } ?? []
    }

    /// When `.tick` is wanted; nil when nothing is planned.
    package var nextDeadline: Instant? {
        var deadline = Instant.distantFuture
        for entry in peers.values {
            if let redial = entry.redial { deadline = min(deadline, redial) }
            if let surplusDue = entry.surplusDue { deadline = min(deadline, surplusDue) }
            if let dial = entry.dial, let next = dial.steps.first, hasSlot(for: entry.slotClass),
                dial.attempts.count < limits.dialAttemptsPerPeer
            {
                deadline = min(deadline, next.start)
            }
        }
        return deadline == .distantFuture ? nil : deadline
    }

    // MARK: - News

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .dial(let peer, let addresses, let dialClass):
            requestDial(peer, addresses, as: dialClass, at: now)
        case .keepConnected(let keep, let peer, let addresses, let dialClass):
            setKept(keep, peer, addresses, as: dialClass, at: now)
        case .standing(let peer, let standing): setStanding(standing, of: peer, at: now)
        case .attemptFailed(let attempt, let reason): attemptFailed(attempt, reason, at: now)
        case .opened(let peer, let info, let attempt): opened(peer, info, attempt, at: now)
        case .closed(let connection): closed(connection, at: now)
        case .identified(let peer, let addresses, let isOurs):
            identified(peer, addresses, isOurs: isOurs, at: now)
        case .disconnect(let peer, let reason): disconnect(peer, reason)
        case .block(let blocklist): block(blocklist)
        case .shutDown: shutDown()
        case .tick: tick(at: now)
        }
        startWaiting(at: now)
        defer { effects = [] }
        return effects
    }

    private mutating func requestDial(
        _ peer: PeerID, _ addresses: [Multiaddr], as dialClass: DialClass, at now: Instant
    ) {
        guard !isShutDown else { return effects.append(.dialEnded(peer, .shutDown)) }
        guard peer != localPeer else { return effects.append(.dialEnded(peer, .dialToSelf)) }
        guard remember(peer, addresses, at: now) else {
            return effects.append(.dialEnded(peer, .limitReached("remembered peers")))
        }
        guard let entry = peers[peer] else { return }
        if entry.dial == nil, !entry.isKept || entry.dialClass < dialClass {
            peers[peer]?.dialClass = dialClass
        }
        if entry.connections.contains(where: { !$0.isClosing }) {
            return effects.append(.dialEnded(peer, nil))
        }
        if entry.dial != nil {
            peers[peer]?.dial?.isAskedFor = true
            extendDial(peer, with: addresses, at: now)
        } else {
            startDial(peer, isAskedFor: true, at: now)
        }
    }

    private mutating func setKept(
        _ keep: Bool, _ peer: PeerID, _ addresses: [Multiaddr], as dialClass: DialClass, at now: Instant
    ) {
        guard peer != localPeer, !isShutDown else { return }
        guard keep else {
            peers[peer]?.isKept = false
            peers[peer]?.redial = nil
            forgetIfUseless(peer)
            return
        }
        guard remember(peer, addresses, at: now, evenIfFull: true) else { return }
        peers[peer]?.isKept = true
        peers[peer]?.dialClass = dialClass
        // Told again, there is news of the peer: it is dialled at once.
        if let entry = peers[peer], entry.connections.isEmpty, entry.dial == nil {
            startDial(peer, isAskedFor: false, at: now)
        }
    }

    private mutating func attemptFailed(_ attempt: AttemptID, _ reason: String, at now: Instant) {
        guard let peer = endAttempt(attempt),
            let address = peers[peer]?.dial?.attempts.removeValue(forKey: attempt)
        else { return }
        penalize(address, of: peer, at: now)
        peers[peer]?.dial?.failures.append("\(address): \(reason)")
        // The next address need not wait for its turn when the one before it is out.
        if let dial = peers[peer]?.dial, dial.attempts.isEmpty, !dial.steps.isEmpty {
            peers[peer]?.dial?.steps[0].start = now
        }
        advanceDial(peer, at: now)
    }

    private mutating func opened(
        _ peer: PeerID, _ info: ConnectionInfo, _ attempt: AttemptID?, at now: Instant
    ) {
        if let attempt {
            _ = endAttempt(attempt)
            if let address = peers[peer]?.dial?.attempts.removeValue(forKey: attempt) {
                peers[peer]?.addresses[address] = Address()
            }
        }
        if let reason = refusal(peer, info) {
            effects.append(.refuse(info.id, reason))
            advanceDial(peer, at: now)
            return
        }
        if peers[peer] == nil { peers[peer] = newPeer(at: now) }
        guard let entry = peers[peer] else { return }
        let isFirst = entry.connections.isEmpty
        if entry.standing == .unproven { makePlace(for: peer, entry, info, at: now) }
        peers[peer]?.connections.append(Connection(info: info, opened: now))
        peers[peer]?.touched = now
        peers[peer]?.redial = nil
        owners[info.id] = peer
        effects.append(.accepted(peer, info, isFirst: isFirst))
        if !isFirst { planSurplus(peer, at: now) }
        if entry.dial != nil {
            // When ours is the connection that both ends will prefer, it is worth completing.
            let completes =
                info.direction == .inbound && localPeer < peer && !(entry.dial?.attempts.isEmpty ?? true)
            if completes {
                peers[peer]?.dial?.steps = []
                peers[peer]?.dial?.isAskedFor = false
            } else {
                endDial(peer)
            }
            effects.append(.dialEnded(peer, nil))
        }
    }

    private func refusal(_ peer: PeerID, _ info: ConnectionInfo) -> DisconnectReason? {
        if isShutDown { return .shutdown }
        if peer == localPeer { return .gated }
        if blocklist.blocks(info.remoteAddress) || blocklist.blocks(info.localAddress) { return .gated }
        let entry = peers[peer]
        // An unproven peer needs no room among the proven ones; it gets a place among its like.
        guard let entry, entry.standing > .unproven else {
            return limits.newcomers > .unproven && isFull(entry) ? .resourceLimit : nil
        }
        if isFull(entry) { return .resourceLimit }
        if entry.connections.count >= limits.connectionsPerPeer { return .resourceLimit }
        return nil
    }

    /// Whether there are as many connections to proven peers as there may be.
    private func isFull(_ entry: Peer?) -> Bool {
        let isKept = entry?.isKept ?? false
        let most = limits.connections + (isKept ? limits.keptConnections : 0)
        return owners.count - unproven.count >= most
    }

    // MARK: - Standing

    private func newPeer(at now: Instant) -> Peer {
        Peer(standing: limits.newcomers, touched: now)
    }

    /// Gives a connection of an unproven peer its place; an older one that the peer made, and at random one of
    /// another peer, may lose theirs.
    private mutating func makePlace(
        for peer: PeerID, _ entry: Peer, _ info: ConnectionInfo, at now: Instant
    ) {
        if info.direction == .inbound {
            // Whoever connects anew has lost the older connection, or is up to no good.
            close(peer, .supplanted) { $0.direction == .inbound }
            for connection in entry.connections where connection.info.direction == .inbound {
                unproven.leave(connection.info.id)
            }
        } else if entry.slotClass == .pinned {
            // The operator's word is as good as a place of its own; so many names are not in a configuration.
            return
        }
        takePlace(info, at: now)
    }

    private mutating func takePlace(_ info: ConnectionInfo, at now: Instant) {
        let address = info.remoteAddress.ipAddress ?? .v4(IPv4Address(0))
        guard
            let victim = unproven.enter(info.id, from: AddressGroup(address), at: now, using: &random),
            let owner = owners[victim]
        else { return }
        close(owner, .resourceLimit) { $0.id == victim }
    }

    private mutating func setStanding(_ standing: PeerStanding, of peer: PeerID, at now: Instant) {
        guard let entry = peers[peer], !entry.connections.isEmpty, entry.standing != standing else { return }
        if standing == .unproven {
            peers[peer]?.standing = .unproven
            for connection in entry.connections where !connection.isClosing {
                takePlace(connection.info, at: now)
            }
        } else {
            if entry.standing == .unproven {
                guard standing == .admitted || memberConnectionCount < limits.memberConnections else {
                    return
                }
                guard !isFull(entry) else { return close(peer, .resourceLimit) { _ in true } }
            }
            peers[peer]?.standing = standing
            peers[peer]?.bestStanding = max(entry.bestStanding, standing)
            for connection in entry.connections { unproven.leave(connection.info.id) }
        }
        effects.append(.standing(peer, standing))
    }

    private var memberConnectionCount: Int {
        peers.values.reduce(0) { $1.standing == .member ? $0 + $1.connections.count : $0 }
    }

    private mutating func closed(_ connection: ConnectionID, at now: Instant) {
        guard let peer = owners.removeValue(forKey: connection), let entry = peers[peer],
            let index = entry.connections.firstIndex(where: { $0.info.id == connection })
        else { return }
        let gone = entry.connections[index]
        peers[peer]?.connections.remove(at: index)
        peers[peer]?.touched = now
        let isLast = entry.connections.count == 1
        unproven.leave(connection)
        effects.append(.removed(peer, connection, isLast: isLast))
        guard isLast else { return planSurplus(peer, at: now) }
        peers[peer]?.surplusDue = nil
        let wasGood = now - gone.opened >= timings.longLived && !gone.isClosing
        if wasGood {
            peers[peer]?.tries = 0
            peers[peer]?.quickRedials = timings.quickRedials.count
        } else {
            peers[peer]?.tries += 1
        }
        let isUnproven = entry.standing == .unproven
        peers[peer]?.standing = limits.newcomers
        if entry.isKept, entry.dial == nil { planRedial(peer, at: now) }
        if isUnproven, entry.bestStanding == .unproven, peers[peer]?.isIdle ?? false {
            peers[peer] = nil
        } else {
            forgetIfUseless(peer)
        }
    }

    private mutating func identified(
        _ peer: PeerID, _ addresses: [Multiaddr], isOurs: Bool, at now: Instant
    ) {
        guard let entry = peers[peer] else { return }
        // Anyone can name addresses, of others or of nobody.
        if entry.standing > .unproven { remember(peer, addresses, at: now) }
        peers[peer]?.isOurs = isOurs
        planSurplus(peer, at: now)
    }

    private mutating func disconnect(_ peer: PeerID, _ reason: DisconnectReason) {
        if peers[peer]?.dial != nil {
            endDial(peer)
            effects.append(.dialEnded(peer, .refused("disconnected")))
        }
        close(peer, reason) { _ in true }
    }

    private mutating func block(_ blocklist: AddressBlocklist) {
        self.blocklist = blocklist
        for peer in peers.keys {
            close(peer, .gated) { blocklist.blocks($0.remoteAddress) || blocklist.blocks($0.localAddress) }
        }
    }

    private mutating func shutDown() {
        isShutDown = true
        waiting = [:]
        for (peer, entry) in peers {
            if entry.dial != nil {
                endDial(peer)
                effects.append(.dialEnded(peer, .shutDown))
            }
            peers[peer]?.redial = nil
            peers[peer]?.surplusDue = nil
            peers[peer]?.isKept = false
            close(peer, .shutdown) { _ in true }
        }
    }

    private mutating func close(
        _ peer: PeerID, _ reason: DisconnectReason, where condition: (ConnectionInfo) -> Bool
    ) {
        guard let entry = peers[peer] else { return }
        for (index, connection) in entry.connections.enumerated()
        where !connection.isClosing && condition(connection.info) {
            peers[peer]?.connections[index].isClosing = true
            effects.append(.close(connection.info.id, reason))
        }
    }

    private mutating func tick(at now: Instant) {
        for peer in Array(peers.keys) {
            guard let entry = peers[peer] else { continue }
            if let due = entry.surplusDue, due <= now { closeSurplus(peer) }
            if let redial = entry.redial, redial <= now {
                peers[peer]?.redial = nil
                startDial(peer, isAskedFor: false, at: now)
            }
            advanceDial(peer, at: now)
        }
    }

    // MARK: - Which connection

    private func preferred(_ entry: Peer, _ peer: PeerID) -> Connection? {
        let candidates = entry.connections.filter { !$0.isClosing }
        guard let newest = candidates.max(by: { $0.opened < $1.opened }) else { return nil }
        let better: ConnectionDirection = localPeer < peer ? .outbound : .inbound
        return candidates.filter { newest.opened - $0.opened < timings.simultaneousWindow }
            .max { left, right in
                (left.info.direction == better ? 1 : 0, left.opened, left.info.id.rawValue)
                    < (right.info.direction == better ? 1 : 0, right.opened, right.info.id.rawValue)
            }
    }

    private mutating func planSurplus(_ peer: PeerID, at now: Instant) {
        guard let entry = peers[peer] else { return }
        let open = entry.connections.count { !$0.isClosing }
        guard open > 1, entry.isOurs, localPeer < peer else {
            peers[peer]?.surplusDue = nil
            return
        }
        if entry.surplusDue == nil { peers[peer]?.surplusDue = now + timings.surplusGrace }
    }

    private mutating func closeSurplus(_ peer: PeerID) {
        peers[peer]?.surplusDue = nil
        guard let entry = peers[peer], let kept = preferred(entry, peer)?.info.id else { return }
        close(peer, .supplanted) { $0.id != kept }
    }

    // MARK: - Dialling

    private mutating func startDial(_ peer: PeerID, isAskedFor: Bool, at now: Instant) {
        guard let entry = peers[peer], entry.dial == nil, !isShutDown else { return }
        var due: [Multiaddr] = []
        var earliest: Instant?
        for (address, state) in entry.addresses where isDialable(address) {
            earliest = min(earliest ?? .distantFuture, state.notBefore)
            // A redial of ours waited for the peer's own back-off already.
            if !isAskedFor || state.notBefore <= now { due.append(address) }
        }
        guard !due.isEmpty else {
            let error: SwarmError = earliest.map { .backingOff($0 - now) } ?? .noDialableAddress
            return finishDial(peer, isAskedFor: isAskedFor, error, at: now)
        }
        peers[peer]?.redial = nil
        let steps = DialPlan(due, timings: timings).steps.map { ($0.address, now + $0.delay) }
        peers[peer]?.dial = Dial(isAskedFor: isAskedFor, steps: Deque(steps))
        advanceDial(peer, at: now)
    }

    /// Adds addresses to a dial under way that it does not know.
    private mutating func extendDial(_ peer: PeerID, with addresses: [Multiaddr], at now: Instant) {
        guard let dial = peers[peer]?.dial else { return }
        let known = Set(dial.steps.map(\.address)).union(dial.attempts.values)
        let fresh = addresses.filter { address in
            !known.contains(address) && isDialable(address)
                && (peers[peer]?.addresses[address]?.notBefore ?? .zero) <= now
        }
        for step in DialPlan(fresh, timings: timings).steps {
            peers[peer]?.dial?.steps.append((step.address, now + step.delay))
        }
        advanceDial(peer, at: now)
    }

    private mutating func advanceDial(_ peer: PeerID, at now: Instant) {
        while let dial = peers[peer]?.dial, let step = dial.steps.first, step.start <= now {
            let slotClass = peers[peer]?.slotClass ?? .unproven
            guard hasSlot(for: slotClass) else {
                waiting[slotClass, default: []].append(peer)
                return
            }
            // It goes on when one of its own attempts ends.
            guard dial.attempts.count < limits.dialAttemptsPerPeer else { return }
            peers[peer]?.dial?.steps.removeFirst()
            lastAttempt += 1
            let attempt = AttemptID(rawValue: lastAttempt)
            peers[peer]?.dial?.attempts[attempt] = step.address
            attemptOwners[attempt] = peer
            attemptClasses[attempt] = slotClass
            slotsInUse[slotClass, default: 0] += 1
            let isDistant = step.address.reach == .public
            let timeout = isDistant ? timings.publicDialTimeout : timings.privateDialTimeout
            effects.append(.dial(attempt, peer, step.address, timeout: timeout))
        }
        guard let dial = peers[peer]?.dial, dial.steps.isEmpty, dial.attempts.isEmpty else { return }
        peers[peer]?.dial = nil
        // A dial that went on beside an inbound connection has reported its success already.
        guard dial.isAskedFor || (peers[peer]?.connections.isEmpty ?? false) else { return }
        finishDial(peer, isAskedFor: dial.isAskedFor, .dialFailed(dial.failures), at: now)
    }

    private mutating func startWaiting(at now: Instant) {
        for slotClass in DialClass.allCases.reversed() {
            while hasSlot(for: slotClass), let peer = waiting[slotClass]?.first {
                waiting[slotClass]?.removeFirst()
                advanceDial(peer, at: now)
            }
        }
    }

    /// Whether another dial of `slotClass` may begin: neither its share nor one above is used up.
    private func hasSlot(for slotClass: DialClass) -> Bool {
        var inUse = 0
        for other in DialClass.allCases {
            inUse += slotsInUse[other, default: 0]
            if other >= slotClass, inUse >= other.share(of: limits.dialAttempts) { return false }
        }
        return true
    }

    /// The attempt takes no slot any more; returns whose it was.
    private mutating func endAttempt(_ attempt: AttemptID) -> PeerID? {
        if let slotClass = attemptClasses.removeValue(forKey: attempt) {
            slotsInUse[slotClass, default: 1] -= 1
        }
        return attemptOwners.removeValue(forKey: attempt)
    }

    /// Ends a dial without word of it.
    private mutating func endDial(_ peer: PeerID) {
        guard let dial = peers[peer]?.dial else { return }
        for attempt in dial.attempts.keys {
            _ = endAttempt(attempt)
            effects.append(.cancel(attempt))
        }
        peers[peer]?.dial = nil
    }

    private mutating func finishDial(_ peer: PeerID, isAskedFor: Bool, _ error: SwarmError, at now: Instant) {
        effects.append(.dialEnded(peer, error))
        guard let entry = peers[peer] else { return }
        if entry.isKept, entry.connections.isEmpty {
            // Failures are expected while a peer restarts: they do not lengthen the back-off.
            if entry.quickRedials == 0 { peers[peer]?.tries += 1 }
            planRedial(peer, at: now)
        }
        forgetIfUseless(peer)
    }

    private mutating func planRedial(_ peer: PeerID, at now: Instant) {
        guard let entry = peers[peer], !isShutDown else { return }
        if entry.quickRedials > 0, !timings.quickRedials.isEmpty {
            let index = min(
                max(0, timings.quickRedials.count - entry.quickRedials), timings.quickRedials.count - 1)
            let delay = jittered(timings.quickRedials[index])
            peers[peer]?.quickRedials -= 1
            peers[peer]?.redial = now + delay
        } else {
            let delay = jittered(backoff(tries: entry.tries))
            peers[peer]?.redial = now + delay
        }
    }

    private func backoff(tries: Int) -> Duration {
        let capped = min(max(tries, 1), 1000)
        return min(timings.backoffBase + .seconds(capped * capped), timings.backoffMaximum)
    }

    /// Within a tenth either way, so that a room of nodes does not dial in step.
    private mutating func jittered(_ duration: Duration) -> Duration {
        random.duration(in: (duration * 9 / 10)...(duration * 11 / 10))
    }

    private mutating func penalize(_ address: Multiaddr, of peer: PeerID, at now: Instant) {
        guard var state = peers[peer]?.addresses[address] else { return }
        state.tries += 1
        state.notBefore = now + backoff(tries: state.tries)
        peers[peer]?.addresses[address] = state
    }

    private func isDialable(_ address: Multiaddr) -> Bool {
        guard let endpoint = address.tcpEndpoint, endpoint.port != 0, !blocklist.blocks(address) else {
            return false
        }
        if case .address(let address, _) = endpoint.host { return !address.isUnspecified }
        return true
    }

    // MARK: - Memory

    /// Adds `addresses` to those of the peer; false when there is no room for another peer.
    @discardableResult
    private mutating func remember(
        _ peer: PeerID, _ addresses: [Multiaddr], at now: Instant, evenIfFull: Bool = false
    ) -> Bool {
        if peers[peer] == nil {
            if peers.count >= limits.rememberedPeers, !forgetOldest(), !evenIfFull { return false }
            peers[peer] = newPeer(at: now)
        }
        peers[peer]?.touched = now
        for address in addresses {
            guard let plain = address.withoutPeerID, isDialable(plain) else { continue }
            if peers[peer]?.addresses[plain] == nil { peers[peer]?.addresses[plain] = Address() }
        }
        // The oldest of those that fail go first, then the oldest.
        while let entry = peers[peer], entry.addresses.count > limits.addressesPerPeer {
            let index = entry.addresses.values.firstIndex { $0.tries > 0 } ?? 0
            peers[peer]?.addresses.remove(at: index)
        }
        return true
    }

    private mutating func forgetOldest() -> Bool {
        let oldest = peers.filter { $0.value.isIdle }.min { $0.value.touched < $1.value.touched }
        guard let oldest else { return false }
        peers[oldest.key] = nil
        return true
    }

    private mutating func forgetIfUseless(_ peer: PeerID) {
        if let entry = peers[peer], entry.isIdle, entry.addresses.isEmpty { peers[peer] = nil }
    }
}
