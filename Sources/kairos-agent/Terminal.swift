internal import ArgumentParser

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Standard output and standard error.
enum Terminal {
    /// Writes `text` to standard output at once, so that nothing is lost when the process is ended.
    static func print(_ text: String, terminator: String = "\n") {
        write(text + terminator, to: STDOUT_FILENO)
    }

    /// Writes one line to standard error.
    static func note(_ text: String) {
        write(text + "\n", to: STDERR_FILENO)
    }

    /// Tells `text` on standard error; to be thrown, so that the process ends with `exitCode`.
    static func failure(_ text: String, exitCode: Int32) -> ExitCode {
        note("kairos-agent: \(text)")
        return ExitCode(exitCode)
    }

    /// Whether standard output is a terminal.
    static var isInteractive: Bool { isatty(STDOUT_FILENO) == 1 }

    /// The environment variables that the command line looks at.
    static var environment: [String: String] {
        guard let value = getenv("UUID") else { return [:] }
        return ["UUID": String(cString: value)]
    }

    /// A reader that went away, as `| head` does, is no error: what is left is dropped.
    private static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { systemWrite(descriptor, $0) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    private static func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        #if canImport(Glibc)
        Glibc.write(descriptor, bytes.baseAddress, bytes.count)
        #else
        Musl.write(descriptor, bytes.baseAddress, bytes.count)
        #endif
    }
}
