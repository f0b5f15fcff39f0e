/// A value of a cloud-config with the place it came from, which it keeps through the merge.
package struct ConfigurationNode: Hashable, Sendable {
    /// The value itself.
    package indirect enum Content: Hashable, Sendable {
        case null
        case scalar(Scalar)
        case list([ConfigurationNode])
        case map(ConfigurationMap)
    }

    /// The value itself.
    package var content: Content
    /// Where it stands.
    package var position: SourcePosition

    package init(_ content: Content, at position: SourcePosition) {
        self.content = content
        self.position = position
    }

    /// A single value: its text as written, and the kind that YAML gives it.
    package struct Scalar: Hashable, Sendable {
        /// The kinds of single values, as Go's yaml.v3 tells them apart.
        package enum Kind: Hashable, Sendable {
            case string, boolean, integer, float

            /// The kind with its article: "a string".
            package var name: String {
                switch self {
                case .string: "a string"
                case .boolean: "a boolean"
                case .integer: "a whole number"
                case .float: "a decimal number"
                }
            }
        }

        /// The text, unquoted and unescaped.
        package let text: String
        /// The kind.
        package let kind: Kind

        package init(_ text: String, _ kind: Kind) {
            self.text = text
            self.kind = kind
        }
    }

    /// The kind with its article: "a map".
    package var kindName: String {
        switch content {
        case .null: "nothing (null)"
        case .scalar(let scalar): scalar.kind.name
        case .list: "a list"
        case .map: "a map"
        }
    }

    /// The map, when the value is one.
    package var map: ConfigurationMap? {
        if case .map(let map) = content { map } else { nil }
    }
}

/// A map of a cloud-config: its keys in the order in which they were first written.
package struct ConfigurationMap: Hashable, Sendable {
    /// A key, the place of the key, and its value.
    package struct Entry: Hashable, Sendable {
        package let key: String
        package var keyPosition: SourcePosition
        package var value: ConfigurationNode

        package init(key: String, keyPosition: SourcePosition, value: ConfigurationNode) {
            self.key = key
            self.keyPosition = keyPosition
            self.value = value
        }
    }

    /// The entries, in order; every key once.
    package private(set) var entries: [Entry] = []
    private var places: [String: Int] = [:]

    package init() {}

    /// The entry of `key`.
    package subscript(_ key: String) -> Entry? {
        places[key].map { entries[$0] }
    }

    /// Adds `entry`, or puts it in the place of the one that has its key.
    package mutating func set(_ entry: Entry) {
        if let place = places[entry.key] {
            entries[place] = entry
        } else {
            places[entry.key] = entries.count
            entries.append(entry)
        }
    }
}
