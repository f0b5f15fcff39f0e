import Coordination
import K3s
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import TestSupport
import Timing
import VPN

/// Nodes that start, decide, write and stop.
extension World {
    // MARK: life

    mutating func boot(_ index: Int) {
        let machine = machines[index]
        let quorum = sabotage == .quorumOfOne ? 1 : scenario.quorum
        let scope = ElectionScope(network: "sim", quorum: quorum)
        let card = MemberCard(uuid: machine.uuid, name: machine.name, forcedRole: machine.forced)
        var fixedAddress = machine.fixedAddress
        if sabotage == .addressMovesAtRestart, machine.life > 0 {
            fixedAddress = VirtualAddress(
                rawValue: scenario.subnet.standardAPIAddress.rawValue + 100 + UInt32(index))
        }
        // The first run begins a state, so that it can be missed later.
        let isForgetful = machine.disk.election == nil && machine.hasBooted
        if machine.disk.election == nil, !machine.hasBooted {
            machine.disk.election = ElectionState(scope: scope, owner: machine.peer)
        }
        let keyIsNew = !machine.hasBooted
        machine.hasBooted = true
        // The file is text: what comes back from the disk has been through its codec.
        let election = machine.disk.election.flatMap { ElectionCodec.state(from: ElectionCodec.encode($0)) }
        if election != machine.disk.election {
            violate(.votesOnDisk, "n\(index) reads another election state than was written")
        }
        do {
            let claim = try AddressClaim(
                configuration: .init(
                    subnet: scenario.subnet, fixedAddress: fixedAddress, minimumNodes: scenario.quorum),
                description: MachineEntry(
                    peerID: machine.peer.description, hostname: machine.name,
                    address: VirtualAddress(rawValue: 0), version: MachineEntry.implementation + "test"),
                lease: machine.disk.lease)
            let founding = DecreeElection(
                configuration: .init(
                    scope: scope, identity: machine.identity, card: card, isAmnesiac: isForgetful),
                restored: election, random: SeededGenerator(seed: random.next()), at: now)
            var configuration = NodeCore.Configuration(
                identity: machine.identity, uuid: card.uuid, name: machine.name, networkID: "kairos",
                scope: scope, forcedRole: machine.forced,
                highAvailability: machine.additionalServers != nil,
                additionalServers: machine.additionalServers.map {
                    sabotage == .oneServerMore ? $0 + 1 : $0
                } ?? 0,
                replacesServersAfter: scenario.replacesServersAfter,
                freesRolesAfter: scenario.freesRolesAfter,
                apiAddress: scenario.subnet.standardAPIAddress, fixedToken: nil, runsK3s: true)
            configuration.hasForgotten = isForgetful
            configuration.keyIsNew = keyIsNew
            let core = NodeCore(
                configuration: configuration,
                claim: claim, election: founding, joinToken: machine.disk.token,
                k3s: knownCondition(index), reader: reader)
            let replication = Replication(
                identity: machine.identity, stored: machine.disk.snapshot,
                generator: SeededGenerator(seed: random.next()), at: now)
            let lease = LeaseCore(localPeer: machine.peer, incarnation: random.next(), at: leaseClock(index))
            machines[index].agent = Machine.Agent(
                core: core, lease: lease, replication: replication, startedAt: now)
            nodeNames[machine.peer] = machine.k3s.node.name.text
        } catch {
            violate(.order, "\(machine.name) cannot start: \(error)")
            return
        }
        note("n\(index) starts")
        disturbed()
        feed(NodeCore.Input.start, to: index)
        // As the mesh does for one who begins to watch it.
        let held = machines[index].agent?.replication.ledger.storage ?? [:]
        let entries = Block(storage: held).entries.sorted {
            ($0.id.bucket, $0.id.key) < ($1.id.bucket, $1.id.key)
        }
        if !entries.isEmpty {
            let known = entries.map { (id: $0.id, entry: $0.entry) }
            feed(.entries(known), to: index)
            takeHoldings(known, at: index)
        }
        tellMembers(index)
        feed(Replication.Input.tick, to: index)
        topologyChanged()
    }

    /// Ends the agent. A write under way is whole on disk or not at all; those behind it are lost.
    mutating func stopAgent(_ index: Int) {
        guard let agent = machines[index].agent else { return }
        if let first = agent.writes.first, Bool.random(using: &random) { apply(first.write, to: index) }
        machines[index].agent = nil
        machines[index].life += 1
        machines[index].cutAfter = nil
        machines[index].diskBusyUntil = now
        disturbed()
        topologyChanged()
    }

