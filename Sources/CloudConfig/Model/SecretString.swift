/// Text that must not reach a log, an error or a debugger's print: a token, a password, a connection string.
package struct SecretString: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// The text. The name is there to be found when reading code: whoever uses it shows a secret.
    package let revealed: String

    package init(_ text: String) {
        revealed = text
    }

    /// Whether there is no text.
    package var isEmpty: Bool { revealed.isEmpty }

    package var description: String { revealed.isEmpty ? "(empty)" : "(secret)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Environment variables of a service. Their values may be secret, so only the names are ever shown.
package struct EnvironmentVariables: Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible, CustomReflectable
{
    private var values: [String: String] = [:]

    package init() {}

    /// The value of the variable `name`; nil when it is not set.
    package subscript(_ name: String) -> String? {
        get { values[name] }
        set { values[name] = newValue }
    }

    /// Whether no variable is set.
    package var isEmpty: Bool { values.isEmpty }
    /// The names, sorted.
    package var names: [String] { values.keys.sorted() }
    /// The variables by name.
    package var revealed: [String: String] { values }

    package var description: String { "(variables \(names.joined(separator: ", ")))" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
