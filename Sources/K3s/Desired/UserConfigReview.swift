internal import Yams

/// Reads the user's own K3s config files for what will stop K3s or work otherwise than meant. The
/// files are never touched.
package enum UserConfigReview {
    /// One file of the user's.
    package struct File: Hashable, Sendable {
        /// The absolute path.
        package let path: String
        /// The content.
        package let content: String

        package init(path: String, content: String) {
            self.path = path
            self.content = content
        }
    }

    /// A file larger than this is not read: no K3s config is.
    package static let largestFile = 1 << 20

    /// What is wrong with `files`, given in the order K3s reads them, beside our own `config`, which is
    /// read at `ownPath`'s place among them.
    package static func review(_ files: [File], besides config: ConfigFile, at ownPath: String)
        -> [K3sWarning]
    {
        var warnings: [K3sWarning] = []
        for file in files {
            let root: Node?
            do {
                root = try Yams.compose(yaml: file.content)
            } catch {
                warnings.append(
                    K3sWarning(
                        "not YAML, so K3s will not start", remedy: "correct or remove the file",
                        file: file.path))
                continue
            }
            guard let root else { continue }
            guard let mapping = root.mapping else {
                if let text = root.scalar?.string, ["", "~", "null"].contains(text) { continue }
                warnings.append(
                    K3sWarning(
                        "not a mapping of keys to values, so K3s will not start",
                        remedy: "correct or remove the file", file: file.path))
                continue
            }
            for (key, value) in mapping {
                guard let written = key.scalar?.string else { continue }
                warnings += review(
                    written: written, value: value, file: file, config: config,
                    isLater: comesLater(file.path, than: ownPath))
            }
        }
        return warnings
    }

    private static func review(
        written: String, value: Node, file: File, config: ConfigFile, isLater: Bool
    ) -> [K3sWarning] {
        let appends = written.hasSuffix("+")
        let name = appends ? String(written.dropLast()) : written
        let command = config.command
        func warning(_ what: String, _ remedy: String) -> K3sWarning {
            K3sWarning("\(name): " + what, remedy: remedy, file: file.path, key: name)
        }
        guard let key = ConfigKey.named(name) else {
            let remedy = ConfigKey.removed[name].map { "use \($0)" } ?? "check its spelling"
            switch command {
            case .server: return [warning("k3s server does not know the key and ignores it", remedy)]
            case .agent: return [warning("k3s agent does not know the key and exits on it", remedy)]
            }
        }
        guard key.commands.contains(command) else {
            switch command {
            case .server: return [warning("k3s server has no such key and ignores it", "remove it")]
            case .agent:
                return [warning("a key for servers only; k3s agent exits on it", "remove it from this file")]
            }
        }
        var warnings: [K3sWarning] = []
        if isLater, !appends, let ours = config[key.name], ours != literal(value) {
            warnings.append(
                warning("replaces what this agent sets", "remove it, or rename the file to come before"))
        }
        if let scalar = value.scalar {
            if key.kind == .string, scalar.style == .plain, isOctal(scalar.string) {
                warnings.append(
                    warning("K3s reads the unquoted number as octal", "quote it: \"\(scalar.string)\""))
            }
            if let better = ConfigKey.removedValues[key.name]?[scalar.string] {
                warnings.append(warning("K3s no longer takes \(scalar.string)", "use \(better)"))
            }
        }
        switch key.name {
        case "bind-address": warnings.append(warning("hides the API address and loopback", "remove it"))
        case "cluster-reset": warnings.append(warning("makes K3s reset and exit at every start", "remove it"))
        default: break
        }
        return warnings
    }

    /// Whether K3s reads the file at `path` after the one at `other`: the base file first, then the
    /// others in byte order of their names.
    private static func comesLater(_ path: String, than other: String) -> Bool {
        let folder = other.prefix(upTo: other.lastIndex(of: "/") ?? other.startIndex)
        guard path.hasPrefix(folder + "/") else { return false }
        return other.utf8.lexicographicallyPrecedes(path.utf8)
    }

    private static func literal(_ node: Node) -> ConfigValue? {
        if let sequence = node.sequence { return .list(sequence.compactMap { $0.scalar?.string }) }
        guard let scalar = node.scalar else { return nil }
        return scalar.style == .plain && (scalar.string == "true" || scalar.string == "false")
            ? .bool(scalar.string == "true") : .string(scalar.string)
    }

    private static func isOctal(_ text: String) -> Bool {
        text.utf8.count > 1 && text.utf8.first == UInt8(ascii: "0")
            && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
    }
}