    mutating func cutPower(_ index: Int, outage: Duration) {
        guard machines[index].agent != nil else { return }
        trace(20, index)
        note("n\(index) loses power")
        stopAgent(index)
        machines[index].k3s.powerDown()
        if sabotage == .datastoreForgotten {
            machines[index].k3s.datastore = nil
            // With the record the agent would not let it found again.
            machines[index].k3s.files[machines[index].k3s.node.layout.clusterRecord] = nil
        }
        schedule(.boot(index, life: machines[index].life), after: outage)
        schedulePowerUp(index, after: outage)
    }

    mutating func kill(_ index: Int, outage: Duration) {
        guard machines[index].agent != nil else { return }
        trace(21, index)
        note("n\(index)'s agent is killed")
        stopAgent(index)
        schedule(.boot(index, life: machines[index].life), after: outage)
    }

    mutating func disturbed() { wholeSince = now }

    // MARK: the node's core

    /// Gives the core one input, or queues it while another one's effects are carried out, as the
    /// running service does.
    mutating func feed(_ input: NodeCore.Input, to index: Int) {
        guard machines[index].agent != nil else { return }
        machines[index].agent?.inbox.append(input)
        guard machines[index].agent?.isBusy == false else { return }
        let life = machines[index].life
        machines[index].agent?.isBusy = true
        while let next = machines[index].agent?.inbox.first {
            machines[index].agent?.inbox.removeFirst()
            let moment = moment(index)
            let effects = machines[index].agent?.core.receive(next, at: moment) ?? []
            for effect in effects {
                guard survivesStep(index) else { return }
                perform(effect, of: index)
            }
            guard machines[index].life == life else { return }
        }
        machines[index].agent?.isBusy = false
        followServers(index)
        checkDeadline(of: machines[index].agent?.core, at: moment(index).instant, { $0.nextDeadline }) {
            _ = $0.receive(.tick, at: Moment(instant: $1, wall: $2))
        }
        guard let deadline = machines[index].agent?.core.nextDeadline else { return }
        let at = max(deadline, now + .milliseconds(1))
        if let planned = machines[index].agent?.coreTick, planned <= at { return }
        machines[index].agent?.coreTick = at
        schedule(.coreTick(index, life: life), after: at - now)
    }

    /// Sees, once in a while, that the state machine gets on when it is woken.
    mutating func checkDeadline<Core>(
        of core: Core?, at now: Instant, _ deadline: (Core) -> Instant?,
        tick: (inout Core, Instant, UnixTime) -> Void
    ) {
        deadlineChecks += 1
        guard deadlineChecks % 64 == 0, let core else { return }
        let wall = UnixTime(seconds: 1_800_000_000)
        let fault = DeadlineCheck.fault(of: core, at: now, deadline: deadline) {
            tick(&$0, $1, wall + ($1 - .zero))
        }
        if let fault { violate(.progress, fault) }
    }

    /// Counts a step towards the one before which the machine loses power.
    mutating func survivesStep(_ index: Int) -> Bool {
        guard let cut = machines[index].cutAfter else { return true }
        if cut.steps > 1 {
            machines[index].cutAfter = (cut.steps - 1, cut.outage)
            return true
        }
        cutPower(index, outage: cut.outage)
        return false
    }

    private mutating func perform(_ effect: NodeCore.Effect, of index: Int) {
        switch effect {
        case .put(let id, let value, let above):
            checkPublished(id, value: value, by: index)
            let write = Replication.Write.put(id, value: LedgerText(value), above: above)
            feed(.write([write], durable: false), to: index)
        case .delete(let id): feed(.write([.delete(id)], durable: false), to: index)
        case .retract(let id, let version):
            feed(.write([.retract(id, version: version)], durable: false), to: index)
        case .persistElection(let state, let number): write(.election(state, number: number), to: index)
        case .writeLease(let address): write(.lease(address), to: index)
        case .removeLease: write(.lease(nil), to: index)
        case .configureDevice(let address):
            schedule(.deviceUp(index, life: machines[index].life, address), after: .milliseconds(5))
        case .releaseDevice:
            note("n\(index) gives its address up")
            machines[index].agent?.device = nil
            feed(.device(.down), to: index)
        case .routes(let routes): machines[index].agent?.routes = routes
        case .makeJoinToken:
            let server = machines[index].k3s.datastore.map { clusters[$0].token }
            let digits = String(random.next(), radix: 16)
            write(.token(machines[index].disk.token ?? server ?? "token-\(index)-\(digits)"), to: index)
        case .lookForOwnKey(let addresses):
            for other in machines.indices where addresses.contains(Self.address(of: other)) {
                schedule(.ownKeyFound(by: index, at: other), after: .milliseconds(30))
            }
        case .keyIsElsewhere(let address):
            note("n\(index): its key is \(address.map { "at \($0)" } ?? "nowhere else")")
        case .keepJoinToken(let token): write(.token(token), to: index)
        case .assign(let assignment): assign(assignment, to: index)
        case .decreed(let certificate): checkActedOn(certificate, by: index)
        case .leaveCluster(let epoch): leaveCluster(index, epoch: epoch)
        case .removeNodes(let nodes, let delay): removeNodes(nodes, after: delay, by: index)
        }
    }

