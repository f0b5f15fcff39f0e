import Coordination
import K3s
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing
import VPN

/// Faults, when they begin and when they end.
extension World {
    mutating func begin(_ number: Int) {
        let fault = scenario.faults[number]
        faultsInjected += 1
        trace(30, number)
        note("FAULT \(fault.name): \(fault.kind)")
        disturbed()
        switch fault.kind {
        case .powerCut(let index, let outage): if has(index) { cutPower(index, outage: outage) }
        case .kill(let index, let outage): if has(index) { kill(index, outage: outage) }
        case .powerCutAtStep(let index, let step, let outage):
            guard has(index) else { return }
            machines[index].cutAfter = (step, outage)
            schedule(.faultEnds(number), after: Fault.longestWaitForStep)
        case .partition(let group, let time):
            close(number, group, bothWays: true)
            if sabotage != .partitionStays { schedule(.faultEnds(number), after: time) }
        case .oneWay(let group, let time):
            close(number, group, bothWays: false)
            schedule(.faultEnds(number), after: time)
        case .flapping(_, let period, let times):
            flap(number, closed: true, left: times * 2 - 1)
            schedule(.faultEnds(number), after: period * times * 2)
        case .loss(let share, let time):
            losses[number] = share
            schedule(.faultEnds(number), after: time)
        case .duplication(let share, let time):
            duplications[number] = share
            schedule(.faultEnds(number), after: time)
        case .delay(let longest, let time):
            delays[number] = longest
            schedule(.faultEnds(number), after: time)
        case .fullDisk(let index, let time):
            guard has(index) else { return }
            machines[index].diskIsFull = true
            schedule(.faultEnds(number), after: time)
        case .clockJump(let index, let jump):
            if has(index) { machines[index].clockOffset += jump }
        case .slow(let index, let lag, let time):
            guard has(index) else { return }
            machines[index].lag = lag
            schedule(.faultEnds(number), after: time)
        case .reimage(let index): if has(index) { reimage(index) }
        case .clone(let index, let time):
            guard has(index) else { return }
            clone(index, number)
            schedule(.faultEnds(number), after: time)
        case .lie(let index, let lie): if has(index) { tell(lie, by: index) }
        case .freeze(let index, let time):
            guard has(index), machines[index].agent != nil else { return }
            machines[index].frozenUntil = now + time
            schedule(.faultEnds(number), after: time)
        case .illAPI(let index, let time):
            guard has(index) else { return }
            machines[index].hasIllAPI = true
            schedule(.faultEnds(number), after: time)
        case .datastoreLost(let index, let outage):
            guard has(index), machines[index].agent != nil else { return }
            cutPower(index, outage: outage)
            machines[index].k3s.datastore = nil
            machines[index].k3s.isTakenOut = false
        case .diskLost(let index, let loss, let outage):
            guard has(index), machines[index].agent != nil else { return }
            cutPower(index, outage: outage)
            lose(loss, of: index)
        case .death(let index):
            guard has(index) else { return }
            stopAgent(index)
            machines[index].isGone = true
            machines[index].k3s.powerDown()
        case .word(let word, let index): if has(index) { hear(word, at: index) }
        case .newArguments:
            changeCloudConfig { machine in
                let settings = UserSettings(
                    server: .init(arguments: ["--etcd-expose-metrics"]),
                    agent: .init(arguments: ["--node-label=changed=yes"]))
                machine.k3s.node = ModelledK3s.node(name: machine.k3s.node.name, settings: settings)
            }
        case .moreServers(let count): changeCloudConfig { $0.additionalServers = count }
        }
    }

