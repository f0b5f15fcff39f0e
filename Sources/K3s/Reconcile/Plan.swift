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
        /// An etcd server whose address changes hangs for ever (contract/k3s.md §11.3).
        case addressChanged(from: String, to: String)
    }

    /// What to do, in this order.
    package var actions: [Action] = []
    /// What changes in the files, for the log, secrets masked.
    package var changes: [String] = []
    /// Why K3s is not started, when it is not.
    package var obstacle: Obstacle?
    /// What the operator should know.
    package var warnings: [K3sWarning] = []

    /// Compares `observation` with `desired`.
    ///
    /// - Parameters:
    ///   - applied: the fingerprint K3s was last started with, if known.
    ///   - mayStart: whether a service that does not run may be started now, or has just been.
    package init(from observation: Observation, to desired: DesiredState, applied: String?, mayStart: Bool) {
        let binary = observation.binary ?? desired.layout.binaries[0]
        let files = desired.files(binary: binary)
        warnings =
            desired.warnings
            + UserConfigReview.review(
                observation.userFiles, besides: desired.config, at: desired.layout.dropIn)
        if let change = Self.addressChange(observation, desired) {
            obstacle = change
            return
        }
        let changesUnit = compareFiles(observation, desired, files)
        let isApplied = applied == "\(desired.fingerprint)"
        compareBoot(observation, desired, mustReload: changesUnit || observation.own.needsReload)
        compareServices(observation, desired, isApplied: isApplied, mayStart: mayStart)
        guard isApplied else { return }
        // Recorded late where the record could not be kept when K3s was started.
        if observation.own.isRunning, observation.applied != applied {
            actions.append(.recordApplied("\(desired.fingerprint)"))
        }
        if observation.own.activity == .active, !observation.isDeployed { actions.append(.markDeployed) }
    }

    /// Adds what must be written and removed; true when a unit's definition changes by it.
    private mutating func compareFiles(
        _ observation: Observation, _ desired: DesiredState, _ files: [DesiredState.File]
    ) -> Bool {
        var changesUnit = false
        for file in files {
            let state = observation.files[file.path] ?? .missing
            if state == .regular(content: file.content, mode: 0o600) { continue }
            actions.append(.write(file))
            changes += FileChange.describe(file, replacing: state)
            if file.purpose == .unit { changesUnit = true }
        }
        for path in desired.absent where observation.files[path] ?? .missing != .missing {
            actions.append(.remove(path: path))
            changes.append("remove \(path)")
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
            changes.append("remove \(path), left by Kairos' own provider")
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
            mustReload = true
        }
        if observation.own.isEnabled == false, observation.own.definition == .present {
            actions.append(.enable(desired.command))
            mustReload = true
        }
        if mustReload { actions.append(.reloadDefinitions) }
    }

    private mutating func compareServices(
        _ observation: Observation, _ desired: DesiredState, isApplied: Bool, mayStart: Bool
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
        switch observation.own.activity {
        case .active, .activating:
            if !isApplied { actions += [.restart(command), .recordApplied(fingerprint)] }
        case .inactive, .failed:
            if mayStart, !observation.own.isQueued {
                actions.append(.start(command))
                if !isApplied { actions.append(.recordApplied(fingerprint)) }
            }
        case .deactivating: break
        }
    }

    /// Whether the file that is there gives an etcd server another address than the new one would.
    private static func addressChange(_ observation: Observation, _ desired: DesiredState) -> Obstacle? {
        guard desired.command == .server, observation.hasEtcdData,
            case .list(let new)? = desired.config["node-ip"], let to = new.first,
            case .regular(let content, _) = observation.files[desired.layout.dropIn],
            let from = WrittenConfig(content).list("node-ip")?.first, from != to
        else { return nil }
        return .addressChanged(from: from, to: to)
    }
}
