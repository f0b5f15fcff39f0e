internal import CProcess
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One program that is run to its end, with bounds on its time and on what is kept of its output.
enum HookProcess {
    /// How it ended.
    enum End: Hashable, Sendable {
        case exited(Int32)
        case signalled(Int32)
        /// It was killed, with all that it had started.
        case timedOut
        /// An errno(3).
        case notStarted(Int32)
    }

    struct Outcome: Hashable, Sendable {
        var end: End
        /// The last lines of what it wrote.
        var output: [String]
    }

    private static let interval = Duration.milliseconds(50)
    private static let keptLines = 10

    /// Runs `command`, whose first word is the program's path, for at most `patience`.
    static func run(_ command: [String], patience: Duration, time: any TimeSource) async -> Outcome {
        var ends: [Int32] = [-1, -1]
        let piped = cprocess_pipe(&ends)
        guard piped == 0 else { return Outcome(end: .notStarted(-piped), output: []) }
        _ = fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) & ~O_NONBLOCK)
        var descriptor: Int32 = -1
        let path =
            EnvironmentOfProcess.variables()["PATH"]
            ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        let environment = ["PATH=\(path)"]
        let process = CStringList.with(command) { arguments in
            CStringList.with(environment) { variables in
                command[0].withCString { program in
                    var request = cprocess_request(
                        program: program, arguments: arguments, environment: variables, output: ends[1],
                        death_signal: 0)
                    return cprocess_spawn(&request, &descriptor)
                }
            }
        }
        close(ends[1])
        defer { close(ends[0]) }
        guard process > 0 else { return Outcome(end: .notStarted(-process), output: []) }
        defer { close(descriptor) }
        var tail = OutputTail()
        var end: End?
        let deadline = time.now() + patience
        while end == nil {
            drain(ends[0], into: &tail)
            if let status = reap(process, descriptor) {
                end = status
            } else if time.now() >= deadline || Task.isCancelled {
                kill(-process, SIGKILL)
                _ = waitUntilReaped(process)
                end = .timedOut
            } else {
                // Cancelled: the next round ends it.
                try? await Task.sleep(for: interval)
            }
        }
        drain(ends[0], into: &tail)
        tail.endLine()
        return Outcome(end: end ?? .timedOut, output: tail.last(keptLines))
    }

    private static func drain(_ descriptor: Int32, into tail: inout OutputTail) {
        var buffer = [UInt8](repeating: 0, count: 16384)
        for _ in 0..<64 {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            tail.append(buffer[..<count])
        }
    }

    private static func reap(_ process: pid_t, _ descriptor: Int32) -> End? {
        var ended = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&ended, 1, 0) > 0, ended.revents != 0 else { return nil }
        // What it left behind in its group goes with it, while the group's number is still its own.
        kill(-process, SIGKILL)
        return waitUntilReaped(process)
    }

    private static func waitUntilReaped(_ process: pid_t) -> End {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            if errno != EINTR { return .exited(0) }
        }
        return status & 0x7F == 0 ? .exited((status >> 8) & 0xFF) : .signalled(status & 0x7F)
    }
}