    mutating func end(_ number: Int) {
        let fault = scenario.faults[number]
        trace(31, number)
        note("over: \(fault.name)")
        disturbed()
        switch fault.kind {
        case .partition, .oneWay, .flapping:
            cuts[number] = nil
            topologyChanged()
        case .loss: losses[number] = nil
        case .duplication: duplications[number] = nil
        case .delay: delays[number] = nil
        case .fullDisk(let index, _): machines[index].diskIsFull = false
        case .slow(let index, _, _): machines[index].lag = .zero
        case .powerCutAtStep(let index, _, _): machines[index].cutAfter = nil
        case .clone:
            guard let copy = machines.firstIndex(where: { $0.copyOf == number }) else { return }
            stopAgent(copy)
            machines[copy].isGone = true
            machines[copy].k3s.powerDown()
        case .illAPI(let index, _): machines[index].hasIllAPI = false
        case .freeze(let index, _): note("n\(index) goes on")
        case .powerCut, .kill, .clockJump, .reimage, .lie, .datastoreLost, .diskLost, .death, .word,
            .newArguments,
            .moreServers:
            break
        }
    }

    private func has(_ index: Int) -> Bool { index < scenario.count }

    private mutating func close(_ number: Int, _ group: Set<Int>, bothWays: Bool) {
        let others = Set(0..<scenario.count + scenario.faults.count).subtracting(group)
        cuts[number] = (from: group, to: others, bothWays: bothWays)
        topologyChanged()
    }

    mutating func flap(_ number: Int, closed: Bool, left: Int) {
        guard case .flapping(let group, let period, _) = scenario.faults[number].kind else { return }
        disturbed()
        if closed {
            close(number, group, bothWays: true)
        } else {
            cuts[number] = nil
            topologyChanged()
        }
        if left > 0 { schedule(.flap(number, closed: !closed, left: left - 1), after: period) }
    }

    private func lose(_ loss: Fault.Loss, of index: Int) {
        machines[index].k3s.datastore = nil
        machines[index].k3s.isTakenOut = false
        machines[index].k3s.files[machines[index].k3s.node.layout.clusterRecord] = nil
        switch loss {
        case .k3s: break
        case .allButKey:
            machines[index].disk = Machine.Disk()
            machines[index].k3s.files = [:]
        case .sinceFounding:
            machines[index].disk = Machine.Disk(
                election: ElectionState(
                    scope: ElectionScope(network: "sim", quorum: scenario.quorum),
                    owner: machines[index].peer))
            machines[index].k3s.files = [:]
        }
    }

    // MARK: machines that come anew

    private mutating func reimage(_ index: Int) {
        guard !machines[index].isGone else { return }
        stopAgent(index)
        let old = machines[index]
        machines[index] = Machine(
            identity: Self.identity(machine: index, generation: old.life + 1), name: old.name,
            uuid: "uuid-\(index)-\(old.life)", forced: old.forced, fixedAddress: old.fixedAddress,
            clockOffset: old.clockOffset)
        machines[index].life = old.life + 1
        machines[index].isFaithless = old.isFaithless
        machines[index].lag = old.lag
        machines[index].diskIsFull = old.diskIsFull
        machines[index].additionalServers = old.additionalServers
        machines[index].clockRate = old.clockRate
        machines[index].hasIllAPI = old.hasIllAPI
        machines[index].frozenUntil = old.frozenUntil
        machines[index].k3s.node = ModelledK3s.node(
            name: machines[index].k3s.node.name, settings: old.k3s.node.settings)
        schedule(.boot(index, life: machines[index].life), after: .seconds(2))
    }

    /// Starts a copy of the machine's disk as a machine of its own. K3s' data are copied, too.
    private mutating func clone(_ index: Int, _ number: Int) {
        let original = machines[index]
        guard !original.isGone else { return }
        machines[index].isFaithless = true
        let copy = Machine(
            identity: original.identity, name: original.name, uuid: original.uuid, forced: original.forced,
            fixedAddress: original.fixedAddress, clockOffset: original.clockOffset)
        copy.copyOf = number
        copy.disk = original.disk
        copy.hasBooted = original.hasBooted
        copy.k3s = original.k3s
        copy.k3s.powerDown()
        copy.isFaithless = true
        machines.append(copy)
        schedule(.boot(machines.count - 1, life: 0), after: .milliseconds(300))
    }

    // MARK: members that lie

