internal import Logging

/// What the handlers have in common: an event as one line, and its metadata in a fixed order.
enum LogLine {
    /// The event's metadata over the logger's and the provider's, sorted by key.
    static func metadata(
        _ event: LogEvent, logger: Logger.Metadata, provider: Logger.MetadataProvider?
    ) -> [(key: String, value: String)] {
        var merged = logger
        if let provided = provider?.get() { merged.merge(provided) { $1 } }
        if let own = event.metadata { merged.merge(own) { $1 } }
        if let error = event.error { merged["error"] = .string("\(error)") }
        return merged.map { (key: $0.key, value: "\($0.value)") }.sorted { $0.key < $1.key }
    }

    /// `message key=value key="two words"`, on one line whatever the values hold.
    static func text(_ message: Logger.Message, _ metadata: [(key: String, value: String)]) -> String {
        var text = oneLine("\(message)")
        for (key, value) in metadata {
            let quoted = value.isEmpty || value.contains { $0.isWhitespace || $0 == "\"" || $0 == "=" }
            text +=
                " " + key + "=" + (quoted ? "\"" + oneLine(value, escaping: "\"\\") + "\"" : oneLine(value))
        }
        return text
    }

    private static func oneLine(_ text: String, escaping special: String = "") -> String {
        var line = ""
        for scalar in text.unicodeScalars {
            if special.unicodeScalars.contains(scalar) {
                line += "\\"
                line.unicodeScalars.append(scalar)
            } else if scalar == "\n" {
                line += "\\n"
            } else if scalar.value < 0x20 || scalar.value == 0x7F {
                // What a peer sends must not steer the operator's terminal.
                line += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        return line
    }
}
