package import LibP2P
package import Multiformats
package import Timing

/// Finds the peers of a network on the local links and is found by them: responder and browser of
/// multicast DNS for one service (contract/wire.md G; RFC 6762, 6763).
///
/// ```
///   link up ── query ── 4 s ── query ── ×1.5…2.5 ── … ── every 15 min (60 s while alone), unless another just asked
///      └── probe ×3, 250 ms apart ── announce ×2, 1 s apart ── answer what is asked
///   addresses change: goodbye to the old instance name, announce under a new one
/// ```
///
/// Where this differs from RFC 6762, and why:
/// - Nobody's claim to our instance name is heeded. The name is random with over 150 bits, so a
///   conflict can only be made on purpose, and giving way would let anyone silence this node.
/// - Queries carry no known answers: Go responders would then leave out addresses that changed.
/// - A change of addresses takes a new instance name, because Go receivers report a name once in its
///   record's life and would miss the change (contract/wire.md G.6).
package struct ServiceDiscovery: Sendable {
    package struct Configuration: Sendable {
        /// The service's label: the token's `mdns` value, or `_p2p._udp` when that is empty.
        package var serviceName: String
        package var localPeer: PeerID
        /// How long others may remember this node.
        package var timeToLive: UInt32 = 120
        /// Whether loopback addresses are advertised, for several nodes on a machine without network.
        package var includesLoopback = false
        /// The key of the proofs in the announcements of this network's nodes. Without one nothing is proven.
        package var proofKey: SecretBytes?

        package init(serviceName: String, localPeer: PeerID) {
            self.serviceName = serviceName
            self.localPeer = localPeer
        }
    }

    package enum Input: Sendable {
        /// A link came up, or came to have other prefixes.
        case linkUp(MulticastLink)
        case linkDown(MulticastLink.ID)
        /// Where this node can be dialled, best first.
        case addressesChanged([Multiaddr])
        case received([UInt8], from: PacketSource, on: MulticastLink.ID)
        case tick
        /// A clean end: neighbours are told to forget this node.
        case stop
    }

    package enum Effect: Hashable, Sendable {
        /// Send a packet to the group of the link.
        case multicast([UInt8], on: MulticastLink.ID)
        case unicast([UInt8], to: PacketSource, on: MulticastLink.ID)
        /// A peer is there. It is reported again while it stays, so a failed dial is not the end. This node's own
        /// ID is reported when it is announced at addresses that are not its own.
        /// `isProven`: whoever announced it holds the key of the proofs.
        case discovered(PeerID, [Multiaddr], isProven: Bool)
    }

    /// The service's name when the token has none (contract/wire.md G.1).
    package static let defaultServiceName = "_p2p._udp"
    /// More links than this are not served.
    static let maximumLinks = 64
    /// Changes of addresses within this time are announced together.
    private static let settleTime = Duration.seconds(1)

    private let configuration: Configuration
    private let service: DNSName
    private let proof: AnnouncementProof?
    private var generator: SeededGenerator
    private var links: [MulticastLink.ID: LinkState] = [:]
    private var browser: Browser
    private var addresses: [Multiaddr] = []
    private var advertisement: Advertisement?
    private var advertisementDue: Instant?
    /// IDs of what we asked last, on any link: the kernel hands our packets back, and two of our
    /// interfaces may lie in one network.
    private var ownIDs: [UInt16] = []
    private var stopped = false

    /// Makes the state of a node that serves no link yet.
    ///
    /// - Parameter generator: gives the instance name, so seed it freshly at every start.
    /// - Returns: nil when the service name cannot be a domain name.
    package init?(configuration: Configuration, generator: SeededGenerator, at now: Instant) {
        let name = configuration.serviceName.isEmpty ? Self.defaultServiceName : configuration.serviceName
        guard let service = DNSName("\(name).local.") else { return nil }
        self.configuration = configuration
        self.service = service
        self.proof = configuration.proofKey.map(AnnouncementProof.init)
        self.generator = generator
        self.browser = Browser(service: service, localPeer: configuration.localPeer, at: now)
    }

    /// When the next tick is wanted; nil when nothing is due.
    package var nextDeadline: Instant? {
        guard !stopped else { return nil }
        let due = links.values.map(\.nextDeadline) + [advertisementDue].compactMap { $0 }
        return due.min()
    }

    /// How many peers are remembered.
    package var knownPeers: Int { browser.count }

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        guard !stopped else { return [] }
        switch input {
        case .linkUp(let link): linkUp(link, at: now)
        case .linkDown(let id): links[id] = nil
        case .addressesChanged(let addresses): change(addresses, at: now)
        case .received(let packet, let source, let id):
            return received(packet, from: source, on: id, at: now)
        case .tick: break
        case .stop:
            stopped = true
            return goodbyes()
        }
        return performDue(at: now)
    }

    // MARK: What is due

    private mutating func performDue(at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        if let due = advertisementDue, due <= now {
            advertisementDue = nil
            effects += readvertise(at: now)
        }
        for id in links.keys.sorted(by: Self.order) {
            guard var state = links[id], state.nextDeadline <= now else { continue }
            effects += performDue(on: &state, at: now)
            links[id] = state
        }
        return effects
    }

    private mutating func performDue(on state: inout LinkState, at now: Instant) -> [Effect] {
        var effects: [Effect] = []
        if state.queryDue <= now {
            browser.expire(at: now)
            let id = nextID()
            state.queriesSent += 1
            state.queryWasSent(at: now, generator: &generator)
            let query = DNSMessage(id: id, questions: [DNSQuestion(name: service, type: .ptr)])
            effects += multicast(query, on: state)
        }
        if let due = state.claimDue, due <= now { effects += claim(on: &state, at: now) }
        if let due = state.answerDue, due <= now {
            state.answerDue = nil
            state.lastAnswer = now
            if let advertisement {
                effects += multicast(advertisement.answer(to: state.pendingAnswer), on: state)
            }
            state.pendingAnswer = []
        }
        return effects
    }

    private mutating func claim(on state: inout LinkState, at now: Instant) -> [Effect] {
        state.claimDue = nil
        guard let advertisement else { return [] }
        if state.probesLeft > 0 {
            state.probesLeft -= 1
            state.claimDue = now + LinkState.probeInterval
            return multicast(advertisement.probe(id: nextID()), on: state)
        }
        guard state.announcementsLeft > 0 else { return [] }
        state.announcementsLeft -= 1
        if state.announcementsLeft > 0 { state.claimDue = now + LinkState.announcementInterval }
        state.lastAnswer = now
        return multicast(advertisement.announcement(), on: state)
    }

    private mutating func nextID() -> UInt16 {
        let id = UInt16.random(in: 1 ... .max, using: &generator)
        ownIDs.append(id)
        if ownIDs.count > 4 * max(links.count, 1) { ownIDs.removeFirst() }
        return id
    }

    private func multicast(_ message: DNSMessage, on state: LinkState) -> [Effect] {
        guard let packet = try? message.encoded(maximumLength: Advertisement.maximumPacketLength) else {
            return []
        }
        return [.multicast(packet, on: state.link.id)]
    }

    // MARK: Links and addresses

    private mutating func linkUp(_ link: MulticastLink, at now: Instant) {
        guard links[link.id]?.link != link, links[link.id] != nil || links.count < Self.maximumLinks else {
            return
        }
        // A machine room that gets its power back must not ask all at once.
        let queryDue = now + generator.duration(in: .zero ... .milliseconds(100))
        var state = LinkState(link: link, at: now, queryDue: queryDue)
        if advertisement != nil { startClaim(on: &state, at: now) }
        links[link.id] = state
    }

    private mutating func startClaim(on state: inout LinkState, at now: Instant) {
        state.startClaim(at: now + generator.duration(in: .zero...LinkState.probeInterval), probes: 3)
    }

    private mutating func change(_ addresses: [Multiaddr], at now: Instant) {
        guard addresses != self.addresses else { return }
        self.addresses = addresses
        // What was said a moment ago is still on its way.
        browser.ownAddresses = addresses + browser.ownAddresses.prefix(64)
        // The first addresses are waited for; later ones tend to come in groups.
        let due = advertisement == nil ? now : now + Self.settleTime
        advertisementDue = advertisementDue.map { min($0, due) } ?? due
    }

    private mutating func readvertise(at now: Instant) -> [Effect] {
        let next = Advertisement(
            service: service, label: instanceLabel(), peer: configuration.localPeer, addresses: addresses,
            includesLoopback: configuration.includesLoopback, timeToLive: configuration.timeToLive,
            proof: proof)
        guard next?.texts != advertisement?.texts else { return [] }
        let wasAdvertised = advertisement != nil
        let effects = wasAdvertised ? goodbyes() : []
        advertisement = next
        for id in links.keys.sorted(by: Self.order) {
            guard var state = links[id] else { continue }
            if wasAdvertised {
                state.startClaim(at: now, probes: 0)
            } else {
                startClaim(on: &state, at: now)
            }
            links[id] = state
        }
        return effects
    }

    /// 32 to 63 characters of `[a-z0-9]`, as the other implementations choose.
    private mutating func instanceLabel() -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz0123456789")
        let length = Int.random(in: 32...63, using: &generator)
        return String((0..<length).compactMap { _ in alphabet.randomElement(using: &generator) })
    }

    private func goodbyes() -> [Effect] {
        guard let advertisement else { return [] }
        return links.keys.sorted(by: Self.order).compactMap { links[$0] }.flatMap { state in
            multicast(advertisement.goodbye(), on: state)
        }
    }

    private static func order(_ left: MulticastLink.ID, _ right: MulticastLink.ID) -> Bool {
        (left.interface, left.family == .v4 ? 0 : 1) < (right.interface, right.family == .v4 ? 0 : 1)
    }

    // MARK: Packets

    private mutating func received(
        _ packet: [UInt8], from source: PacketSource, on id: MulticastLink.ID, at now: Instant
    ) -> [Effect] {
        guard var state = links[id] else { return [] }
        defer { links[id] = state }
        if proof != nil, let claim = AnnouncementProof.claim(in: packet) {
            return received(claim, from: source, on: &state, at: now)
        }
        guard state.packets.take(for: source.address, at: now, generator: &generator) else {
            state.dropped = now
            return []
        }
        guard let message = try? DNSMessage(parsing: packet), message.opcode == 0, message.responseCode == 0
        else {
            return []
        }
        if message.isResponse, source.port != LinkState.port { return [] }
        let news = browser.learn(
            from: message.records, by: source.address, at: now, generator: &generator)
        // Whoever proves nothing must not make this node ask less often for those who do.
        if !news.isEmpty, proof == nil { state.hasHeard = true }
        var effects = news.map { Effect.discovered($0.0, $0.1, isProven: false) }
        if !message.isResponse, !ownIDs.contains(message.id) {
            effects += answer(message, from: source, on: &state, at: now)
        }
        return effects
    }

    /// A packet with a proof, right or wrong. The nodes that make proofs ask in packets of their own, so
    /// nothing else in it is looked at.
    private mutating func received(
        _ claim: AnnouncementProof.Claim, from source: PacketSource, on state: inout LinkState,
        at now: Instant
    ) -> [Effect] {
        // The cheap questions first. A goodbye says nothing that can be proven: anyone could have made it of
        // an announcement.
        let text = Array(claim.text)
        guard source.port == LinkState.port, claim.timeToLive > 0, text != advertisement?.proof,
            !browser.hasAccepted(text, at: now)
        else { return [] }
        guard state.claims.take(for: source.address, at: now, generator: &generator) else {
            state.dropped = now
            return []
        }
        guard let strings = proof?.check(claim) else { return [] }
        state.hasHeard = true
        let news = browser.learn(
            from: strings, provenBy: text, timeToLive: claim.timeToLive, at: now, generator: &generator)
        if !news.isEmpty, let dropped = state.dropped, now - dropped < LinkState.floodMemory {
            // Its question may have been among what was dropped.
            let delay = generator.duration(in: .milliseconds(20) ... .milliseconds(120))
            state.scheduleAnswer(.service, at: now, delay: delay)
        }
        return news.map { Effect.discovered($0.0, $0.1, isProven: true) }
    }

    private mutating func answer(
        _ query: DNSMessage, from source: PacketSource, on state: inout LinkState, at now: Instant
    ) -> [Effect] {
        if query.answers.isEmpty, state.queriesSent >= 2, state.hasHeard, source.port == LinkState.port,
            query.questions.contains(DNSQuestion(name: service, type: .ptr))
        {
            // Everybody hears the answers to that, so ours is asked already (RFC 6762, 7.3).
            state.queryWasSent(at: now, generator: &generator)
        }
        guard let advertisement else { return [] }
        var effects: [Effect] = []
        for question in query.questions.prefix(16) {
            var subject = advertisement.subject(of: question)
            if query.answers.contains(where: advertisement.isKnownAnswer) { subject.remove(.service) }
            if subject.isEmpty { continue }
            if source.port != LinkState.port {
                let answer = advertisement.legacyAnswer(to: question, id: query.id)
                effects += unicast(answer, to: source, on: &state, at: now)
            } else if question.wantsUnicast {
                effects += unicast(
                    advertisement.answer(to: subject, id: query.id), to: source, on: &state, at: now)
            } else {
                // Shared records wait a little, so that not all nodes answer in the same instant.
                let delay =
                    subject.contains(.service) || subject.contains(.services)
                    ? generator.duration(in: .milliseconds(20) ... .milliseconds(120)) : .zero
                state.scheduleAnswer(subject, at: now, delay: delay)
            }
        }
        return effects
    }

    private func unicast(
        _ message: DNSMessage, to source: PacketSource, on state: inout LinkState, at now: Instant
    ) -> [Effect] {
        guard state.link.isNeighbour(source.address), state.unicasts.take(at: now),
            let packet = try? message.encoded(maximumLength: Advertisement.maximumPacketLength)
        else { return [] }
        return [.unicast(packet, to: source, on: state.link.id)]
    }
}
