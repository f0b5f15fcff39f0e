import Coordination
import K3s
import NodeAgent
import Timing

/// K3s on one machine, as far as the agent can tell: files, units, a datastore, and whether it comes up
/// (contract/k3s.md §2, §6, §9). What survives a power cut and what does not is kept apart.
struct ModelledK3s {
    /// What a running K3s was started with.
    struct Process {
        let command: K3sCommand
        let settings: [String: String]
        /// Counts the starts, so that news of an older one is dropped.
        let number: Int
        var isReady = false
        /// When its unit starts it again, as it has ended; nil while it runs.
        var startsAgainAt: Instant?
        var hasEnded: Bool { startsAgainAt != nil }
        /// The cluster that it is part of, once it is up.
        var cluster: Int?
    }

    var node: K3sRunner.Node
    // On disk.
    var files: [String: String] = [:]
    var enabled: Set<K3sCommand> = []
    /// The cluster whose data this server holds.
    var datastore: Int?
    /// Whether etcd's tombstone is among the data.
    var isTakenOut = false
    /// The clusters whose data were set aside.
    var setAside: [Int] = []
    // Gone with the power.
    var process: Process?
    var restarts: UInt64 = 0
    private var starts = 0

    init(node: K3sRunner.Node) { self.node = node }

    /// What the cloud-config says of K3s on the node of that name.
    static func node(name: NodeName, settings: UserSettings) -> K3sRunner.Node {
        K3sRunner.Node(
            name: name, interface: "edgevpn0", carriesKubernetes: true, settings: settings,
            externalDatastore: nil, layout: K3sLayout(),
            supervision: .systemd(agentUnit: "kairos-agent.service"))
    }

    /// The last state that the agent asked for.
    var desired: DesiredState? {
        didSet { desiredSettings = desired.map { Self.settings(of: $0.config.rendered()) } }
    }

    /// The settings that it asks for.
    private(set) var desiredSettings: [String: String]?

    /// What the agent sees of it.
    func observation(of desired: DesiredState, hasEtcd: Bool) -> Observation {
        let layout = desired.layout
        var observation = Observation(
            own: status(of: desired.command), other: status(of: desired.command.other))
        observation.binary = layout.binaries[0]
        let paths =
            desired.files(binary: layout.binaries[0]).map(\.path) + desired.absent
            + desired.absentManifests
        let permits = K3sCommand.allCases.map(layout.startPermit)
        for path in paths + desired.stockOverrides + permits {
            observation.files[path] = files[path].map { .regular(content: $0, mode: 0o600) } ?? .missing
        }
        observation.applied = files[layout.appliedRecord]
        observation.isDeployed = files[layout.sentinel] != nil
        observation.hasNodeToken = datastore != nil
        observation.hasSQLiteData = datastore != nil && !hasEtcd
        observation.hasEtcdData = hasEtcd
        observation.isTakenOut = isTakenOut
        if let text = files[layout.clusterRecord] {
            observation.record = ClusterRecord(text).map { .known($0) } ?? .unreadable
        }
        if datastore != nil { observation.remains = [.server] }
        return observation
    }

    private func status(of command: K3sCommand) -> ServiceStatus {
        guard let process, process.command == command else {
            return ServiceStatus(
                activity: .inactive, isEnabled: enabled.contains(command), restarts: restarts)
        }
        return ServiceStatus(
            activity: process.isReady ? .active : .activating, isEnabled: enabled.contains(command),
            restarts: restarts)
    }

    /// Carries out one step of a plan; returns the number of the start that follows from it, if any.
    mutating func carryOut(_ action: Plan.Action, for desired: DesiredState) -> Int? {
        let layout = desired.layout
        switch action {
        case .write(let file): files[file.path] = file.content
        case .remove(let path): files[path] = nil
        case .recordApplied(let fingerprint): files[layout.appliedRecord] = fingerprint
        case .markDeployed: files[layout.sentinel] = ""
        case .recordCluster(let record): files[layout.clusterRecord] = record.rendered()
        case .setAside(let remains, _):
            if remains == .server, let former = datastore {
                setAside.append(former)
                (datastore, isTakenOut) = (nil, false)
            }
        case .reloadDefinitions: break
        case .enable(let command): enabled.insert(command)
        case .disable(let command): enabled.remove(command)
        case .stop(let command): if process?.command == command { process = nil }
        case .start(let command): if process?.command != command { return start(command) }
        case .restart(let command): return start(command)
        }
        return nil
    }

    /// Starts the service with what is on disk.
    mutating func start(_ command: K3sCommand) -> Int {
        starts += 1
        let text = files[node.layout.dropIn] ?? ""
        process = Process(command: command, settings: Self.settings(of: text), number: starts)
        return starts
    }

    /// What starts at boot, by the units that are enabled and the agent's word, which a boot forgets.
    mutating func powerUp() -> Int? {
        enabled.sorted { $0.rawValue < $1.rawValue }
            .first { files[node.layout.startPermit($0)] != nil }.map { start($0) }
    }

    mutating func powerDown() {
        files = files.filter { !$0.key.hasPrefix(node.layout.root + "/run/") }
        process = nil
        restarts = 0
    }

    /// The settings on lines of their own: `name: value`.
    static func settings(of text: String) -> [String: String] {
        var settings: [String: String] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") && !line.hasPrefix(" ") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            let isQuoted = value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
            settings[String(line[..<colon])] = String(isQuoted ? value.dropFirst().dropLast() : value)
        }
        return settings
    }
}
