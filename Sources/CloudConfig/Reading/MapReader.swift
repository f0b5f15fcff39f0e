/// Reads the keys of one map as typed values. A value that does not fit is noted in the findings and reads
/// as if it were absent; a null is absent.
final class MapReader {
    private let map: ConfigurationMap
    private let path: String
    private let findings: Findings
    private var known: [String] = []

    init(_ map: ConfigurationMap, path: String, findings: Findings) {
        self.map = map
        self.path = path
        self.findings = findings
    }

    /// The path of `key` from the root: `p2p.vpn.mtu`.
    func path(of key: String) -> String {
        path.isEmpty ? key : "\(path).\(key)"
    }

    /// Where the value of `key` stands.
    func position(of key: String) -> SourcePosition? {
        map[key]?.value.position
    }

    // MARK: values

    /// Text. A single value of another kind is taken as it is written, as Go's decoder does.
    func text(_ key: String) -> String? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let scalar) = node.content else {
            return reject(key, node, accepted: "text")
        }
        return scalar.text
    }

    /// Text that may be secret: it is never shown.
    func secret(_ key: String) -> SecretString? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let scalar) = node.content else {
            return reject(key, node, accepted: "text", secret: true)
        }
        return SecretString(scalar.text)
    }

    /// A boolean; the words of YAML 1.1 (`yes`, `off`, …) are accepted, as Go's decoder does.
    func boolean(_ key: String) -> Bool? {
        guard let node = node(key) else { return nil }
        if case .scalar(let scalar) = node.content {
            switch (scalar.kind, scalar.text) {
            case (.boolean, _): return scalar.text.lowercased() == "true"
            case (.string, "y"), (.string, "Y"), (.string, "yes"), (.string, "Yes"), (.string, "YES"),
                (.string, "on"), (.string, "On"), (.string, "ON"):
                return true
            case (.string, "n"), (.string, "N"), (.string, "no"), (.string, "No"), (.string, "NO"),
                (.string, "off"), (.string, "Off"), (.string, "OFF"):
                return false
            default: break
            }
        }
        return reject(key, node, accepted: "true or false, without quotes,")
    }

    /// A whole number of `range`. `zero` is what a 0 outside the range means.
    func integer(_ key: String, in range: ClosedRange<Int>, zeroIsUnset: Bool = false) -> Int? {
        guard let node = node(key) else { return nil }
        let accepted = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        guard case .scalar(let scalar) = node.content, scalar.kind == .integer,
            let value = PlainScalar.integer(scalar.text)
        else { return reject(key, node, accepted: accepted) }
        if zeroIsUnset, value == 0 { return nil }
        guard range.contains(value) else { return reject(key, node, accepted: accepted) }
        return value
    }

    /// A list of texts. The items may be secret (arguments can be), so a bad one is named by its kind.
    func texts(_ key: String) -> [String] {
        guard let node = node(key) else { return [] }
        guard case .list(let items) = node.content else {
            return reject(key, node, accepted: "a list of texts", secret: true) ?? []
        }
        return items.enumerated().compactMap { index, item in
            guard case .scalar(let scalar) = item.content else {
                let found = FoundValue.description(of: item, secret: true)
                findings.error(
                    .invalidValue(found: found, accepted: "text"), at: item.position,
                    key: "\(path(of: key))[\(index)]")
                return nil
            }
            return scalar.text
        }
    }

    /// A map from names to texts. The values may be secret.
    func environment(_ key: String) -> EnvironmentVariables {
        guard let node = node(key) else { return EnvironmentVariables() }
        guard case .map(let map) = node.content else {
            return reject(key, node, accepted: "a map of names and texts", secret: true)
                ?? EnvironmentVariables()
        }
        var variables = EnvironmentVariables()
        for entry in map.entries {
            let entryPath = "\(path(of: key)).\(entry.key)"
            findings.note(entry.value.position, of: entryPath)
            guard Self.isVariableName(entry.key) else {
                findings.error(
                    .invalidValue(
                        found: "\(FoundValue.quoted(entry.key)) as a name",
                        accepted: "a name of letters, digits and underscores that does not start with a digit"
                    ),
                    at: entry.keyPosition, key: path(of: key))
                continue
            }
            switch entry.value.content {
            case .scalar(let scalar) where !scalar.text.utf8.contains(0):
                variables[entry.key] = scalar.text
            case .null: variables[entry.key] = ""
            default:
                let found = FoundValue.description(of: entry.value, secret: true)
                findings.error(
                    .invalidValue(found: found, accepted: "text"), at: entry.value.position, key: entryPath)
            }
        }
        return variables
    }

    /// One of the values of a type that are written as words; an empty text is absent.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String, of type: Choice.Type = Choice.self
    ) -> Choice? where Choice.RawValue == String {
        guard let node = node(key) else { return nil }
        if case .scalar(let scalar) = node.content {
            if scalar.text.isEmpty { return nil }
            if let choice = Choice(rawValue: scalar.text) { return choice }
        }
        return reject(key, node, accepted: Self.alternatives(Choice.allCases.map(\.rawValue)))
    }

    /// A text that `parse` understands; an empty text is absent.
    func parsed<Value>(_ key: String, accepted: String, by parse: (String) -> Value?) -> Value? {
        guard let node = node(key) else { return nil }
        if case .scalar(let scalar) = node.content {
            if scalar.text.isEmpty { return nil }
            if let value = parse(scalar.text) { return value }
        }
        return reject(key, node, accepted: accepted)
    }

    /// A list of texts that `parse` understands.
    func parsedList<Value>(_ key: String, accepted: String, by parse: (String) -> Value?) -> [Value] {
        guard let node = node(key) else { return [] }
        guard case .list(let items) = node.content else {
            return reject(key, node, accepted: "a list, each item \(accepted)") ?? []
        }
        return items.enumerated().compactMap { index, item in
            if case .scalar(let scalar) = item.content, let value = parse(scalar.text) { return value }
            findings.error(
                .invalidValue(found: FoundValue.description(of: item), accepted: accepted), at: item.position,
                key: "\(path(of: key))[\(index)]")
            return nil
        }
    }

    /// The map at `key`, to be read further.
    func map(_ key: String) -> MapReader? {
        guard let node = node(key) else { return nil }
        guard case .map(let map) = node.content else { return reject(key, node, accepted: "a map") }
        return MapReader(map, path: path(of: key), findings: findings)
    }

    /// The value of `key`, whatever it is.
    func raw(_ key: String) -> ConfigurationNode? {
        node(key)
    }

    // MARK: what was not read

    /// Warns about the keys that nobody asked for, each with the known key that is nearest, or with the
    /// answer that `hints` has for a slip that is common.
    func warnAboutUnknownKeys(hints: [String: String] = [:]) {
        for entry in map.entries where !known.contains(entry.key) {
            let nearest = hints[entry.key] ?? NearestName.of(entry.key, among: known).map(path(of:))
            findings.warning(.unknownKey(nearest: nearest), at: entry.keyPosition, key: path(of: entry.key))
        }
    }

    // MARK: -

    private func node(_ key: String) -> ConfigurationNode? {
        known.append(key)
        guard let entry = map[key] else { return nil }
        findings.note(entry.value.position, of: path(of: key))
        if case .null = entry.value.content { return nil }
        return entry.value
    }

    private func reject<Value>(
        _ key: String, _ node: ConfigurationNode, accepted: String, secret: Bool = false
    ) -> Value? {
        let found = FoundValue.description(of: node, secret: secret)
        findings.error(.invalidValue(found: found, accepted: accepted), at: node.position, key: path(of: key))
        return nil
    }

    static func alternatives(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }

    private static func isVariableName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }
}
