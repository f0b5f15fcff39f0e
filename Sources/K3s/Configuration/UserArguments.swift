/// The arguments a user gives K3s (`k3s.args`), taken apart far enough to know which keys they set.
///
/// Kairos joins the list with spaces into the unit's command line, so an item such as
/// `--node-label a=b` has always been two words there; items are split as systemd splits them, at
/// white space outside quotes. `$` and `%` stand for themselves.
package struct UserArguments: Hashable, Sendable {
    /// One setting among the arguments.
    package struct Setting: Hashable, Sendable {
        /// The flag as written, without dashes.
        package let name: String
        /// The key it names, when K3s has such a flag.
        package let key: ConfigKey?
        /// Its value, when it has one.
        package let value: String?
    }

    /// The words, as K3s receives them.
    package let words: [String]
    /// The settings among them, in their order.
    package let settings: [Setting]

    /// Takes the items of `k3s.args`.
    ///
    /// - Throws: `K3sConfigurationError.argumentInvalid` when one holds a zero byte.
    package init(_ items: [String]) throws(K3sConfigurationError) {
        var words: [String] = []
        for item in items {
            if item.utf8.contains(0) { throw .argumentInvalid(item.replacingZeroBytes()) }
            words += Self.split(item) ?? [item]
        }
        self.words = words
        self.settings = Self.settings(in: words)
    }

    /// Whether the arguments set the key called `name`.
    package func sets(_ name: String) -> Bool {
        settings.contains { $0.key?.name == name }
    }

    /// The last value given to the key called `name`: the one that counts for a scalar.
    package func value(of name: String) -> String? {
        settings.last { $0.key?.name == name }?.value
    }

    /// Every value given to the list key called `name`.
    package func values(of name: String) -> [String] {
        settings.filter { $0.key?.name == name }.compactMap(\.value)
    }

    /// The words of a whole command line; the line itself where a quote is not closed.
    static func words(of line: String) -> [String] { split(line) ?? [SecretMask.mask] }

    /// `item` at its white space, with quotes removed; nil when a quote is not closed, in which case
    /// the item is one word.
    private static func split(_ item: String) -> [String]? {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var escaped = false
        for character in item {
            if escaped {
                escaped = false
                // A backslash protects what could end or begin a quote; before anything else, such as
                // in a regular expression, it stays.
                if !"\"'\\ \t".contains(character) { word = (word ?? "") + "\\" }
                word = (word ?? "") + String(character)
            } else if character == "\\" {
                escaped = true
            } else if let open = quote {
                if character == open { quote = nil } else { word?.append(character) }
            } else if (character == "\"" || character == "'") && word.map({ $0.hasSuffix("=") }) ?? true {
                quote = character
                word = word ?? ""
            } else if character.isWhitespace {
                if let complete = word { words.append(complete) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        if quote != nil || escaped { return nil }
        if let complete = word { words.append(complete) }
        return words
    }

    /// The flags among `words`, as K3s' flag library finds them: one or two dashes, the value behind
    /// `=` or in the next word, except for a flag that is a switch.
    private static func settings(in words: [String]) -> [Setting] {
        var settings: [Setting] = []
        var index = words.startIndex
        while index < words.endIndex {
            let word = words[index]
            index += 1
            guard word.hasPrefix("-"), word != "-", word != "--" else { continue }
            let bare = word.drop { $0 == "-" }
            if let equals = bare.firstIndex(of: "=") {
                let name = String(bare[..<equals])
                let value = String(bare[bare.index(after: equals)...])
                settings.append(Setting(name: name, key: ConfigKey.named(name), value: value))
                continue
            }
            let name = String(bare)
            let key = ConfigKey.named(name)
            if key?.kind == .bool {
                settings.append(Setting(name: name, key: key, value: "true"))
            } else if index < words.endIndex, key != nil || !words[index].hasPrefix("-") {
                settings.append(Setting(name: name, key: key, value: words[index]))
                index += 1
            } else {
                settings.append(Setting(name: name, key: key, value: nil))
            }
        }
        return settings
    }
}

extension String {
    /// The text with zero bytes shown, for a message.
    fileprivate func replacingZeroBytes() -> String {
        var text = ""
        for scalar in unicodeScalars { text += scalar.value == 0 ? "\\0" : String(Character(scalar)) }
        return text
    }
}
