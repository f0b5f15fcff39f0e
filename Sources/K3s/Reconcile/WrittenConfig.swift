internal import Yams

/// A config file as it was read back: what an earlier run of this agent wrote.
package struct WrittenConfig: Sendable {
    /// The values, by key without `+`.
    private let values: [String: ConfigValue]

    /// Reads `content`; a file that is no mapping has no values.
    package init(_ content: String) {
        var values: [String: ConfigValue] = [:]
        if let mapping = (try? Yams.compose(yaml: content))?.mapping {
            for (key, node) in mapping {
                guard let written = key.scalar?.string else { continue }
                let name = written.hasSuffix("+") ? String(written.dropLast()) : written
                if let sequence = node.sequence {
                    values[name] = .list(sequence.compactMap { $0.scalar?.string })
                } else if let scalar = node.scalar {
                    values[name] = .string(scalar.string)
                }
            }
        }
        self.values = values
    }

    /// The names of the keys.
    package var names: Set<String> { Set(values.keys) }

    /// The text of a scalar.
    package func string(_ name: String) -> String? {
        if case .string(let text)? = values[name] { text } else { nil }
    }

    /// The items of a list.
    package func list(_ name: String) -> [String]? {
        if case .list(let items)? = values[name] { items } else { nil }
    }

    /// The name the node went by when the file was written, for `NodeName(previous:…)`.
    package var nodeName: String? { string("node-name") }

    /// The value.
    func value(_ name: String) -> ConfigValue? { values[name] }
}
