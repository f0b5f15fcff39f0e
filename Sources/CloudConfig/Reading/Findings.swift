/// Collects what the reading of one configuration turns up, so that all of it is told at once.
final class Findings {
    /// Beyond this number more problems help nobody.
    static let limit = 100

    private(set) var errors: [ConfigurationProblem] = []
    private(set) var warnings: [ConfigurationProblem] = []
    /// Where each value that was read stands, by key path.
    private(set) var positions: [String: SourcePosition] = [:]

    func error(_ kind: ConfigurationProblem.Kind, at position: SourcePosition?, key: String?) {
        if errors.count < Self.limit {
            errors.append(ConfigurationProblem(kind, at: position, key: key))
        }
    }

    func warning(_ kind: ConfigurationProblem.Kind, at position: SourcePosition?, key: String?) {
        if warnings.count < Self.limit {
            warnings.append(ConfigurationProblem(kind, at: position, key: key))
        }
    }

    func note(_ position: SourcePosition, of key: String) {
        positions[key] = position
    }
}
