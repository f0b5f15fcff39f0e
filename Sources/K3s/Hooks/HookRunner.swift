package import Logging
package import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Runs the operator's hooks, one after the other, each once. A hook that fails, hangs or is not there is
/// logged and changes nothing.
package actor HookRunner {
    /// How long one program may take.
    package static let patience = Duration.seconds(300)

    private let layout: HookLayout
    private let supervision: DesiredState.Supervision
    private let patience: Duration
    private let time: any TimeSource
    private let logger: Logger
    /// Stages that run or have run: an actor lets others in while it waits.
    private var begun: Set<HookStage> = []

    package init(
        layout: HookLayout, supervision: DesiredState.Supervision, patience: Duration = HookRunner.patience,
        time: any TimeSource, logger: Logger
    ) {
        self.layout = layout
        self.supervision = supervision
        self.patience = patience
        self.time = time
        self.logger = logger
    }

    /// Runs what hangs on `stage`, unless that was done before.
    package func run(_ stage: HookStage) async {
        guard begun.insert(stage).inserted, !isRecorded(stage) else { return }
        if FileSystem.isProgram(layout.agent), !isThisProgram(layout.agent) {
            await run([layout.agent, "run-stage", stage.name], for: stage)
        }
        if stage == .bootstrap, FileSystem.isProgram(layout.bootstrapHook) {
            await run([layout.bootstrapHook], for: stage)
        }
        record(stage)
    }

    private func run(_ command: [String], for stage: HookStage) async {
        var command = command
        if case .systemd = supervision {
            // Outside of the agent's own unit, which may write to few places and change little.
            command =
                [
                    "/usr/bin/systemd-run", "--quiet", "--wait", "--pipe", "--collect",
                    "--property=RuntimeMaxSec=\(patience.components.seconds)", "--",
                ] + command
        }
        let outcome = await HookProcess.run(command, patience: patience, time: time)
        var metadata: Logger.Metadata = [
            "stage": "\(stage.name)", "program": "\(command.joined(separator: " "))",
        ]
        if !outcome.output.isEmpty {
            metadata["output"] = "\(outcome.output.joined(separator: "\n"))"
        }
        switch outcome.end {
        case .exited(0): logger.info("hook was run", metadata: metadata)
        case .exited(let code):
            metadata["code"] = "\(code)"
            logger.warning("hook failed, which changes nothing", metadata: metadata)
        case .signalled(let number):
            metadata["signal"] = "\(number)"
            logger.warning("hook was killed, which changes nothing", metadata: metadata)
        case .timedOut: logger.warning("hook took too long and was ended", metadata: metadata)
        case .notStarted(let number):
            metadata["reason"] = "\(String(cString: strerror(number)))"
            logger.warning("hook cannot be run", metadata: metadata)
        }
    }

    /// Whether the program at `path` is the one that runs here: it has no stages, and must not call itself.
    private func isThisProgram(_ path: String) -> Bool {
        var (own, other) = (stat(), stat())
        guard stat("/proc/self/exe", &own) == 0, stat(path, &other) == 0 else { return true }
        return own.st_dev == other.st_dev && own.st_ino == other.st_ino
    }

    // MARK: records

    private func isRecorded(_ stage: HookStage) -> Bool {
        recorded(layout.record(of: stage)).contains(stage.name)
    }

    private func recorded(_ path: String) -> [String] {
        guard case .regular(let content, _) = FileSystem.state(of: path) else { return [] }
        return content.split(separator: "\n").map(String.init)
    }

    private func record(_ stage: HookStage) {
        let path = layout.record(of: stage)
        do throws(FileError) {
            try FileSystem.write((recorded(path) + [stage.name, ""]).joined(separator: "\n"), to: path)
        } catch {
            logger.warning(
                "that a hook was run cannot be recorded, so it will be run again",
                metadata: ["stage": "\(stage.name)", "reason": "\(error.cause)", "remedy": "\(error.remedy)"])
        }
    }
}
