/// What writing or removing one file changes, setting by setting, with secrets masked: the part of a
/// change that may be logged.
package struct ConfigurationDiff: Hashable, Sendable {
    /// What happens to the file.
    package enum Kind: String, Hashable, Sendable {
        case write
        case rewrite
        case remove
    }

    /// What happens to one setting. The texts are masked.
    package enum Change: Hashable, Sendable {
        case added(String)
        case changed(from: String, to: String)
        case removed
        /// The same settings in other words.
        case wording
        /// The same words, readable by others.
        case mode
    }

    /// The file.
    package let path: String
    /// What happens to it.
    package let kind: Kind
    /// The settings that change, by name, in their order.
    package let changes: [(name: String, change: Change)]
    /// What else there is to say of it.
    package let note: String?

    /// The removal of the file at `path`.
    package init(removing path: String, note: String? = nil) {
        (self.path, kind, changes, self.note) = (path, .remove, [], note)
    }

    /// `file` in the place of what there is.
    package init(writing file: DesiredState.File, replacing state: FileState) {
        path = file.path
        note = nil
        let after = Self.settings(file.content, file.purpose)
        guard case .regular(let old, let mode) = state else {
            kind = .write
            changes = after.sorted { $0.key < $1.key }.map { ($0.key, .added($0.value.shown)) }
            return
        }
        kind = .rewrite
        let before = Self.settings(old, file.purpose)
        var changes: [(name: String, change: Change)] = []
        for name in Set(before.keys).union(after.keys).sorted() where before[name]?.raw != after[name]?.raw {
            switch (before[name], after[name]) {
            case (let old?, let new?): changes.append((name, .changed(from: old.shown, to: new.shown)))
            case (nil, let new?): changes.append((name, .added(new.shown)))
            case (_, nil): changes.append((name, .removed))
            }
        }
        if changes.isEmpty { changes = [("", old == file.content && mode != 0o600 ? .mode : .wording)] }
        self.changes = changes
    }

    /// The names of the settings that change.
    package var names: [String] { changes.map(\.name).filter { !$0.isEmpty } }

    /// The difference for the log.
    package var lines: [String] {
        ["\(kind.rawValue) \(path)" + (note.map { ", " + $0 } ?? "")]
            + changes.map { name, change in
                switch change {
                case .added(let value): "  + \(name): \(value)"
                case .changed(let old, let new): "  \(name): \(old) → \(new)"
                case .removed: "  - \(name)"
                case .wording: "  (wording only)"
                case .mode: "  (mode)"
                }
            }
    }

    package static func == (left: ConfigurationDiff, right: ConfigurationDiff) -> Bool {
        left.lines == right.lines
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(lines) }

    private typealias Setting = (raw: String, shown: String)

    private static func settings(_ content: String, _ purpose: DesiredState.File.Purpose) -> [String: Setting]
    {
        switch purpose {
        case .config:
            let config = WrittenConfig(content)
            var settings: [String: Setting] = [:]
            for name in config.names {
                guard let value = config.value(name) else { continue }
                settings[name] = (value.summary, SecretMask.value(value, of: ConfigKey.named(name)))
            }
            return settings
        case .environment:
            let variables = EnvironmentFile.parse(content)
            return Dictionary(
                uniqueKeysWithValues: variables.map { ($0, ($1, SecretMask.variable($0, $1))) })
        case .unit:
            var settings: [String: Setting] = [:]
            for line in content.split(separator: "\n") where !line.hasPrefix("#") && !line.hasPrefix("[") {
                guard let equals = line.firstIndex(of: "=") else { continue }
                let name = String(line[..<equals])
                let raw = String(line[line.index(after: equals)...])
                if raw.isEmpty { continue }
                let shown =
                    name == "ExecStart"
                    ? SecretMask.commandLine(UserArguments.words(of: raw)).joined(separator: " ") : raw
                // A name can stand several times, as conditions do.
                let former = settings[name]
                settings[name] = (
                    (former.map { $0.raw + "\n" } ?? "") + raw, (former.map { $0.shown + ", " } ?? "") + shown
                )
            }
            return settings
        case .permit: return [:]
        // That it is another one says enough: the cluster shows what is in it.
        case .manifest: return ["content": (content, "\(content.utf8.count) bytes")]
        }
    }
}
