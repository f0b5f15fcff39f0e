internal import AgentAPI
internal import CloudConfig
internal import K3s
internal import Logging
internal import MeshNetwork
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import Systemd
internal import Timing

/// A node without a mesh: K3s as the cloud-config asks for by hand, kept so (contract/kairos.md §3.5e).
struct Standalone: Sendable, StatusSource, LedgerSource, OperatorCommands {
    private let machine: MachineIdentity
    private let k3s: K3sRunner
    private let notes: ConfigurationNotes
    private let watcher: ConfigurationWatcher
    private let time: any TimeSource
    private let startedAt: Instant

    /// Runs until SIGTERM or SIGINT.
    static func run(
        _ command: K3sCommand, options: AgentOptions, paths: NodePaths, configuration: NodeConfiguration,
        stopTimeout: Duration, logger: Logger
    ) async throws(AgentFailure) {
        let lock: InstanceLock
        do { lock = try InstanceLock(path: paths.lock) } catch {
            throw AgentFailure(error.description, exitCode: AgentFailure.Code.unavailable)
        }
        let machine = try MachineIdentity.find(paths)
        do {
            try await serve(
                command, machine: machine, options: options, paths: paths, configuration: configuration,
                stopTimeout: stopTimeout, logger: logger)
        } catch let failure as AgentFailure {
            throw failure
        } catch let problem as UnixSocket.Problem {
            throw AgentFailure(problem.description, exitCode: problem.exitCode)
        } catch {
            throw AgentFailure("\(error)", exitCode: AgentFailure.Code.software)
        }
        _ = consume lock
    }

    private static func serve(
        _ command: K3sCommand, machine: MachineIdentity, options: AgentOptions, paths: NodePaths,
        configuration: NodeConfiguration, stopTimeout: Duration, logger: Logger
    ) async throws {
        let time = SystemTime()
        let (manager, supervision) = try Supervisor.find(paths: paths, time: time)
        let layout = K3sLayout(root: paths.root.isEmpty ? "/" : paths.root)
        let k3s = K3sRunner(
            node: .init(
                name: NodeName(previous: nil, hostName: machine.hostName, peerID: []), interface: "lo",
                carriesKubernetes: false,
                settings: UserSettings(
                    server: NodeSettings.block(configuration.k3s),
                    agent: NodeSettings.block(configuration.k3sAgent)),
                externalDatastore: nil, layout: layout, supervision: supervision),
            manager: manager, time: time,
            hooks: HookRunner(
                layout: HookLayout(layout), supervision: supervision, time: time, logger: logger),
            logger: logger)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let candidate = ConfigurationReload.Candidate(configuration: configuration, settings: nil)
        let notes = ConfigurationNotes(candidate, at: time.wallClock())
        let watcher = ConfigurationWatcher(
            current: candidate,
            parts: .init(
                options: options, group: group, time: time, logger: logger, notes: notes,
                isFounded: { true }, apply: { apply($0, to: k3s) }))
        let node = Standalone(
            machine: machine, k3s: k3s, notes: notes, watcher: watcher, time: time, startedAt: time.now())
        let api = APIServer(
            socket: UnixSocket(path: paths.socket), status: node, ledger: node, commands: node, clock: time,
            eventLoopGroup: group, logger: logger)
        logger.notice(
            "no mesh: K3s runs as the cloud-config asks for", metadata: ["command": "\(command.rawValue)"])
        k3s.runAsGiven(command)
        let failure = await Supervisor.run(stopTimeout: stopTimeout, logger: logger) {
            try await node.runParts(api)
        }
        ServiceNotification.stopping()
        if supervision == .childProcess { await manager.shutDown() }
        try? await group.shutdownGracefully()
        if let failure { throw failure }
        if let changes = await watcher.reasonToStartAgain { throw AgentFailure.startAgain(changes) }
    }

    /// Has K3s go on with another configuration.
    private static func apply(_ candidate: ConfigurationReload.Candidate, to k3s: K3sRunner) {
        let configuration = candidate.configuration
        k3s.adopt(
            settings: UserSettings(
                server: NodeSettings.block(configuration.k3s),
                agent: NodeSettings.block(configuration.k3sAgent)),
            externalDatastore: nil, kubeVIP: nil)
        if let command = configuration.givenCommand { k3s.runAsGiven(command) }
    }

    private func runParts(_ api: APIServer) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await api.run() }
            group.addTask { await cancelWhenGracefulShutdown { await k3s.run { _ in } } }
            group.addTask { await cancelWhenGracefulShutdown { await keepWatchdog() } }
            group.addTask { await cancelWhenGracefulShutdown { await watcher.run() } }
            // The first part that ends, by shutdown or by failure, ends the others.
            try await group.next()
            group.cancelAll()
        }
    }

    private func keepWatchdog() async {
        ServiceNotification.ready(status: "no mesh: K3s as the cloud-config asks for")
        let interval = ServiceNotification.watchdogInterval.map { $0 / 3 } ?? .seconds(15)
        while !Task.isCancelled {
            _ = await status()
            ServiceNotification.alive()
            do { try await Task.sleep(for: min(interval, .seconds(30))) } catch { return }
        }
    }

    // MARK: telling

    func status() async -> StatusDocument {
        let now = time.moment()
        let report = k3s.report
        var document = StatusDocument(
            asOf: Timestamp(now.wall),
            node: .init(
                name: machine.hostName, uuid: machine.uuid, version: AgentVersion.current,
                state: report?.isReady == true ? .ready : (report?.restarts ?? 0) > 0 ? .degraded : .starting,
                uptimeSeconds: UInt64(max(0, (now.instant - startedAt).components.seconds))))
        if let failure = k3s.failure {
            document.waiting = [
                .init(
                    step: "k3s", what: "settings that K3s can run with: \(failure)",
                    remedy: "mend k3s or k3s-agent in the cloud-config and start the agent again",
                    since: Timestamp(now.wall))
            ]
        } else if let wait = report?.waiting {
            document.waiting = [
                .init(
                    step: wait.step.rawValue, what: wait.what, remedy: wait.remedy,
                    since: Timestamp(wait.since))
            ]
        }
        document.k3s = report.map { report in
            StatusDocument.K3s(
                unit: report.unit, state: report.activity.rawValue, problem: report.waiting?.what,
                log: report.isReady ? [] : report.lastLines)
        }
        let configuration = notes.current
        document.configuration = configuration.document
        document.warnings =
            configuration.problems.map { StatusDocument.Configuration.notUsed + $0 } + configuration.warnings
            + (report?.warnings ?? []).map { warning in
                "\(warning.what)\(warning.file.map { " (\($0))" } ?? ""): \(warning.remedy)"
            }
        return document
    }

    func ledger() async -> LedgerView { LedgerView(buckets: [:], localPeer: "", knownPeerCount: 0) }

    // MARK: the operator's words

    private static let refusal = OperatorOutcome.refused(
        OperatorRefusal(
            .noMesh, what: "this node has no mesh: its cloud-config has no p2p.network_token",
            remedy: "K3s is what the blocks k3s and k3s-agent say; change them there"))

    func leave() async -> OperatorOutcome { Self.refusal }
    func forget(_ node: KnownNode) async -> OperatorOutcome { Self.refusal }
    func resetCluster() async -> OperatorOutcome { Self.refusal }
    func recover() async -> OperatorOutcome { Self.refusal }
    func standing(of question: OperatorQuestion) async -> OperatorOutcome? { Self.refusal }
}
