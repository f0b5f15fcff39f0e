package import LibP2P
package import Timing

/// Lets at most one server at a time hold the API address, and at most one restart its K3s.
///
///     candidate ── request(term, 2 s) ──► every server     grants one server until 1.5 × the lease
///          ◄── grant · deny(remaining) ──                  after it last heard of it
///     holder ──── request(term, lease) ──► … every renewal; a majority's grants are the lease
///
/// A holder believes for `lease` from when it sent; a grantor holds for 1.5 × `lease` from when it
/// heard. So a holder has stopped to believe before a majority can grant to another, whatever is lost
/// or late, as long as clocks differ in speed by less than a third and a process looks at the clock
/// after it was frozen (`holds(_:at:)`). No wall clock takes part.
///
/// Majorities are those of the newest decree that the holder knows. Decrees change the set by one
/// server, and the majorities of neighbouring sets intersect; a belief therefore outlives a change by
/// one server until it would have ended anyway, and any other change ends it. A grantor answers only
/// requests that are made under its own decree or a newer one, so an outdated holder is not renewed.
package struct LeaseCore: Sendable {
    package enum Input: Sendable {
        /// The servers of the newest decree; nil while the cluster does not run or this node does not know.
        case servers(LeaseServers?)
        /// The peers that can be sent to.
        case connected(Set<PeerID>)
        /// Whether this node's own K3s answers that it is ready.
        case healthy(Bool)
        /// Whether a K3s that works must be restarted.
        case wantsRestart(Bool)
        case message(PeerID, LeaseMessage)
        /// A server published that it holds, or held, the API address under this term.
        case published(PeerID, term: UInt64)
        case tick
        /// Gives back everything, for good.
        case stop
    }

    package enum Effect: Hashable, Sendable {
        case send(PeerID, LeaseMessage)
        /// This node holds the resource from now on; again, with a higher term, when its term rose.
        case acquired(LeaseResource, term: UInt64)
        case lost(LeaseResource, term: UInt64, LeaseLoss)
    }

    /// How often what happened, for `status`.
    package struct Counters: Hashable, Sendable {
        package var acquired: UInt64 = 0
        package var lost: UInt64 = 0
        package var attempts: UInt64 = 0
        package var ignored: UInt64 = 0
    }

    let localPeer: PeerID
    package private(set) var servers: LeaseServers?
    package private(set) var connected: Set<PeerID> = []
    package private(set) var isHealthy = false
    package private(set) var wantsRestart = false
    package private(set) var counters = Counters()
    private var isStopped = false
    private var nonce: UInt64
    private var grantors: [LeaseResource: LeaseGrantor] = [:]
    private var seats: [LeaseResource: LeaseSeat] = [:]
    /// Who asked under a decree that this node does not know yet, or this one under a newer.
    package private(set) var newestNumberHeard: UInt64 = 0

    /// `incarnation` is drawn anew at each start, so answers to a former life are told apart.
    package init(localPeer: PeerID, incarnation: UInt64, at now: Instant) {
        self.localPeer = localPeer
        self.nonce = incarnation
        for resource in LeaseResource.allCases {
            grantors[resource] = LeaseGrantor(resource, at: now)
            seats[resource] = .idle(notBefore: now)
        }
    }

    // MARK: what others ask

    /// Whether this node holds the resource at this very instant. Whoever acts on a lease asks again
    /// right before it acts: the process may have been frozen since the effect.
    package func holds(_ resource: LeaseResource, at now: Instant) -> Bool {
        guard case .holding(let holding) = seats[resource] else { return false }
        return now < holding.until
    }

    /// The term under which the resource is held, and since when.
    package func holding(_ resource: LeaseResource) -> (term: UInt64, since: Instant)? {
        guard case .holding(let holding) = seats[resource] else { return nil }
        return (holding.term, holding.since)
    }

    /// Until when the resource is held unless the lease is renewed; nil when it is not held.
    package func heldUntil(_ resource: LeaseResource) -> Instant? {
        guard case .holding(let holding) = seats[resource] else { return nil }
        return holding.until
    }

    /// Whom this node, as a server, has granted the resource.
    package func grantee(_ resource: LeaseResource, at now: Instant) -> PeerID? {
        grantors[resource]?.grantee(at: now)
    }

    /// The servers that cannot be reached, and whether those that can, with this one, are a majority.
    package var reach: (missing: [PeerID], hasMajority: Bool) {
        guard let servers else { return ([], false) }
        let missing = servers.members.filter { $0 != localPeer && !connected.contains($0) }
        return (missing, servers.members.count - missing.count >= servers.majority)
    }

    /// When the core wants `.tick`.
    package var nextDeadline: Instant? {
        LeaseResource.allCases.compactMap { deadline($0) }.min()
    }

    private func deadline(_ resource: LeaseResource) -> Instant? {
        switch seats[resource] {
        case .idle(let notBefore): isFit(for: resource) ? askingTime(resource, notBefore: notBefore) : nil
        case .asking(let attempt): attempt.sentAt + LeaseResource.patience
        case .holding(let holding): min(holding.until, min(holding.nextRenewal, overdue(resource, holding)))
        case nil: nil
        }
    }

    private func overdue(_ resource: LeaseResource, _ holding: LeaseHolding) -> Instant {
        resource == .restart ? holding.since + LeaseResource.longestRestart : .distantFuture
    }

    // MARK: inputs

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        // What ran out is over before anything else is looked at: the process may have been frozen.
        for resource in LeaseResource.allCases { expire(resource, at: now, &effects) }
        switch input {
        case .servers(let new): take(new, at: now, &effects)
        case .connected(let peers): connected = peers
        case .healthy(let healthy): isHealthy = healthy
        case .wantsRestart(let wants): wantsRestart = wants
        case .message(let peer, let message): take(message, from: peer, at: now, &effects)
        case .published(let peer, let term): take(published: term, by: peer, at: now, &effects)
        case .tick: break
        case .stop: isStopped = true
        }
        for resource in LeaseResource.allCases { advance(resource, at: now, &effects) }
        return effects
    }

    private mutating func take(_ new: LeaseServers?, at now: Instant, _ effects: inout [Effect]) {
        guard new != servers, new.map({ $0.number >= (servers?.number ?? 0) }) ?? true else { return }
        let old = servers
        servers = new
        let members = Set(new?.members ?? [])
        let changes = members.symmetricDifference(old?.members ?? [])
        for resource in LeaseResource.allCases {
            // Alone since the founding, or, where the restart of a former server harms nobody, alone now.
            if new?.members == [localPeer], resource == .restart || (new?.number ?? 0) <= 2 {
                grantors[resource]?.skipQuiet(at: now)
            }
            if case .asking = seats[resource], !changes.isEmpty { abandon(resource, at: now, &effects) }
            guard case .holding(var holding) = seats[resource] else { continue }
            if !members.contains(localPeer) {
                lose(resource, .notAServer, audience: old?.members ?? [], at: now, &effects)
            } else if changes.count > 1 {
                lose(resource, .expired, audience: old?.members ?? [], at: now, &effects)
            } else {
                holding.nextRenewal = now
                holding.unconfirmed = 0
                seats[resource] = .holding(holding)
            }
        }
    }

    private mutating func take(
        published term: UInt64, by peer: PeerID, at now: Instant, _ effects: inout [Effect]
    ) {
        guard peer != localPeer, servers?.members.contains(peer) == true,
            let told = WireCounter(term), let above = told.next
        else { return }
        grantors[.api]?.note(term: term)
        guard case .holding(var holding) = seats[.api], holding.term <= term,
            told.isWithin(LeaseGrantor.window, of: holding.term)
        else { return }
        // Whoever reads both entries must find this one the newer.
        holding.term = above.value
        holding.nextRenewal = now
        seats[.api] = .holding(holding)
        grantors[.api]?.note(term: holding.term)
        effects.append(.acquired(.api, term: holding.term))
    }

    // MARK: messages

    private mutating func take(
        _ message: LeaseMessage, from peer: PeerID, at now: Instant, _ effects: inout [Effect]
    ) {
        newestNumberHeard = max(newestNumberHeard, message.number)
        switch message.kind {
        case .release:
            // It only takes away what the peer has itself, which a server may have that is none any more. Of all
            // others it would use up the terms.
            guard let servers, servers.members.contains(peer) || isGrantee(peer, of: message.resource) else {
                counters.ignored += 1
                return
            }
            grantors[message.resource]?.release(by: peer, term: message.term, at: now)
        case .request:
            guard !isStopped, let servers, !servers.keepsStill, servers.members.contains(peer),
                servers.members.contains(localPeer)
            else {
                counters.ignored += 1
                return
            }
            effects.append(.send(peer, answer(message, from: peer, servers, at: now)))
        case .grant, .deny:
            guard servers?.members.contains(peer) == true else {
                counters.ignored += 1
                return
            }
            took(message, from: peer, at: now, &effects)
        }
    }

    private func isGrantee(_ peer: PeerID, of resource: LeaseResource) -> Bool {
        grantors[resource]?.grantee == peer
    }

    private mutating func answer(
        _ request: LeaseMessage, from peer: PeerID, _ servers: LeaseServers, at now: Instant
    ) -> LeaseMessage {
        var answer = LeaseGrantor.Answer.denied(request.resource.lease)
        if request.number >= servers.number {
            answer =
                grantors[request.resource]?.request(
                    from: peer, term: request.term, lease: .milliseconds(Int64(request.milliseconds)),
                    isHeld: request.isHeld, at: now) ?? answer
        }
        let highest = grantors[request.resource]?.highestTerm ?? 0
        switch answer {
        case .granted:
            return LeaseMessage(
                kind: .grant, resource: request.resource, number: servers.number, term: request.term,
                nonce: request.nonce, milliseconds: request.milliseconds)
        case .denied(let remaining):
            return LeaseMessage(
                kind: .deny, resource: request.resource, number: servers.number, term: highest,
                nonce: request.nonce, milliseconds: remaining.milliseconds)
        }
    }

    private mutating func took(
        _ answer: LeaseMessage, from peer: PeerID, at now: Instant, _ effects: inout [Effect]
    ) {
        let resource = answer.resource
        switch seats[resource] {
        case .asking(var attempt):
            guard answer.nonce == attempt.nonce else { return }
            attempt.wasHeard = attempt.wasHeard || peer != localPeer
            if answer.kind == .grant {
                attempt.grants.insert(peer)
            } else {
                attempt.denials[peer] = now + .milliseconds(Int64(answer.milliseconds))
                attempt.highestTerm = max(attempt.highestTerm, answer.term)
            }
            seats[resource] = .asking(attempt)
            weigh(attempt, resource, at: now, &effects)
        case .holding(var holding):
            guard answer.kind == .grant, let round = holding.rounds.first(where: { $0.nonce == answer.nonce })
            else { return }
            holding.grants[peer] = max(holding.grants[peer] ?? .zero, round.sentAt + resource.lease)
            confirm(&holding)
            seats[resource] = .holding(holding)
        case .idle, nil: break
        }
    }

    /// Works out until when a majority's grants are believed.
    private func confirm(_ holding: inout LeaseHolding) {
        guard let servers else { return }
        let ends = servers.members.compactMap { holding.grants[$0] }.sorted(by: >)
        guard ends.count >= servers.majority, ends[servers.majority - 1] > holding.until else { return }
        holding.until = ends[servers.majority - 1]
        holding.unconfirmed = 0
    }

    private mutating func weigh(
        _ attempt: LeaseAttempt, _ resource: LeaseResource, at now: Instant, _ effects: inout [Effect]
    ) {
        guard let servers else { return }
        let until = attempt.sentAt + LeaseResource.trial
        if attempt.grants.count >= servers.majority, now < until {
            counters.acquired += 1
            seats[resource] = .holding(
                LeaseHolding(
                    term: attempt.term, since: now, until: until,
                    grants: Dictionary(uniqueKeysWithValues: attempt.grants.map { ($0, until) }),
                    nextRenewal: now))
            effects.append(.acquired(resource, term: attempt.term))
        } else if servers.members.count - attempt.denials.count < servers.majority {
            abandon(resource, at: now, &effects)
        }
    }

    // MARK: the seat

    /// Whether this node may ask for the resource, or keep it.
    private func isFit(for resource: LeaseResource) -> Bool {
        guard !isStopped, let servers, !servers.keepsStill, servers.members.contains(localPeer) else {
            return false
        }
        switch resource {
        // Whoever is about to restart hands the address to another, if there is one.
        case .api: return isHealthy && (servers.members.count == 1 || !isHolding(.restart))
        case .restart: return wantsRestart
        }
    }

    private func isHolding(_ resource: LeaseResource) -> Bool {
        if case .holding = seats[resource] { return true }
        return false
    }

    private func askingTime(_ resource: LeaseResource, notBefore: Instant) -> Instant? {
        guard let servers, let order = servers.members.firstIndex(of: localPeer),
            let grantor = grantors[resource]
        else { return nil }
        // Alone, its own word is all there is; with others, theirs may do although its own cannot count yet.
        let quiet = servers.members.count == 1 ? grantor.quietUntil : .zero
        let isOwn = grantor.grantee == localPeer
        let free = max(isOwn ? .zero : grantor.until, quiet)
        return max(notBefore, free + LeaseResource.stagger * order)
    }

    private mutating func advance(_ resource: LeaseResource, at now: Instant, _ effects: inout [Effect]) {
        switch seats[resource] {
        case .idle(let notBefore):
            guard isFit(for: resource), let time = askingTime(resource, notBefore: notBefore), now >= time
            else { return }
            ask(resource, at: now, &effects)
        case .asking(let attempt):
            if !isFit(for: resource) || now >= attempt.sentAt + LeaseResource.patience {
                abandon(resource, at: now, &effects)
            }
        case .holding(let holding):
            if !isFit(for: resource) {
                let loss: LeaseLoss = isStopped ? .stopped : servers == nil ? .notAServer : .unfit
                lose(resource, loss, audience: servers?.members ?? [], at: now, &effects)
            } else if now >= overdue(resource, holding) {
                lose(resource, .overdue, audience: servers?.members ?? [], at: now, &effects)
            } else if now >= holding.nextRenewal {
                renew(resource, at: now, &effects)
            }
        case nil: break
        }
    }

    private mutating func ask(_ resource: LeaseResource, at now: Instant, _ effects: inout [Effect]) {
        nonce &+= 1
        counters.attempts += 1
        let highest = grantors[resource]?.highestTerm ?? 0
        // At the end of the terms nobody is granted anything.
        let term = WireCounter(highest)?.next?.value ?? WireCounter.greatest
        seats[resource] = .asking(LeaseAttempt(term: term, nonce: nonce, sentAt: now))
        request(
            resource, term: term, nonce: nonce, lease: LeaseResource.trial, isHeld: false, at: now, &effects)
    }

    private mutating func renew(_ resource: LeaseResource, at now: Instant, _ effects: inout [Effect]) {
        guard case .holding(var holding) = seats[resource] else { return }
        guard holding.unconfirmed < LeaseHolding.mostUnconfirmed else {
            holding.nextRenewal = holding.until
            seats[resource] = .holding(holding)
            return
        }
        nonce &+= 1
        holding.rounds.append((nonce, now))
        if holding.rounds.count > LeaseHolding.mostRounds { holding.rounds.removeFirst() }
        holding.unconfirmed += 1
        holding.nextRenewal = now + resource.renewal
        seats[resource] = .holding(holding)
        request(
            resource, term: holding.term, nonce: nonce, lease: resource.lease, isHeld: true, at: now, &effects
        )
    }

    /// Sends a request to every other server, and hears this node's own word on it.
    private mutating func request(
        _ resource: LeaseResource, term: UInt64, nonce: UInt64, lease: Duration, isHeld: Bool,
        at now: Instant, _ effects: inout [Effect]
    ) {
        guard let servers else { return }
        let message = LeaseMessage(
            kind: .request, resource: resource, isHeld: isHeld, number: servers.number, term: term,
            nonce: nonce, milliseconds: lease.milliseconds)
        for peer in servers.members where peer != localPeer { effects.append(.send(peer, message)) }
        took(answer(message, from: localPeer, servers, at: now), from: localPeer, at: now, &effects)
        // A lease that the own word completes is renewed to its full length in the same breath.
        if case .holding(let holding) = seats[resource], !isHeld, now >= holding.nextRenewal {
            renew(resource, at: now, &effects)
        }
    }

    private mutating func expire(_ resource: LeaseResource, at now: Instant, _ effects: inout [Effect]) {
        guard case .holding(let holding) = seats[resource], now >= holding.until else { return }
        lose(resource, .expired, audience: servers?.members ?? [], at: now, &effects)
    }

    private mutating func lose(
        _ resource: LeaseResource, _ loss: LeaseLoss, audience: [PeerID], at now: Instant,
        _ effects: inout [Effect]
    ) {
        guard case .holding(let holding) = seats[resource] else { return }
        counters.lost += 1
        effects.append(.lost(resource, term: holding.term, loss))
        giveBack(resource, term: holding.term, to: audience, at: now, &effects)
        switch loss {
        case .expired: seats[resource] = .idle(notBefore: now + LeaseResource.retreat)
        case .overdue: seats[resource] = .idle(notBefore: now + LeaseResource.longestRestart)
        case .unfit, .notAServer, .stopped: seats[resource] = .idle(notBefore: now)
        }
    }

    private mutating func giveBack(
        _ resource: LeaseResource, term: UInt64, to audience: [PeerID], at now: Instant,
        _ effects: inout [Effect]
    ) {
        grantors[resource]?.release(by: localPeer, term: term, at: now)
        nonce &+= 1
        let message = LeaseMessage(
            kind: .release, resource: resource, number: servers?.number ?? 0, term: term, nonce: nonce)
        for peer in audience where peer != localPeer { effects.append(.send(peer, message)) }
    }

    /// Ends an attempt that did not succeed, and says when the next one makes sense.
    private mutating func abandon(_ resource: LeaseResource, at now: Instant, _ effects: inout [Effect]) {
        guard case .asking(let attempt) = seats[resource] else { return }
        giveBack(resource, term: attempt.term, to: servers?.members ?? [], at: now, &effects)
        grantors[resource]?.note(term: attempt.highestTerm)
        let order = servers?.members.firstIndex(of: localPeer) ?? 0
        let stagger = LeaseResource.stagger * order
        guard let servers, attempt.wasHeard || servers.members.count == 1 else {
            // Nobody hears this server, or it hears nobody: others go first.
            seats[resource] = .idle(notBefore: now + .seconds(2) + stagger)
            return
        }
        // When enough of those that denied can grant.
        let unanswered = servers.members.count - attempt.grants.count - attempt.denials.count
        let needed = servers.majority - attempt.grants.count - unanswered
        let ends = attempt.denials.values.sorted()
        let free = needed > 0 && needed <= ends.count ? ends[needed - 1] : now
        let longest = now + resource.hold
        seats[resource] = .idle(notBefore: max(min(free, longest), now + .milliseconds(100)) + stagger)
    }
}

extension Duration {
    /// The duration in whole milliseconds, rounded up, as messages carry it.
    var milliseconds: UInt32 {
        let whole = wholeNanoseconds
        guard whole > 0 else { return 0 }
        return UInt32(clamping: (whole - 1) / 1_000_000 + 1)
    }
}
