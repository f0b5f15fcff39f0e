internal import CSystemd
package import Logging

/// Writes log events to the systemd journal: the line as `MESSAGE`, and every metadata value as a
/// field of its own (`PEER`, `ADDRESS`, `REASON`, …), by which `journalctl PEER=…` finds it.
package struct JournalLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level = .info
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let identifier: String
    /// Where events go when the journal does not take them.
    private let fallback: StandardErrorLogHandler

    /// Makes the handler of the logger called `label`; `identifier` is what `journalctl -t` selects by.
    package init(label: String, identifier: String = "kairos-agent", provider: Logger.MetadataProvider? = nil)
    {
        self.label = label
        self.identifier = identifier
        self.metadataProvider = provider
        self.fallback = StandardErrorLogHandler(label: label)
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let values = LogLine.metadata(event, logger: metadata, provider: metadataProvider)
        let line = LogLine.text(event.message, values)
        var fields = [
            "MESSAGE=" + line, "PRIORITY=\(Self.priority(event.level))", "SYSLOG_IDENTIFIER=" + identifier,
            "LOGGER=" + label,
        ]
        for (key, value) in values {
            if let name = Self.fieldName(key) { fields.append(name + "=" + value) }
        }
        if !Self.send(fields) { fallback.write(line: line, level: event.level) }
    }

    /// `key` as a field's name: upper case letters, digits and underscores, not beginning with a digit
    /// or an underscore, at most 64 (journald drops others); nil when nothing of it is left, or when it
    /// would forge one of the fields above.
    static func fieldName(_ key: String) -> String? {
        var bytes: [UInt8] = []
        for byte in key.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): bytes.append(byte - 32)
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): bytes.append(byte)
            case UInt8(ascii: "0")...UInt8(ascii: "9") where !bytes.isEmpty: bytes.append(byte)
            default: if !bytes.isEmpty { bytes.append(UInt8(ascii: "_")) }
            }
        }
        let name = String(decoding: bytes.prefix(64), as: UTF8.self)
        return ["", "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER"].contains(name) ? nil : name
    }

    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// Sends `fields` as one entry; false when the journal does not take it.
    private static func send(_ fields: [String]) -> Bool {
        var lengths: [Int] = []
        var bytes: [UInt8] = []
        for field in fields {
            lengths.append(field.utf8.count)
            bytes += field.utf8
        }
        return bytes.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return false }
            var vectors: [iovec] = []
            var offset = 0
            for length in lengths {
                vectors.append(iovec(iov_base: base + offset, iov_len: length))
                offset += length
            }
            return sd_journal_sendv(vectors, Int32(vectors.count)) >= 0
        }
    }
}
