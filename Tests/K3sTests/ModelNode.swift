internal import Timing

@testable import K3s

/// A node's disk and services, on which plans are carried out step by step and cut off anywhere.
struct ModelNode {
    /// Data of one cluster's server on this disk.
    struct Datastore: Hashable {
        let serial: Int
        let epoch: UInt64
        var isEtcd: Bool
    }

    private var files: [String: String] = [:]
    private var record: ClusterRecord?
    private var datastore: Datastore?
    private var agentEpoch: UInt64?
    private var aside: [Datastore] = []
    private var created: [Datastore] = []
    private var founded: [UInt64] = []
    private var running: K3sCommand?
    private var enabled: Set<K3sCommand> = []
    private(set) var complaints: [String] = []

    /// Follows plans for `wish` until nothing is left to do, with power cuts on the way.
    mutating func reach(_ wish: DesiredState, cuts: Int, using random: inout SeededGenerator) throws {
        var cuts = cuts
        for _ in 0..<60 {
            let plan = Plan(
                from: observation(of: wish), to: wish, applied: files[wish.layout.appliedRecord],
                mayStart: true)
            if plan.actions.isEmpty {
                if cuts > 0 {
                    cuts -= 1
                    powerCut(wish)
                    continue
                }
                return check(wish, plan)
            }
            var steps = plan.actions.count
            if cuts > 0 {
                cuts -= 1
                steps = Int.random(in: 0...plan.actions.count, using: &random)
            }
            for action in plan.actions.prefix(steps) { carryOut(action, wish) }
            if steps < plan.actions.count { powerCut(wish) }
        }
        complaints.append("never settles for \(wish.role) of epoch \(wish.epoch)")
    }

    private mutating func check(_ wish: DesiredState, _ plan: Plan) {
        let refused =
            switch plan.obstacle {
            case .datastoreGone, .datastoreFixed: true
            default: false
            }
        if !refused, plan.obstacle != nil {
            complaints.append("stuck at \(String(describing: plan.obstacle))")
        }
        let wanted: K3sCommand? = wish.role == .left || refused ? nil : wish.command
        if running != wanted {
            complaints.append("runs \(String(describing: running)), not \(String(describing: wanted))")
        }
        if let datastore, datastore.epoch != wish.epoch { complaints.append("goes on with \(datastore)") }
        if wish.role.recorded != .server, datastore != nil { complaints.append("keeps a datastore") }
        if Set(founded).count != founded.count { complaints.append("founded twice: \(founded)") }
        let serials = Set((aside + [datastore].compactMap(\.self)).map(\.serial))
        if serials != Set(created.map(\.serial)) { complaints.append("a datastore is lost") }
        if record?.epoch != wish.epoch || record?.pending.isEmpty == false {
            complaints.append("record \(String(describing: record))")
        }
    }

    private func observation(of wish: DesiredState) -> Observation {
        func status(_ command: K3sCommand) -> ServiceStatus {
            ServiceStatus(
                activity: running == command ? .active : .inactive, isEnabled: enabled.contains(command))
        }
        var observation = Observation(
            binary: "/usr/bin/k3s", own: status(wish.command), other: status(wish.command.other),
            applied: files[wish.layout.appliedRecord], isDeployed: files[wish.layout.sentinel] != nil)
        for (path, content) in files { observation.files[path] = .regular(content: content, mode: 0o600) }
        observation.record = record.map { .known($0) } ?? .missing
        observation.hasEtcdData = datastore?.isEtcd == true
        observation.hasSQLiteData = datastore?.isEtcd == false
        if datastore != nil { observation.remains.formUnion([.server, .kubeconfig]) }
        if agentEpoch != nil { observation.remains.insert(.agent) }
        return observation
    }

    private mutating func carryOut(_ action: Plan.Action, _ wish: DesiredState) {
        let layout = wish.layout
        switch action {
        case .write(let file): files[file.path] = file.content
        case .remove(let path): files[path] = nil
        case .recordApplied(let text): files[layout.appliedRecord] = text
        case .recordCluster(let new): record = new
        case .setAside(.server, _):
            if running != nil { complaints.append("data are moved below a running K3s") }
            if let datastore { aside.append(datastore) }
            datastore = nil
        case .setAside(.agent, _): agentEpoch = nil
        case .setAside(.kubeconfig, _), .reloadDefinitions: break
        case .markDeployed: files[layout.sentinel] = ""
        case .enable(let command): enabled.insert(command)
        case .disable(let command): enabled.remove(command)
        case .stop(let command): if running == command { running = nil }
        case .start(let command), .restart(let command): start(command, layout)
        }
    }

    /// As systemd: only with the agent's word.
    private mutating func start(_ command: K3sCommand, _ layout: K3sLayout) {
        running = nil
        guard files[layout.startPermit(command)] != nil, let text = files[layout.dropIn] else { return }
        running = command
        let config = WrittenConfig(text)
        let epoch = record?.epoch ?? 0
        agentEpoch = epoch
        guard command == .server else { return }
        let isEtcd = config.string("cluster-init") == "true" || config.string("server") != nil
        if var known = datastore {
            known.isEtcd = known.isEtcd || isEtcd
            datastore = known
        } else {
            if config.string("server") == nil { founded.append(epoch) }
            let new = Datastore(serial: created.count, epoch: epoch, isEtcd: isEtcd)
            created.append(new)
            datastore = new
        }
    }

    /// Everything in memory is gone, and what is enabled starts if it may.
    private mutating func powerCut(_ wish: DesiredState) {
        running = nil
        files = files.filter { !$0.key.hasPrefix("/run/") }
        for command in enabled { start(command, wish.layout) }
    }
}
