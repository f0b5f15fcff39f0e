package import Logging
internal import MeshNetwork
internal import NIOPosix
package import Timing

/// Carries out what a `K3sReconciler` decides: reads, writes, speaks to the service manager.
package actor K3sController {
    private let manager: any ServiceManager
    private let time: any TimeSource
    private let logger: Logger
    private let hooks: HookRunner?
    private var reconciler = K3sReconciler()
    private var desired: DesiredState?
    private var inbox: [K3sReconciler.Input] = []
    private var wakeUp = WakeUp("K3sReconciler")
    private let wake = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private var observers: [AsyncStream<K3sReport>.Continuation] = []
    /// What was last reported; nil before there is a wish.
    package private(set) var report: K3sReport?

    /// Lines of K3s' output that reports hold.
    private static let reportedLines = 10

    /// Makes a controller of services that `manager` runs. Nothing happens before `run`.
    ///
    /// - Parameter hooks: runs the operator's hooks at their moments; nil where there are none.
    package init(
        manager: any ServiceManager, time: any TimeSource = SystemTime(), hooks: HookRunner? = nil,
        logger: Logger
    ) {
        self.hooks = hooks
        self.manager = manager
        self.time = time
        self.logger = logger
    }

    /// What is to be true from now on, or as soon as `run` runs.
    package func desire(_ state: DesiredState) {
        desired = state
        put(.desired(state))
    }

    /// Whether a healthy server may be restarted now; not before it is said, and it can be taken back.
    package func setRestartPermitted(_ isPermitted: Bool) {
        put(.restartPermitted(isPermitted))
    }

    /// Takes the Kubernetes node called `name` out of the cluster that this server runs, and with a
    /// server its membership in etcd. A node that is not there is none to take out.
    ///
    /// - Throws: `NodeRemovalError` when it cannot be done here, or was not done after some attempts.
    package func removeNode(_ name: String) async throws(NodeRemovalError) {
        guard let desired, desired.role.recorded == .server, report?.activity == .active else {
            throw .notServer
        }
        if name == desired.nodeName { throw .ownNode(name) }
        try await NodeAdministration(layout: desired.layout).remove(name)
        logger.notice("the Kubernetes node is removed", metadata: ["node": "\(name)"])
    }

    /// Every report from now on, the last one first; old ones are dropped where the reader is slow.
    package func reports() -> AsyncStream<K3sReport> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: K3sReport.self, bufferingPolicy: .bufferingNewest(1))
        if let report { continuation.yield(report) }
        observers.append(continuation)
        return stream
    }

    /// Keeps K3s as desired until the task is cancelled; to be called once. Its end touches neither files
    /// nor services; `shutDown` of the manager does that.
    package func run() async {
        await hooks?.run(.bootstrap)
        let changes = await manager.changes()
        await withTaskGroup { group in
            group.addTask { for await _ in changes { await self.put(.changed) } }
            group.addTask { await self.pump() }
            // Both end by cancellation; a manager that has ended tells of no more changes.
            await group.waitForAll()
        }
        for observer in observers { observer.finish() }
        observers = []
    }

    // MARK: pump

    private func put(_ input: K3sReconciler.Input) {
        // Of several changes one look is enough.
        if case .changed = input, inbox.contains(where: { if case .changed = $0 { true } else { false } }) {
            return
        }
        inbox.append(input)
        wake.continuation.yield()
    }

    /// Feeds the state machine, one input after the other even though carrying them out suspends.
    private func pump() async {
        var woken = wake.stream.makeAsyncIterator()
        while !Task.isCancelled {
            while !inbox.isEmpty, !Task.isCancelled {
                let next = inbox.removeFirst()
                for effect in reconciler.receive(next, at: time.now(), wall: time.wallClock()) {
                    await perform(effect)
                }
            }
            let timer = alarm()
            _ = await woken.next(isolation: self)
            timer?.cancel()
            if let deadline = reconciler.nextDeadline, time.now() >= deadline {
                wakeUp.fired()
                inbox.append(.tick)
            }
        }
    }

    /// Wakes the pump when the state machine wants it.
    private func alarm() -> Task<Void, Never>? {
        guard inbox.isEmpty, let plan = wakeUp.next(reconciler.nextDeadline, at: time.now()) else {
            return nil
        }
        if let warning = plan.warning { logger.warning("\(warning)") }
        return Task { [wake] in
            try? await Task.sleep(for: plan.delay)
            if !Task.isCancelled { wake.continuation.yield() }
        }
    }

    private func perform(_ effect: K3sReconciler.Effect) async {
        switch effect {
        case .observe(let desired): await observe(desired)
        case .carryOut(let actions, let desired): await carryOut(actions, desired)
        case .askMembership(let desired):
            // The answer can take its time, and K3s is not left alone for it.
            Task { [weak self] in
                var isVoter: Bool?
                if let name = desired.nodeName {
                    isVoter = await NodeAdministration(layout: desired.layout).isVoter(name)
                }
                await self?.put(.membership(isVoter: isVoter))
            }
        case .announce(let lines):
            for line in lines { logger.notice("\(line)") }
        case .report(let report):
            log(report, after: self.report)
            self.report = report
            observers.removeAll { if case .terminated = $0.yield(report) { true } else { false } }
        }
    }

    private func log(_ report: K3sReport, after last: K3sReport?) {
        // Lines that K3s writes while it comes up are in its own log.
        let isNews =
            last?.unit != report.unit || last?.activity != report.activity
            || last?.waiting?.since != report.waiting?.since || last?.warnings != report.warnings
        guard isNews else { return }
        var metadata: Logger.Metadata = ["unit": "\(report.unit)", "activity": "\(report.activity.rawValue)"]
        if let waiting = report.waiting {
            metadata["reason"] = "\(waiting.what)"
            logger.info("K3s is waiting", metadata: metadata)
        } else {
            logger.info("K3s runs", metadata: metadata)
        }
        for warning in report.warnings where last?.warnings.contains(warning) != true {
            var metadata: Logger.Metadata = ["remedy": "\(warning.remedy)"]
            if let file = warning.file { metadata["file"] = "\(file)" }
            if let key = warning.key { metadata["key"] = "\(key)" }
            logger.warning("\(warning.what)", metadata: metadata)
        }
    }

    // MARK: seeing

    private func observe(_ desired: DesiredState) async {
        let command = desired.command
        do {
            let own = try await manager.status(of: command.unit)
            let other = try await manager.status(of: command.other.unit)
            let isCalm = own.activity == .active || own.definition != .present
            let lines = isCalm ? [] : await manager.lastLines(of: command.unit, count: Self.reportedLines)
            var observation = try await NIOThreadPool.singleton.runIfActive {
                Self.look(at: desired, own: own, other: other)
            }
            observation.lastLines = lines
            // A role that is taken up later has the same moment as the first one.
            if observation.isDeployed, own.activity == .active, let role = desired.hookRole {
                await hooks?.run(.after(role: role))
            }
            inbox.insert(.observed(observation), at: 0)
        } catch {
            let failure = error as? ServiceError ?? .unavailable("\(error)")
            inbox.insert(.observationFailed(failure), at: 0)
        }
    }

    /// Reads files; blocks.
    private static func look(at desired: DesiredState, own: ServiceStatus, other: ServiceStatus)
        -> Observation
    {
        let layout = desired.layout
        var observation = Observation(own: own, other: other)
        observation.binary = layout.binaries.first(where: FileSystem.isProgram)
        let ours = desired.files(binary: observation.binary ?? layout.binaries[0]).map(\.path)
        let permits = K3sCommand.allCases.map(layout.startPermit)
        for path in ours + desired.absent + desired.absentManifests + desired.stockOverrides + permits {
            observation.files[path] = FileSystem.state(of: path)
        }
        let names = FileSystem.names(in: layout.configFolder).filter { name in
            let lower = name.lowercased()
            return lower.hasSuffix(".yaml") || lower.hasSuffix(".yml")
        }
        for path in [layout.configFile] + names.map({ layout.configFolder + "/" + $0 })
        where path != layout.dropIn {
            if let content = FileSystem.content(of: path) {
                observation.userFiles.append(.init(path: path, content: content))
            }
        }
        if case .regular(let text, _) = FileSystem.state(of: layout.appliedRecord) {
            observation.applied = text
        }
        observation.isDeployed = FileSystem.exists(layout.sentinel)
        observation.hasEtcdData = FileSystem.exists(layout.etcdData)
        observation.isTakenOut = FileSystem.exists(layout.etcdTombstone)
        if let file = desired.files(binary: "").first(where: { $0.purpose == .config }),
            observation.files[file.path] != .regular(content: file.content, mode: 0o600)
        {
            observation.dropInChanged = FileSystem.changed(file.path)
        }
        observation.hasSQLiteData = FileSystem.exists(layout.sqliteData)
        switch FileSystem.state(of: layout.clusterRecord) {
        case .missing: observation.record = .missing
        case .regular(let text, _):
            observation.record = ClusterRecord(text).map { .known($0) } ?? .unreadable
        case .other: observation.record = .unreadable
        }
        for remains in ClusterRemains.allCases {
            let path = remains.path(in: layout)
            let isThere =
                remains.kept.isEmpty
                ? FileSystem.exists(path)
                : FileSystem.names(in: path).contains { !remains.kept.contains($0) }
            if isThere { observation.remains.insert(remains) }
        }
        observation.hasNodeToken = FileSystem.exists(layout.nodeToken)
        return observation
    }

    // MARK: doing

    private func carryOut(_ actions: [Plan.Action], _ desired: DesiredState) async {
        var done: [Plan.Action] = []
        var failure: K3sReconciler.Failure?
        if let role = desired.hookRole, !actions.isEmpty { await hooks?.run(.before(role: role)) }
        for action in actions {
            do throws(K3sReconciler.Failure) {
                try await carryOut(action, desired)
            } catch {
                failure = error
                break
            }
            done.append(action)
        }
        inbox.insert(.carriedOut(done, failure: failure), at: 0)
    }

    private func carryOut(_ action: Plan.Action, _ desired: DesiredState) async throws(K3sReconciler.Failure)
    {
        switch action {
        case .write(let file): try await write(file.content, to: file.path)
        case .remove(let path): try await onDisk { () throws(FileError) in try FileSystem.remove(path) }
        case .recordApplied(let fingerprint): try await write(fingerprint, to: desired.layout.appliedRecord)
        case .markDeployed:
            if let role = desired.hookRole { await hooks?.run(.after(role: role)) }
            try await write("", to: desired.layout.sentinel)
        case .recordCluster(let record):
            try await write(record.rendered(), to: desired.layout.clusterRecord)
        case .setAside(let remains, let epoch):
            let path = remains.path(in: desired.layout)
            let suffix = ".epoch-\(epoch).\(time.wallClock().seconds)"
            try await onDisk { () throws(FileError) in
                try FileSystem.setAside(path, suffix: suffix, keeping: remains.kept)
            }
        default:
            do throws(ServiceError) { try await command(action, desired) } catch { throw .service(error) }
        }
    }

    private func command(_ action: Plan.Action, _ desired: DesiredState) async throws(ServiceError) {
        let layout = desired.layout
        let binary = layout.binaries.first(where: FileSystem.isProgram) ?? layout.binaries[0]
        func service(_ command: K3sCommand) -> Service {
            Service(unit: command.unit, launch: desired.launch(binary: binary))
        }
        switch action {
        case .reloadDefinitions: try await manager.reloadDefinitions()
        case .disable(let command): try await manager.disable(service(command))
        case .stop(let command): try await manager.stop(service(command))
        case .enable(let command): try await manager.enable(service(command))
        case .start(let command): try await manager.start(service(command))
        case .restart(let command): try await manager.restart(service(command))
        case .write, .remove, .recordApplied, .markDeployed, .recordCluster, .setAside: break
        }
    }

    private func write(_ content: String, to path: String) async throws(K3sReconciler.Failure) {
        try await onDisk { () throws(FileError) in try FileSystem.write(content, to: path) }
    }

    /// Away from the threads that run tasks: a disk can take its time.
    private func onDisk(
        _ work: @escaping @Sendable () throws(FileError) -> Void
    ) async throws(K3sReconciler.Failure) {
        do {
            try await NIOThreadPool.singleton.runIfActive(work)
        } catch {
            throw .file(error as? FileError ?? FileError(path: "", operation: "reach the disk at", code: 5))
        }
    }
}
