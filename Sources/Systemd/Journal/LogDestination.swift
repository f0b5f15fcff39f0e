package import Logging

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Where the log goes.
package enum LogDestination: Hashable, Sendable {
    case journal
    case standardError

    /// The journal when this process' standard error leads there, which says that systemd started it
    /// as a service (`JOURNAL_STREAM`, systemd.exec(5)); else standard error.
    package static var current: LogDestination {
        guard let stream = getenv("JOURNAL_STREAM") else { return .standardError }
        var status = stat()
        guard fstat(STDERR_FILENO, &status) == 0 else { return .standardError }
        // The variable is inherited; only if device and inode fit is our own stream meant.
        return String(cString: stream) == "\(status.st_dev):\(status.st_ino)" ? .journal : .standardError
    }

    /// A handler for the logger called `label`, for `LoggingSystem.bootstrap`.
    package func handler(label: String, provider: Logger.MetadataProvider? = nil) -> any LogHandler {
        switch self {
        case .journal: JournalLogHandler(label: label, provider: provider)
        case .standardError: StandardErrorLogHandler(label: label, provider: provider)
        }
    }
}