    private mutating func tell(_ lie: Fault.Lie, by index: Int) {
        guard machines[index].agent != nil else { return }
        let others = machines.indices.filter { $0 != index && machines[$0].peer != machines[index].peer }
        guard let victim = others.randomElement(using: &random) else { return }
        switch lie {
        case .forgery: forge(by: index, against: victim)
        case .replay:
            for _ in 0..<min(12, archive.count) {
                if let old = archive.randomElement(using: &random) { publish(old, from: index) }
            }
        case .equivocation:
            machines[index].isFaithless = true
            equivocate(index, others)
        case .amnesia:
            machines[index].isFaithless = true
            let register = ElectionRegister(
                scope: ElectionScope(network: "sim", quorum: scenario.quorum),
                card: MemberCard(uuid: machines[index].uuid, name: machines[index].name, forcedRole: nil))
            say(registerID(of: index), ElectionCodec.encode(register), by: index)
        case .theft:
            guard let address = machines[victim].address else { return }
            stolen.insert(address.description)
            say(
                EntryID(bucket: "machines", key: address.description), machine(index, at: address), by: index)
        }
    }

    private func registerID(of index: Int) -> EntryID {
        let key = LedgerKeys.register(of: machines[index].peer, networkID: "kairos")
        return EntryID(bucket: LedgerKeys.electionBucket, key: key)
    }

    private func machine(_ index: Int, at address: VirtualAddress) -> String {
        MachineEntry(
            peerID: machines[index].peer.description, hostname: machines[index].name, address: address,
            version: "lies"
        ).value
    }

    /// Publishes an entry, past the liar's own ledger, to all or to some.
    private mutating func say(
        _ id: EntryID, _ value: String, by index: Int, version: UInt64? = nil, to audience: [Int]? = nil
    ) {
        let wall = moment(index).wall
        var entry = Entry(
            value: LedgerText(value), version: version ?? UInt64(max(0, wall.nanoseconds)),
            updatedAt: wall.seconds)
        entry.sign(at: id, with: machines[index].identity)
        publish(Block(storage: [id.bucket: [id.key: entry]]), from: index, to: audience)
    }

    private mutating func forge(by index: Int, against victim: Int) {
        let owner = LedgerText(machines[victim].peer.description)
        let wall = moment(index).wall
        var ids = [registerID(of: victim), EntryID(.healthcheck, owner)]
        if let address = machines[victim].address {
            ids.append(EntryID(bucket: "machines", key: address.description))
        }
        for id in ids {
            var entry = Entry(
                value: "", owner: owner, version: UInt64(max(0, wall.nanoseconds)) + 1_000_000_000,
                updatedAt: wall.seconds, isDeleted: true)
            entry.signature = (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) }
            publish(Block(storage: [id.bucket: [id.key: entry]]), from: index)
            // And one with a good signature of the wrong key.
            entry.sign(at: id, with: machines[index].identity)
            entry.owner = owner
            publish(Block(storage: [id.bucket: [id.key: entry]]), from: index)
        }
    }

    /// Two registers of one version, one to each half: one that promises a ballot that nobody drives, and
    /// one that promises nothing.
    private mutating func equivocate(_ index: Int, _ others: [Int]) {
        let version = UInt64(max(0, moment(index).wall.nanoseconds))
        let scope = ElectionScope(network: "sim", quorum: scenario.quorum)
        let card = MemberCard(uuid: machines[index].uuid, name: machines[index].name, forcedRole: nil)
        let half = others.count / 2
        let ballot = Ballot(round: 2, proposer: machines[others[0]].peer)
        let promising = ElectionRegister(scope: scope, card: card, promised: ballot)
        let silent = ElectionRegister(scope: scope, card: card)
        say(
            registerID(of: index), ElectionCodec.encode(promising), by: index, version: version,
            to: Array(others[..<half]))
        say(
            registerID(of: index), ElectionCodec.encode(silent), by: index, version: version,
            to: Array(others[half...]))
    }
}
