internal import CloudConfig
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Timing
internal import UnixSignals

/// Drives a `ConfigurationReload`: watches the folders, reads the files, has what changed applied.
actor ConfigurationWatcher {
    struct Parts: Sendable {
        let options: AgentOptions
        let group: any EventLoopGroup
        let time: any TimeSource
        let logger: Logger
        let notes: ConfigurationNotes
        /// Whether the node's cluster has been founded.
        let isFounded: @Sendable () async -> Bool
        /// Makes the running parts what the configuration says.
        let apply: @Sendable (ConfigurationReload.Candidate) async -> Void
    }

    private let parts: Parts
    private var reload: ConfigurationReload
    private var inbox: [ConfigurationReload.Input] = []
    private var wakeUp = WakeUp("ConfigurationReload")
    private let wake = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    /// What was last read, so that the same is not worked out again.
    private var lastFiles: [SourceFile]?
    private var watch: DirectoryWatch?

    init(current: ConfigurationReload.Candidate, parts: Parts) {
        self.parts = parts
        reload = ConfigurationReload(current: current, at: parts.time.now())
    }

    /// The configuration of the node, and what a node with a mesh makes of it. Blocks.
    ///
    /// Throws `AgentFailure` when it cannot be used.
    nonisolated static func candidate(
        _ configuration: NodeConfiguration
    ) throws(AgentFailure) -> ConfigurationReload.Candidate {
        let isStandalone = configuration.p2p?.networkToken == nil && configuration.givenCommand != nil
        return .init(
            configuration: configuration, settings: isStandalone ? nil : try NodeSettings(configuration))
    }

    /// What changed that the running agent cannot take up, once it must end for it.
    private(set) var reasonToStartAgain: [ConfigurationChange]?

    /// Keeps watching until the task is cancelled, or until the agent must end to be started again.
    func run() async {
        watch = await DirectoryWatch.start(on: parts.group, logger: parts.logger) { [weak self] in
            guard let self else { return }
            Task { await self.put(.touched) }
        }
        await arm()
        // What changed between the start and the watch.
        put(.touched)
        let hangUps = await UnixSignalsSequence(trapping: .sighup)
        let listener = Task { for await _ in hangUps { put(.asked) } }
        defer { listener.cancel() }
        reasonToStartAgain = await pump()
        await watch?.stop()
    }

    private func put(_ input: ConfigurationReload.Input) {
        // Of several changes one look is enough.
        if case .touched = input, inbox.contains(where: { if case .touched = $0 { true } else { false } }) {
            return
        }
        inbox.append(input)
        wake.continuation.yield()
    }

    private func pump() async -> [ConfigurationChange]? {
        var woken = wake.stream.makeAsyncIterator()
        while !Task.isCancelled {
            while !inbox.isEmpty, !Task.isCancelled {
                for effect in reload.receive(inbox.removeFirst(), at: parts.time.now()) {
                    if let changes = await perform(effect) { return changes }
                }
            }
            let timer = alarm()
            _ = await woken.next(isolation: self)
            timer?.cancel()
            if let deadline = reload.nextDeadline, parts.time.now() >= deadline {
                wakeUp.fired()
                inbox.append(.tick)
            }
        }
        return nil
    }

    private func alarm() -> Task<Void, Never>? {
        guard inbox.isEmpty, let plan = wakeUp.next(reload.nextDeadline, at: parts.time.now()) else {
            return nil
        }
        if let warning = plan.warning { parts.logger.warning("\(warning)") }
        return Task { [wake] in
            try? await Task.sleep(for: plan.delay)
            if !Task.isCancelled { wake.continuation.yield() }
        }
    }

    private func perform(_ effect: ConfigurationReload.Effect) async -> [ConfigurationChange]? {
        switch effect {
        case .read:
            inbox.insert(await read(), at: 0)
        case .apply(let candidate, let changes):
            parts.notes.adopt(candidate, isAnother: !changes.isEmpty, at: parts.time.wallClock())
            for change in changes { parts.logger.notice("the cloud-config changed: \(change.line)") }
            await parts.apply(candidate)
        case .restart(let changes):
            return changes
        case .keep(let problems):
            parts.notes.keep(problems)
            for line in problems {
                parts.logger.error("the cloud-config is not used, the former one stays: \(line)")
            }
        case .unchanged:
            parts.logger.notice("the cloud-config is what the node runs with")
        }
        return nil
    }

    private func read() async -> ConfigurationReload.Input {
        await arm()
        let options = parts.options
        let last = lastFiles
        let outcome = try? await NIOThreadPool.singleton.runIfActive { () -> Outcome in
            let discovery = Discovery(root: options.root, directories: options.configDirectories)
            do throws(ConfigurationFailure) {
                let found = try discovery.scan()
                if found.files == last { return .same }
                let configuration = try NodeConfiguration.load(
                    root: options.root, directories: options.configDirectories)
                do throws(AgentFailure) {
                    return .candidate(try Self.candidate(configuration), found.files)
                } catch {
                    return .broken([error.description], found.files)
                }
            } catch {
                return .broken(error.problems.map(\.description), nil)
            }
        }
        switch outcome {
        case .same: return .same
        case .broken(let lines, let files):
            lastFiles = files
            return .broken(lines)
        case .candidate(let candidate, let files):
            lastFiles = files
            return .read(candidate, isFounded: await parts.isFounded())
        case nil:
            // The process is ending.
            return .same
        }
    }

    private enum Outcome: Sendable {
        case same
        case candidate(ConfigurationReload.Candidate, [SourceFile])
        case broken([String], [SourceFile]?)
    }

    private func arm() async {
        guard let watch else { return }
        let folders = Discovery(root: parts.options.root, directories: parts.options.configDirectories)
            .directories
        _ = try? await NIOThreadPool.singleton.runIfActive { watch.watch(folders) }
    }
}
