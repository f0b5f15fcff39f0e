import Coordination
import K3s
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing
import VPN

/// The lease of the API address and of the right to restart, as the agent's service drives it.
extension World {
    // MARK: clocks

    private static let clockStart: UInt64 = 1_000_000_000_000

    /// The machine's own monotonic clock, which runs at a speed of its own.
    func leaseClock(_ index: Int) -> Instant {
        machines[index].clockStandsAt
            ?? Instant(nanoseconds: Self.clockStart + now.nanoseconds / 1000 * machines[index].clockRate)
    }

    /// When the machine's clock shows `deadline`.
    private func time(of deadline: Instant, on index: Int) -> Instant {
        let passed = max(deadline.nanoseconds, Self.clockStart) - Self.clockStart
        return Instant(nanoseconds: (passed / machines[index].clockRate + 1) * 1000)
    }

    // MARK: who holds what

    /// Whether the machine carries the API address at this very moment.
    func holdsAPI(_ index: Int) -> Bool {
        machines[index].agent?.lease.holds(.api, at: leaseClock(index)) ?? false
    }

    /// Where the machine sends what is for the API address.
    func apiHolder(seenBy index: Int) -> PeerID? {
        guard let agent = machines[index].agent else { return nil }
        if holdsAPI(index) { return machines[index].peer }
        let holder = agent.lease.servers.flatMap { APIHolding.holder(among: agent.holdings, servers: $0) }
        // An entry of a former run says nothing.
        return holder == machines[index].peer ? nil : holder
    }

    // MARK: driving the core

    mutating func feed(_ input: LeaseCore.Input, to index: Int) {
        guard machines[index].agent != nil else { return }
        let clock = leaseClock(index)
        let life = machines[index].life
        let effects = machines[index].agent?.lease.receive(input, at: clock) ?? []
        for effect in effects {
            guard machines[index].life == life else { return }
            perform(effect, of: index)
        }
        guard machines[index].life == life else { return }
        checkHolders(index)
        checkDeadline(of: machines[index].agent?.lease, at: clock, { $0.nextDeadline }) { core, now, _ in
            _ = core.receive(.tick, at: now)
        }
        guard let deadline = machines[index].agent?.lease.nextDeadline else { return }
        // A clock that stands still never gets there, and is looked at all the same.
        let soonest = now + .milliseconds(machines[index].clockStandsAt == nil ? 1 : 500)
        let at = max(time(of: deadline, on: index), soonest)
        if let planned = machines[index].agent?.leaseTick, planned <= at { return }
        machines[index].agent?.leaseTick = at
        schedule(.leaseTick(index, life: life), after: at - now)
    }

    private mutating func perform(_ effect: LeaseCore.Effect, of index: Int) {
        switch effect {
        case .send(let peer, let message):
            for to in machines.indices
            where machines[to].peer == peer && machines[index].agent?.connections[to] != nil
                && packetsPass(index, to)
            {
                send(.lease(from: index, to: to, message))
            }
        case .acquired(.api, let term):
            note("n\(index) holds the API address, term \(term)")
            if sabotage == .clockStops, !machines.contains(where: { $0.clockStandsAt != nil }) {
                machines[index].clockStandsAt = leaseClock(index)
            }
            say(term: term, isHeld: true, by: index)
        case .lost(.api, let term, let loss):
            note("n\(index) no longer holds the API address: \(loss)")
            say(term: term, isHeld: false, by: index)
        case .acquired(.restart, _):
            machines[index].agent?.holdsRestart = true
            permitRestart(index)
        case .lost(.restart, _, _):
            machines[index].agent?.holdsRestart = false
            permitRestart(index)
        }
    }

    private mutating func say(term: UInt64, isHeld: Bool, by index: Int) {
        guard let agent = machines[index].agent else { return }
        trace(14, index, isHeld ? 1 : 0)
        let peer = machines[index].peer
        let holding = APIHolding(
            decree: agent.lease.servers?.number ?? 0, epoch: agent.lease.servers?.epoch ?? 0, term: term,
            held: isHeld)
        agent.holdings[peer] = holding
        agent.voice.say(holding)
        write(holding, by: index)
    }

    private mutating func write(_ holding: APIHolding, by index: Int) {
        let peer = machines[index].peer
        let id = EntryID(
            bucket: LedgerKeys.joinBucket, key: LedgerKeys.apiAddress(of: peer, networkID: "kairos"))
        feed(.write([.put(id, value: LedgerText(holding.text), above: 0)], durable: false), to: index)
    }

    /// Takes what entries say of the API address.
    mutating func takeHoldings(_ entries: [(id: EntryID, entry: Entry)], at index: Int) {
        for (id, entry) in entries where id.bucket == .kairosNode {
            guard let peer = LedgerKeys.owner(ofKey: id.key.string, kind: "api", networkID: "kairos") else {
                continue
            }
            let said = entry.isDeleted ? nil : APIHolding(text: entry.value.string)
            if peer == machines[index].peer {
                machines[index].agent?.voice.hear(said)
                speakAgain(index)
            }
            let own = peer == machines[index].peer ? machines[index].agent?.voice.own : nil
            machines[index].agent?.holdings[peer] = own ?? said
            if let said { feed(LeaseCore.Input.published(peer, term: said.term), to: index) }
        }
    }

    /// Repeats what the machine says of the API address, when its ledger has another word of it.
    mutating func speakAgain(_ index: Int) {
        guard let deadline = machines[index].agent?.voice.nextDeadline else { return }
        if let holding = machines[index].agent?.voice.due(at: now) { return write(holding, by: index) }
        schedule(.speak(index, life: machines[index].life), after: deadline - now)
    }

    /// Tells the lease of the servers of the newest decree.
    mutating func followServers(_ index: Int) {
        guard let agent = machines[index].agent else { return }
        let servers = agent.core.leaseServers
        guard servers != agent.lease.servers else { return }
        feed(LeaseCore.Input.servers(servers), to: index)
        appointProbe(index, after: .milliseconds(5))
    }

    mutating func permitRestart(_ index: Int) {
        guard let agent = machines[index].agent else { return }
        let isFree = agent.isAlone || sabotage == .restartUnasked
        reconcile(.restartPermitted(agent.holdsRestart || isFree), at: index)
    }

    // MARK: the health of K3s

    private mutating func appointProbe(_ index: Int, after delay: Duration) {
        guard let agent = machines[index].agent else { return }
        agent.probes += 1
        schedule(.probe(index, life: machines[index].life, number: agent.probes), after: delay)
    }

    mutating func probe(_ index: Int) {
        guard let agent = machines[index].agent else { return }
        guard agent.lease.servers?.members.contains(machines[index].peer) == true else {
            // Asked again as soon as this node is a server.
            return feed(LeaseCore.Input.healthy(false), to: index)
        }
        let isReady = serves(index) || sabotage == .illnessHidden
        // However short the moment was, the node could not know better.
        if isReady, sabotage == nil { illSince[index] = nil }
        agent.failedProbes = isReady ? 0 : agent.failedProbes + 1
        appointProbe(index, after: .seconds(2))
        if isReady || agent.failedProbes >= 2 { feed(LeaseCore.Input.healthy(isReady), to: index) }
    }
}