    mutating func deviceUp(_ index: Int, _ address: VirtualAddress) {
        let carried = sabotage == .oneAddressForAll ? scenario.subnet.standardAPIAddress : address
        machines[index].agent?.device = carried
        note("n\(index) has \(carried)")
        checkAddress(carried, of: index)
        feed(.device(.up(address)), to: index)
    }

    // MARK: the replication

    mutating func feed(_ input: Replication.Input, to index: Int) {
        guard machines[index].agent != nil else { return }
        let moment = moment(index)
        let effects = machines[index].agent?.replication.receive(input, at: moment) ?? []
        let life = machines[index].life
        for effect in effects {
            guard machines[index].life == life else { return }
            perform(effect, of: index)
        }
        checkDeadline(of: machines[index].agent?.replication, at: moment.instant, { $0.nextDeadline }) {
            _ = $0.receive(.tick, at: Moment(instant: $1, wall: $2))
        }
        guard let deadline = machines[index].agent?.replication.nextDeadline else { return }
        let at = max(deadline, now + .milliseconds(1))
        if let planned = machines[index].agent?.replicationTick, planned <= at { return }
        machines[index].agent?.replicationTick = at
        schedule(.replicationTick(index, life: life), after: at - now)
    }

    private mutating func perform(_ effect: Replication.Effect, of index: Int) {
        switch effect {
        case .publish(let block): publish(block, from: index)
        case .send(let peer, let bytes): sendFrame(bytes, from: index, to: peer)
        case .changed(let changes):
            let entries = changes.compactMap { change in change.new.map { (id: change.id, entry: $0) } }
            if !entries.isEmpty {
                feed(.entries(entries), to: index)
                takeHoldings(entries, at: index)
            }
        case .persist(let block): write(.snapshot(block), to: index)
        case .refused: break
        case .rejected(let id, let entry, _):
            guard
                let refused = RefusedClaim(
                    key: id.key.string, value: entry.value.string, owner: entry.owner.string,
                    version: entry.version, isDeleted: entry.isDeleted)
            else { return }
            feed(.refused(refused), to: index)
        case .caughtUp: tellMembers(index)
        }
    }

    // MARK: the disk

    /// Begins a write: one after the other, each synced when it completes.
    private mutating func write(_ write: Machine.Write, to index: Int) {
        let number = (machines[index].agent?.writes.last?.number ?? 0) + 1
        machines[index].agent?.writes.append((number, write))
        let start = max(now, machines[index].diskBusyUntil)
        let end = start + random.duration(in: .milliseconds(1) ... .milliseconds(15))
        machines[index].diskBusyUntil = end
        schedule(.written(index, life: machines[index].life, number: number), after: end - now)
    }

    private mutating func apply(_ write: Machine.Write, to index: Int) {
        switch write {
        case .election(var state, _):
            if sabotage == .certificateNotKept {
                state = ElectionState(
                    scope: state.scope, owner: state.owner, promised: state.promised,
                    accepted: state.accepted?.decree.number == 1 ? state.accepted : nil,
                    highestDrivenRound: state.highestDrivenRound)
            }
            if sabotage == .votesForgotten { return }
            machines[index].disk.election = state
            if let accepted = state.accepted {
                durableVotes.insert(
                    Vote(
                        voter: accepted.acceptor, ballot: accepted.ballot, decree: accepted.decree))
            }
        case .lease(let address): machines[index].disk.lease = address
        case .token(let token): machines[index].disk.token = token
        case .snapshot(let block): machines[index].disk.snapshot = block
        }
    }

    mutating func completeWrite(_ index: Int, _ number: Int) {
        guard let place = machines[index].agent?.writes.firstIndex(where: { $0.number == number }),
            let write = machines[index].agent?.writes.remove(at: place).write
        else { return }
        let fails = machines[index].diskIsFull
        if !fails { apply(write, to: index) }
        switch write {
        case .election(_, let number):
            if fails {
                feed(.electionPersistFailed(number, reason: "no space left on device"), to: index)
            } else {
                feed(.electionPersisted(number), to: index)
            }
        case .token(let token): feed(fails ? .joinTokenFailed : .joinToken(token), to: index)
        case .lease(let address):
            if let address { feed(fails ? .leaseFailed(address) : .leaseWritten(address), to: index) }
        case .snapshot: feed(.persisted(succeeded: !fails), to: index)
        }
    }
}
