/// An environment file as systemd's `EnvironmentFile=` reads it, written so that every value comes
/// back exactly.
///
/// Between double quotes systemd takes a backslash away only before `"`, `\`, `` ` ``, `$` and a
/// newline (systemd.exec(5), shell rules without expansion); `!` is an ordinary character there, and
/// escaping it, as Kairos' writer does, corrupts the value (contract/kairos.md §3.2).
package struct EnvironmentFile: Hashable, Sendable {
    /// The variables by name.
    package let variables: [String: String]

    /// The longest value that the kernel passes to a program, in bytes with its name.
    private static let longest = 128 * 1024 - 2

    /// No variables.
    package static let none = EnvironmentFile(unchecked: [:])

    private init(unchecked variables: [String: String]) {
        self.variables = variables
    }

    /// Takes `variables` after checking that they reach the program unchanged.
    ///
    /// - Throws: `K3sConfigurationError.variableNameInvalid`, `.variableValueInvalid`.
    package init(_ variables: [String: String]) throws(K3sConfigurationError) {
        for (name, value) in variables {
            guard Self.isName(name) else { throw .variableNameInvalid(name) }
            let clean = value.unicodeScalars.allSatisfy { scalar in
                scalar == "\t" || scalar == "\n" || (scalar.value >= 0x20 && scalar.value != 0x7F)
            }
            guard clean, name.utf8.count + value.utf8.count < Self.longest else {
                throw .variableValueInvalid(name: name)
            }
        }
        self.variables = variables
    }

    /// The text of the file, sorted by name.
    package func rendered() -> String {
        var text = "# Written by kairos-agent from the cloud-config. Changes made here are overwritten.\n"
        for (name, value) in variables.sorted(by: { $0.key < $1.key }) {
            text += name + "=\""
            for character in value.unicodeScalars {
                if "\"\\`$".unicodeScalars.contains(character) { text += "\\" }
                text.unicodeScalars.append(character)
            }
            text += "\"\n"
        }
        return text
    }

    /// Whether `name` is made of letters, digits and underscores and begins with none of the digits.
    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            byte == UInt8(ascii: "_") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        }
    }
}
