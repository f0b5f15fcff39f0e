/// The value of one key of a config file.
package enum ConfigValue: Hashable, Sendable {
    case string(String)
    case int(Int)
    case bool(Bool)
    case list([String])

    /// Whether K3s takes this value for a key of `kind`.
    package func suits(_ kind: ConfigKey.Kind) -> Bool {
        switch (self, kind) {
        case (.string, .string), (.string, .duration), (.int, .int), (.bool, .bool), (.list, .list): true
        default: false
        }
    }

    /// The value as a reader sees it in an announcement: `"10.1.0.2"`, `true`, `["a", "b"]`.
    package var summary: String {
        switch self {
        case .string(let text): YAMLText.quoted(text)
        case .int(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .list(let items): "[" + items.map(YAMLText.quoted).joined(separator: ", ") + "]"
        }
    }
}
