/// What writing a file changes, as lines for the log. Secrets are never in them.
enum FileChange {
    /// `write PATH: +key value, -key, ~token`.
    static func describe(_ file: DesiredState.File, replacing state: FileState) -> [String] {
        guard case .regular(let old, let mode) = state else { return ["write \(file.path)"] + added(file) }
        let before = settings(old, file.purpose)
        let after = settings(file.content, file.purpose)
        var lines: [String] = []
        for name in Set(before.keys).union(after.keys).sorted() where before[name]?.raw != after[name]?.raw {
            switch (before[name], after[name]) {
            case (let old?, let new?): lines.append("  \(name): \(old.shown) → \(new.shown)")
            case (nil, let new?): lines.append("  + \(name): \(new.shown)")
            case (_, nil): lines.append("  - \(name)")
            }
        }
        if lines.isEmpty { lines = [mode == 0o600 ? "  (wording only)" : "  (mode)"] }
        return ["rewrite \(file.path)"] + lines
    }

    private static func added(_ file: DesiredState.File) -> [String] {
        settings(file.content, file.purpose).sorted { $0.key < $1.key }.map {
            "  + \($0.key): \($0.value.shown)"
        }
    }

    private typealias Setting = (raw: String, shown: String)

    private static let mask = "***"

    private static func settings(_ content: String, _ purpose: DesiredState.File.Purpose) -> [String: Setting]
    {
        switch purpose {
        case .config:
            let config = WrittenConfig(content)
            var settings: [String: Setting] = [:]
            for name in config.names {
                guard let raw = config.summary(name) else { continue }
                settings[name] = (raw, ConfigKey.named(name)?.isSecret ?? true ? mask : raw)
            }
            return settings
        case .environment:
            // Which of the user's variables are secret is not ours to guess.
            return EnvironmentFile.parse(content).mapValues { ($0, mask) }
        case .manifest:
            // That it is another one says enough: the cluster shows what is in it.
            return ["content": (content, "\(content.utf8.count) bytes")]
        case .unit:
            var settings: [String: Setting] = [:]
            for line in content.split(separator: "\n") where !line.hasPrefix("#") && !line.hasPrefix("[") {
                guard let equals = line.firstIndex(of: "=") else { continue }
                let name = String(line[..<equals])
                let raw = String(line[line.index(after: equals)...])
                // Arguments can hold tokens; that they changed says enough.
                if !raw.isEmpty { settings[name] = (raw, name == "ExecStart" ? mask : raw) }
            }
            return settings
        }
    }
}
