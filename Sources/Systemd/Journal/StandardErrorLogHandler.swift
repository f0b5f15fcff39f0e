package import Logging
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Writes log events as lines to standard error, for machines without journal and for terminals.
package struct StandardErrorLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level = .info
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String

    /// Makes the handler of the logger called `label`.
    package init(label: String, provider: Logger.MetadataProvider? = nil) {
        self.label = label
        self.metadataProvider = provider
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let values = LogLine.metadata(event, logger: metadata, provider: metadataProvider)
        write(line: LogLine.text(event.message, values), level: event.level)
    }

    /// Writes one line with time, level and logger, in one piece so that lines of threads do not mix.
    func write(line: String, level: Logger.Level) {
        let text = "\(Self.timestamp(SystemTime().wallClock())) \(level.rawValue) \(label): \(line)\n"
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { put($0) }
            if written < 0, errno == EINTR { continue }
            // A log that cannot be written cannot be complained about either.
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }

    /// `2026-11-22T23:50:00.123Z`.
    static func timestamp(_ time: UnixTime) -> String {
        var seconds = time_t(time.seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int, _ width: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
        }
        let milliseconds = Int((time.nanoseconds - time.seconds * 1_000_000_000) / 1_000_000)
        return digits(Int(parts.tm_year) + 1900, 4) + "-" + digits(Int(parts.tm_mon) + 1, 2) + "-"
            + digits(Int(parts.tm_mday), 2) + "T" + digits(Int(parts.tm_hour), 2) + ":"
            + digits(Int(parts.tm_min), 2)
            + ":" + digits(Int(parts.tm_sec), 2) + "." + digits(milliseconds, 3) + "Z"
    }
}

/// write(2) to standard error; the method's name hides it.
private func put(_ bytes: UnsafeRawBufferPointer) -> Int {
    write(STDERR_FILENO, bytes.baseAddress, bytes.count)
}
