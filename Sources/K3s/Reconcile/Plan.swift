/// The fewest steps that bring the node from what is to what should be, in their order: files first,
/// then units, K3s last. A step that fails ends the plan, so K3s never starts on half its files.
package struct Plan: Hashable, Sendable {
    /// One step.
    package enum Action: Hashable, Sendable {
        case write(DesiredState.File)
        case remove(path: String)
        case reloadDefinitions
        case disable(K3sCommand)
        case stop(K3sCommand)
        case enable(K3sCommand)
        case start(K3sCommand)
        case restart(K3sCommand)
        /// Remembers what K3s was started with.
        case recordApplied(String)
        /// Remembers what K3s' data belong to.
        case recordCluster(ClusterRecord)
        /// Renames what a former life left, beside itself, with the epoch it belonged to.
        case setAside(ClusterRemains, formerEpoch: UInt64)
        /// Remembers that K3s was set up.
        case markDeployed
    }

    /// Why K3s is not to be started now.
    package enum Obstacle: Hashable, Sendable {
        /// There is no binary.
        case binaryMissing(places: [String])
        /// There is no unit.
        case unitMissing(String)
        /// The unit is masked.
        case unitMasked(String)
        /// systemd cannot use the unit.
        case unitBroken(String, reason: String)
        /// The other command's service must be gone first.
        case otherStillRuns(String)
        /// The server was taken out of etcd, and would join it again if it were started.
        case takenOut(String)
        /// An etcd server whose address changes hangs for ever (contract/k3s.md §11.3).
        case addressChanged(from: String, to: String)
        /// The record of what K3s' data belong to cannot be read.
        case recordUnreadable(String)
        /// What the node is told is older than what its data belong to.
        case epochIsOver(told: UInt64, known: UInt64)
        /// A founder whose datastore is gone would found a second cluster (contract/k3s.md §11.1).
        case datastoreGone(ClusterRecord.Datastore)
        /// K3s would not use the datastore that is asked for, or lose the cluster over it (§2, §12).
        case datastoreFixed(is: ClusterRecord.Datastore, wanted: ClusterRecord.Datastore)
    }

    /// What to do, in this order.
    package var actions: [Action] = []
    /// What changes in the files, secrets masked.
    package var diffs: [ConfigurationDiff] = []
    /// What is done, for the log, secrets masked.
    package var changes: [String] = []
    /// All of it as lines for the log.
    package var lines: [String] {
        var lines: [String] = []
        for diff in diffs { lines += diff.lines }
        return lines + changes
    }
    /// Why K3s is not started, when it is not.
    package var obstacle: Obstacle?
    /// Whether that is because a founder's data are gone.
    package var hasLostData: Bool { if case .datastoreGone = obstacle { true } else { false } }
    /// Whether a healthy server would be restarted, if that were permitted.
    package var wantsRestart = false
    /// What the operator should know.
    package var warnings: [K3sWarning] = []

    /// Compares `observation` with `desired`.
    ///
    /// - Parameters:
    ///   - applied: the fingerprint K3s was last started with, if known.
    ///   - mayStart: whether a service that does not run may be started now, or has just been.
    ///   - mayRestart: whether a healthy server may be restarted now. Others in the cluster depend on it,
    ///     so it takes its turn; all else needs no permission.
    package init(
        from observation: Observation, to desired: DesiredState, applied: String?, mayStart: Bool,
        mayRestart: Bool = true
    ) {
        var desired = desired
        if case .foundingServer = desired.role, observation.datastore == .sqlite {
            desired = desired.withoutStandby()
        }
        let binary = observation.binary ?? desired.layout.binaries[0]
        let files = desired.files(binary: binary)
        warnings =
            desired.warnings
            + UserConfigReview.review(
                observation.userFiles, besides: desired.config, at: desired.layout.dropIn)
        if desired.isDeparting, settleDeparture(observation, desired) { return }
        guard let record = compareData(observation, desired) else { return }
        if desired.role == .left {
            compareDeparture(observation, desired)
            return
        }
        if let refusal = refusal(observation, desired, record) {
            obstacle = refusal
            return
        }
        let rereads = compareFiles(observation, desired, files)
        var isApplied = applied == "\(desired.fingerprint)"
        if isApplied, Self.hasReadOtherSettings(observation, desired, files) {
            // K3s was started by someone else with a file that was not ours: what it runs with is unknown,
            // and stays so until it is restarted.
            actions.insert(.recordApplied("unknown"), at: 0)
            isApplied = false
        }
        compareBoot(observation, desired, mustReload: rereads || observation.own.needsReload)
        compareServices(
            observation, desired, isApplied: isApplied, mayStart: mayStart, mayRestart: mayRestart)
        guard isApplied else { return }
        // Recorded late where the record could not be kept when K3s was started.
        if observation.own.isRunning, observation.applied != applied {
            actions.append(.recordApplied("\(desired.fingerprint)"))
        }
        if observation.own.activity == .active, !observation.isDeployed { actions.append(.markDeployed) }
    }

    /// Has a service that keeps ending stopped for a while.
    mutating func pause(_ command: K3sCommand, for pause: Duration) {
        actions.append(.stop(command))
        changes.append("stop \(command.unit) for \(pause.components.seconds) s, as it keeps ending")
    }

    // MARK: data

    /// Adds what makes K3s' data those of the wished epoch and role. Returns the record that then
    /// holds; nil when that must wait or may not be.
    private mutating func compareData(_ observation: Observation, _ desired: DesiredState) -> ClusterRecord? {
        switch DataTransition(observation, to: desired) {
        case .refused(let reason):
            obstacle = reason
            return nil
        case .record(let record):
            actions.append(.recordCluster(record))
            return record
        case .setAside(let record):
            // Nothing may start meanwhile, by itself or by a boot, with what is being moved.
            for command in K3sCommand.allCases {
                let permit = desired.layout.startPermit(command)
                if observation.files[permit] ?? .missing != .missing { actions.append(.remove(path: permit)) }
            }
            let services = [(desired.command, observation.own), (desired.command.other, observation.other)]
            for (command, status) in services where status.isRunning || status.isQueued {
                if status.activity != .deactivating {
                    actions.append(.stop(command))
                    changes.append("stop \(command.unit): its data are of epoch \(record.formerEpoch)")
                }
                obstacle = .otherStillRuns(command.unit)
            }
            if obstacle != nil { return nil }
            var done = record
            done.pending = []
            done.formerEpoch = 0
            if !record.pending.isEmpty {
                if observation.record != .known(record) { actions.append(.recordCluster(record)) }
                for remains in ClusterRemains.allCases where record.pending.contains(remains) {
                    actions.append(.setAside(remains, formerEpoch: record.formerEpoch))
                    changes.append(
                        "set aside \(remains.path(in: desired.layout)) of epoch \(record.formerEpoch)")
                }
            }
            actions.append(.recordCluster(done))
            return done
        case .settled:
            guard case .known(var record) = observation.record else { return nil }
            let before = record
            if desired.command == .server, desired.role != .left {
                if let datastore = observation.datastore {
                    record.datastore = datastore
                } else if desired.usesExternalDatastore, observation.own.activity == .active {
                    record.datastore = .external
                }
                // What etcd knows is what it was first started with; later ones are refused.
                if record.datastore == .etcd, record.etcdAddress == nil, observation.own.activity == .active {
                    record.etcdAddress = Self.writtenAddress(observation, desired)
                }
            }
            if record != before { actions.append(.recordCluster(record)) }
            return record
        }
    }

    /// Why K3s may not run as wished with the data that there are.
    private func refusal(
        _ observation: Observation, _ desired: DesiredState, _ record: ClusterRecord
    ) -> Obstacle? {
        guard desired.command == .server else { return nil }
        // What is being set aside is no datastore any more.
        let moves = actions.contains { if case .setAside(.server, _) = $0 { true } else { false } }
        let onDisk = moves ? nil : observation.datastore
        if desired.usesExternalDatastore {
            if let kind = onDisk ?? record.datastore, kind != .external {
                return .datastoreFixed(is: kind, wanted: .external)
            }
            return nil
        }
        if record.datastore == .external { return .datastoreFixed(is: .external, wanted: .etcd) }
        if case .foundingServer = desired.role, let datastore = record.datastore,
            onDisk == nil, desired.config["server"] == nil
        {
            return .datastoreGone(datastore)
        }
        return onDisk == .etcd ? Self.addressChange(observation, desired, record) : nil
    }

    /// Whether K3s was started after its config file had become another than ours.
    private static func hasReadOtherSettings(
        _ observation: Observation, _ desired: DesiredState, _ files: [DesiredState.File]
    ) -> Bool {
        guard observation.own.isRunning, let since = observation.own.since,
            let changed = observation.dropInChanged, since > changed,
            let file = files.first(where: { $0.purpose == .config })
        else { return false }
        guard case .regular(let content, _) = observation.files[file.path] ?? .missing else { return true }
        let diff = ConfigurationDiff(writing: file, replacing: .regular(content: content, mode: 0o600))
        // A founder's `server` has no effect while its data exist, as in the fingerprint.
        let isFounder = if case .foundingServer = desired.role { true } else { false }
        return diff.names.contains { !(isFounder && $0 == "server") }
    }

    /// Adds what a server that goes needs where it runs, and may end but not start again, or is out of etcd. False
    /// where it is to be started like any other.
    private mutating func settleDeparture(_ observation: Observation, _ desired: DesiredState) -> Bool {
        let permit = desired.layout.startPermit(desired.command)
        let isMember = observation.isMember(of: desired.epoch)
        guard !isMember || observation.own.activity == .active else { return false }
        if observation.files[permit] ?? .missing != .missing { actions.append(.remove(path: permit)) }
        if !isMember {
            obstacle = .takenOut(desired.command.unit)
            let own = observation.own
            if own.isRunning || own.isQueued, own.activity != .deactivating {
                actions.append(.stop(desired.command))
                changes.append("stop \(desired.command.unit), which was taken out of etcd")
            }
        }
        return true
    }

    /// Adds what makes the node one that runs no K3s. Its data are aside already.
    private mutating func compareDeparture(_ observation: Observation, _ desired: DesiredState) {
        let services = [(desired.command, observation.own), (desired.command.other, observation.other)]
        var mustReload = false
        for (command, status) in services {
            if status.isEnabled == true {
                actions.append(.disable(command))
                changes.append("disable \(command.unit)")
                mustReload = true
            }
            if status.isRunning || status.isQueued {
                if status.activity != .deactivating { actions.append(.stop(command)) }
                obstacle = .otherStillRuns(command.unit)
            }
        }
        // While one runs, the files that keep it from starting again stay.
        if obstacle == nil, compareFiles(observation, desired, []) { mustReload = true }
        if mustReload { actions.append(.reloadDefinitions) }
    }

    // MARK: files and units

    /// Adds what must be written and removed; true when a unit's definition changes by it.
    private mutating func compareFiles(
        _ observation: Observation, _ desired: DesiredState, _ files: [DesiredState.File]
    ) -> Bool {
        var changesUnit = false
        for file in files {
            let state = observation.files[file.path] ?? .missing
            if state == .regular(content: file.content, mode: 0o600) { continue }
            actions.append(.write(file))
            diffs.append(ConfigurationDiff(writing: file, replacing: state))
            if file.purpose == .unit { changesUnit = true }
        }
        for path in desired.absent where observation.files[path] ?? .missing != .missing {
            actions.append(.remove(path: path))
            diffs.append(ConfigurationDiff(removing: path))
            if path.hasSuffix(".conf") { changesUnit = true }
        }
        for path in desired.absentManifests {
            guard case .regular(let content, _) = observation.files[path], KubeVIP.isOurs(content) else {
                continue
            }
            actions.append(.remove(path: path))
            changes.append("remove \(path)")
        }
        for path in desired.stockOverrides {
            guard case .regular(let content, _) = observation.files[path], StockOverride.isOne(content) else {
                continue
            }
            actions.append(.remove(path: path))
            diffs.append(ConfigurationDiff(removing: path, note: "left by Kairos' own provider"))
            changesUnit = true
        }
        return changesUnit
    }

    /// Adds what starts at boot. systemd keeps what it once knew about that until it reads all again, as
    /// `systemctl enable` has it do, too.
    private mutating func compareBoot(_ observation: Observation, _ desired: DesiredState, mustReload: Bool) {
        var mustReload = mustReload
        if observation.other.isEnabled == true {
            actions.append(.disable(desired.command.other))
            changes.append("disable \(desired.command.other.unit): the node's role is another")
            mustReload = true
        }
        if observation.own.isEnabled == false, observation.own.definition == .present {
            actions.append(.enable(desired.command))
            changes.append("enable \(desired.command.unit), which was disabled")
            mustReload = true
        }
        if mustReload { actions.append(.reloadDefinitions) }
    }

    private mutating func compareServices(
        _ observation: Observation, _ desired: DesiredState, isApplied: Bool, mayStart: Bool,
        mayRestart: Bool
    ) {
        let command = desired.command
        if observation.other.isRunning {
            if observation.other.activity != .deactivating { actions.append(.stop(command.other)) }
            obstacle = .otherStillRuns(command.other.unit)
            return
        }
        guard observation.binary != nil else {
            obstacle = .binaryMissing(places: desired.layout.binaries)
            return
        }
        switch observation.own.definition {
        case .present: break
        case .missing: obstacle = .unitMissing(command.unit)
        case .masked: obstacle = .unitMasked(command.unit)
        case .broken(let reason): obstacle = .unitBroken(command.unit, reason: reason)
        }
        if obstacle != nil { return }
        let fingerprint = "\(desired.fingerprint)"
        if let permit = desired.startPermit,
            observation.files[permit.path] ?? .missing != .regular(content: permit.content, mode: 0o600)
                || actions.contains(.remove(path: permit.path))
        {
            actions.append(.write(permit))
        }
        switch observation.own.activity {
        case .active where command == .server:
            guard !isApplied else { break }
            // The restart comes after the files, in a plan of its own, so that the permission is as fresh as can be.
            wantsRestart = true
            if mayRestart, diffs.isEmpty {
                actions += [.restart(command), .recordApplied(fingerprint)]
                changes.append("restart \(command.unit), for which it is this server's turn")
            }
        case .active, .activating:
            if isApplied { break }
            actions += [.restart(command), .recordApplied(fingerprint)]
            changes.append("restart \(command.unit)")
        case .inactive, .failed:
            if mayStart, !observation.own.isQueued {
                actions.append(.start(command))
                changes.append("start \(command.unit)")
                if !isApplied { actions.append(.recordApplied(fingerprint)) }
            }
        case .deactivating: break
        }
    }

    /// Whether an etcd server would get another address than the one that its etcd knows.
    private static func addressChange(
        _ observation: Observation, _ desired: DesiredState, _ record: ClusterRecord
    ) -> Obstacle? {
        guard case .list(let new)? = desired.config["node-ip"], let to = new.first,
            let from = record.etcdAddress ?? writtenAddress(observation, desired), from != to
        else { return nil }
        return .addressChanged(from: from, to: to)
    }

    /// The node's address in the file that is there.
    private static func writtenAddress(_ observation: Observation, _ desired: DesiredState) -> String? {
        guard case .regular(let content, _)? = observation.files[desired.layout.dropIn] else { return nil }
        return WrittenConfig(content).list("node-ip")?.first
    }
}
