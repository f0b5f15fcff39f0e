internal import CProcess
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One supervised process with its descriptors. Used by the loop's thread alone.
final class Child {
    /// How it is run from the next start on.
    var launch: LaunchDescription
    /// What is done about it.
    private(set) var supervision = Supervision()
    /// When the activity last changed.
    private(set) var since: UnixTime
    /// Its last lines.
    private(set) var tail = OutputTail()

    private let time: any TimeSource
    private let readiness: ReadinessSocket?
    private var process: pid_t?
    private var processDescriptor: Int32 = -1
    private var output: Int32 = -1
    private var log: LogFile?

    init(launch: LaunchDescription, time: any TimeSource, patience: Duration) {
        self.launch = launch
        self.supervision.patience = patience
        self.time = time
        self.since = time.wallClock()
        self.readiness = ReadinessSocket()
    }

    deinit {
        closeOutput()
        if processDescriptor >= 0 { close(processDescriptor) }
    }

    /// Whether there is a process.
    var isAlive: Bool { process != nil }

    /// What to wait for.
    var descriptors: [(descriptor: Int32, events: Int16)] {
        var all: [(descriptor: Int32, events: Int16)] = []
        if processDescriptor >= 0 { all.append((processDescriptor, Int16(POLLIN))) }
        if output >= 0 { all.append((output, Int16(POLLIN))) }
        if let readiness { all.append((readiness.descriptor, Int16(POLLIN))) }
        return all
    }

    /// Feeds the state machine; true when the status is another.
    func receive(_ input: Supervision.Input) -> Bool {
        var changed = false
        for effect in supervision.receive(input, at: time.now()) {
            switch effect {
            case .spawn: changed = spawn() || changed
            case .terminate: signal(SIGTERM)
            case .kill: signal(SIGKILL)
            case .changed:
                since = time.wallClock()
                changed = true
            }
        }
        return changed
    }

    /// Reads what has come and sees whether the process is gone; true when the status is another.
    func proceed() -> Bool {
        var changed = false
        drainOutput()
        if readiness?.takeReady() ?? false { changed = receive(.ready) || changed }
        if let exit = reap() {
            // What the process wrote last is in the pipe before it can be reaped.
            drainOutput()
            tail.endLine()
            changed = receive(.exited(exit)) || changed
        }
        if let deadline = supervision.nextDeadline, time.now() >= deadline {
            changed = receive(.tick) || changed
        }
        return changed
    }

    // MARK: process

    private func spawn() -> Bool {
        closeOutput()
        var ends: [Int32] = [-1, -1]
        let piped = cprocess_pipe(&ends)
        guard piped == 0 else { return receive(.spawnFailed(-piped)) }
        // The pipe's writing end must block: a program does not expect to fail at writing its log.
        _ = fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) & ~O_NONBLOCK)
        _ = readiness?.takeReady()
        log = LogFile(path: launch.logFile)
        var descriptor: Int32 = -1
        let result = CStringList.with([launch.program] + launch.arguments) { arguments in
            CStringList.with(variables()) { environment in
                launch.program.withCString { program in
                    var request = cprocess_request(
                        program: program, arguments: arguments, environment: environment, output: ends[1],
                        death_signal: SIGTERM)
                    return cprocess_spawn(&request, &descriptor)
                }
            }
        }
        close(ends[1])
        guard result > 0 else {
            close(ends[0])
            tail.append("\(launch.program): \(String(cString: strerror(-result)))\n".utf8)
            return receive(.spawnFailed(-result))
        }
        output = ends[0]
        process = result
        processDescriptor = descriptor
        return false
    }

    /// The program's environment, without what systemd tells this process alone.
    private func variables() -> [String] {
        var variables: [String: String] = [:]
        let inherited = EnvironmentOfProcess.variables()
        variables["PATH"] =
            inherited["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        if launch.inheritsEnvironment {
            for (name, value) in inherited where !Self.isOurs(name) { variables[name] = value }
        }
        if let readiness { variables["NOTIFY_SOCKET"] = readiness.name }
        variables.merge(launch.environment) { $1 }
        return variables.map { "\($0.key)=\($0.value)" }
    }

    /// systemd's messages to the agent, and K3s' settings, whose rank against the config file is a
    /// question better not asked (contract/k3s.md §1.3).
    private static func isOurs(_ name: String) -> Bool {
        [
            "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
            "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID", "MANAGERPID", "SYSTEMD_EXEC_PID",
        ].contains(name) || name.hasPrefix("K3S_")
    }

    /// To the process and all that it started in its session's group.
    private func signal(_ number: Int32) {
        guard let process else { return }
        kill(-process, number)
    }

    private func reap() -> Supervision.Exit? {
        guard let process else { return nil }
        var ended = pollfd(fd: processDescriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&ended, 1, 0) > 0, ended.revents != 0 else { return nil }
        // What the process left behind in its group goes with it, or it would hold ports and files; and
        // before it is reaped, while the group's number cannot belong to anyone else.
        kill(-process, SIGKILL)
        var status: Int32 = 0
        let result = waitpid(process, &status, WNOHANG)
        if result == 0 || (result < 0 && errno == EINTR) { return nil }
        self.process = nil
        close(processDescriptor)
        processDescriptor = -1
        // ECHILD: someone else reaped it; how it ended is not to be had.
        guard result > 0 else { return .status(0) }
        return status & 0x7F == 0 ? .status((status >> 8) & 0xFF) : .signal(status & 0x7F)
    }

    // MARK: output

    private func drainOutput() {
        guard output >= 0 else { return }
        var buffer = [UInt8](repeating: 0, count: 16384)
        // Bounded, so that one that writes without end does not keep the others waiting.
        for _ in 0..<64 {
            let count = read(output, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count == 0 || (count < 0 && errno != EAGAIN) { closeOutput() }
            guard count > 0 else { return }
            tail.append(buffer[..<count])
            log?.append(buffer[..<count])
        }
    }

    private func closeOutput() {
        if output >= 0 { close(output) }
        output = -1
    }
}
