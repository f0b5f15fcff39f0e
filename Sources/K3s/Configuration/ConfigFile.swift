/// The settings this agent gives K3s: the content of one file under `config.yaml.d`, in which a key
/// that the command does not know cannot be written (contract/k3s.md §1.4).
package struct ConfigFile: Hashable, Sendable {
    /// One line of the file.
    package struct Entry: Hashable, Sendable {
        /// What is set.
        package let key: ConfigKey
        /// Its value.
        package let value: ConfigValue
        /// Whether the value is appended to what earlier files gave (`key+`), instead of replacing it.
        package let appends: Bool

        /// The key as it is written, with its `+`.
        package var writtenKey: String { appends ? key.name + "+" : key.name }
    }

    /// The command that reads the file.
    package let command: K3sCommand
    /// The settings, in the order they were given.
    package private(set) var entries: [Entry] = []

    /// An empty file for `command`.
    package init(command: K3sCommand) {
        self.command = command
    }

    /// Gives `name` the value, in place of an earlier one.
    ///
    /// - Throws: `K3sConfigurationError.keyUnknown` when the command does not know the key, and
    ///   `.valueUnsuitable` when K3s takes another kind of value for it.
    package mutating func set(_ name: String, to value: ConfigValue, appending: Bool = false)
        throws(K3sConfigurationError)
    {
        guard let key = ConfigKey.named(name), key.name == name, key.commands.contains(command) else {
            throw .keyUnknown(name: name, command: command)
        }
        guard value.suits(key.kind) else { throw .valueUnsuitable(name: name) }
        entries.removeAll { $0.key == key }
        entries.append(Entry(key: key, value: value, appends: appending))
    }

    /// Leaves `name` to others.
    package mutating func remove(_ name: String) {
        entries.removeAll { $0.key.name == name }
    }

    /// The value given to `name`.
    package subscript(name: String) -> ConfigValue? {
        entries.first { $0.key.name == name }?.value
    }

    /// The text of the file: YAML, one key a line, every string quoted.
    package func rendered() -> String {
        var text = """
            # Written by kairos-agent for `k3s \(command.rawValue)`. Changes made here are overwritten:
            # use k3s.args in the cloud-config, or a file of your own in this folder.

            """
        for entry in entries {
            text += entry.writtenKey + ":"
            switch entry.value {
            case .string(let string): text += " " + YAMLText.quoted(string) + "\n"
            case .int(let number): text += " \(number)\n"
            case .bool(let flag): text += " \(flag)\n"
            case .list(let items) where items.isEmpty: text += " []\n"
            case .list(let items):
                text += "\n"
                for item in items { text += "  - " + YAMLText.quoted(item) + "\n" }
            }
        }
        return text
    }
}
