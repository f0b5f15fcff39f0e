/// Hides what may be secret from logs: where it is not known that a value is none, it is one.
package enum SecretMask {
    /// What stands for a secret.
    package static let mask = "***"

    /// Words by which names of secrets are known.
    private static let telltales = [
        "token", "password", "passwd", "secret", "key", "credential", "auth", "passphrase", "private",
    ]

    /// Whether a setting called `name` holds a secret, by its name.
    package static func isSecret(named name: String) -> Bool {
        let lower = name.lowercased()
        return telltales.contains(where: lower.contains)
    }

    /// A config key's value: a key that is not known may be anything.
    static func value(_ value: ConfigValue, of key: ConfigKey?) -> String {
        guard let key else { return mask }
        if key.name == "datastore-endpoint", case .string(let endpoint) = value {
            return YAMLText.quoted(dataSource(endpoint))
        }
        if key.isSecret { return mask }
        if case .list(let items) = value {
            return ConfigValue.list(items.map { item(of: key.name, $0) }).summary
        }
        return value.summary
    }

    /// A variable's value. Which of the user's variables are secret is not ours to guess: only those
    /// that K3s names, and the proxies', are known.
    static func variable(_ name: String, _ value: String) -> String {
        if let key = ConfigKey.read(fromVariable: name) {
            if key.name == "datastore-endpoint" { return dataSource(value) }
            return key.isSecret ? mask : value
        }
        let proxies = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"]
        return proxies.contains(name.lowercased()) ? dataSource(value) : mask
    }

    /// Words of a command line, the program first.
    static func commandLine(_ words: [String]) -> [String] {
        var shown: [String] = []
        var pending: ConfigKey?
        for (index, word) in words.enumerated() {
            if let key = pending {
                shown.append(argument(of: key, word))
                pending = nil
            } else if word.hasPrefix("-") {
                let bare = word.drop { $0 == "-" }
                let dashes = word.prefix(word.count - bare.count)
                guard let equals = bare.firstIndex(of: "=") else {
                    shown.append(word)
                    if let key = ConfigKey.named(String(bare)), key.kind != .bool { pending = key }
                    continue
                }
                let name = bare[..<equals]
                let value = String(bare[bare.index(after: equals)...])
                let masked = ConfigKey.named(String(name)).map { argument(of: $0, value) } ?? mask
                shown.append("\(dashes)\(name)=\(masked)")
            } else {
                // The program and its command; what else stands alone is the value of a flag unknown here.
                shown.append(index < 2 ? word : mask)
            }
        }
        return shown
    }

    /// Arguments of K3s, without the program and its command.
    package static func arguments(_ words: [String]) -> [String] {
        Array(commandLine(["", ""] + words).dropFirst(2))
    }

    private static func argument(of key: ConfigKey, _ value: String) -> String {
        if key.name == "datastore-endpoint" { return dataSource(value) }
        return key.isSecret ? mask : item(of: key.name, value)
    }

    /// One item of a list: `kube-apiserver-arg` and its like carry arguments of their own.
    private static func item(of key: String, _ item: String) -> String {
        guard key.hasSuffix("-arg"), let equals = item.firstIndex(of: "=") else { return item }
        return isSecret(named: String(item[..<equals])) ? String(item[...equals]) + mask : item
    }

    /// A database's address without its password: `user:***@host`. Behind a question mark anything can
    /// stand, a password too.
    package static func dataSource(_ text: String) -> String {
        var shown = Substring(text)
        var rest = ""
        if let question = text.firstIndex(of: "?") {
            shown = text[..<question]
            rest = "?" + mask
        }
        // The last @, since a password may hold one.
        guard let at = shown.lastIndex(of: "@") else { return String(shown) + rest }
        var start = shown.startIndex
        var before = shown[..<at]
        if let scheme = before.firstIndex(of: ":"), before[scheme...].hasPrefix("://") {
            start = before.index(scheme, offsetBy: 3)
            before = before[start...]
        }
        guard let colon = before.firstIndex(of: ":") else {
            // A user without a password, or a token in its place.
            return String(shown[..<start]) + mask + String(shown[at...]) + rest
        }
        return String(shown[...colon]) + mask + String(shown[at...]) + rest
    }
}
