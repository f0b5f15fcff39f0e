internal import CProcess
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One run of a program to its end, within a time and with so much output.
enum BoundedCommand {
    /// How it ended.
    enum Outcome: Hashable, Sendable {
        case ended(status: Int32, output: String)
        case timedOut
        /// It could not be executed: errno(3).
        case notStarted(Int32)
    }

    /// Output beyond this is read and thrown away.
    private static let longestOutput = 64 * 1024

    /// Runs `program`; blocks for at most `limit`, after which it is killed with all that it started.
    static func run(_ program: String, _ arguments: [String], limit: Duration) -> Outcome {
        let time = SystemTime()
        let deadline = time.now() + limit
        var ends: [Int32] = [-1, -1]
        let piped = cprocess_pipe(&ends)
        guard piped == 0 else { return .notStarted(-piped) }
        defer { close(ends[0]) }
        // The program does not expect to fail at writing.
        _ = fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) & ~O_NONBLOCK)
        let path = EnvironmentOfProcess.variables()["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin"
        var descriptor: Int32 = -1
        let process = CStringList.with([program] + arguments) { argv in
            CStringList.with(["PATH=" + path, "HOME=/nonexistent"]) { environment in
                program.withCString { name in
                    var request = cprocess_request(
                        program: name, arguments: argv, environment: environment, output: ends[1],
                        death_signal: SIGKILL)
                    return cprocess_spawn(&request, &descriptor)
                }
            }
        }
        close(ends[1])
        guard process > 0 else { return .notStarted(-process) }
        defer { close(descriptor) }
        var output: [UInt8] = []
        var isOpen = true
        var hasEnded = false
        while !hasEnded {
            let left = (deadline - time.now()).wholeNanoseconds / 1_000_000
            guard left > 0 else { break }
            var waits = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isOpen ? ends[0] : -1, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&waits, 2, Int32(clamping: left + 1))
            if isOpen, waits[1].revents != 0 { isOpen = drain(ends[0], into: &output) }
            hasEnded = waits[0].revents != 0
        }
        // What it left behind goes with it, before its number can belong to anyone else.
        kill(-process, SIGKILL)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        guard hasEnded else { return .timedOut }
        if isOpen { _ = drain(ends[0], into: &output) }
        let code = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
        return .ended(status: code, output: String(decoding: output, as: UTF8.self))
    }

    /// Reads what there is; false at the end.
    private static func drain(_ descriptor: Int32, into output: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16384)
        for _ in 0..<64 {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return errno == EAGAIN }
            if count == 0 { return false }
            output += buffer[..<min(count, max(0, longestOutput - output.count))]
        }
        return true
    }
}
