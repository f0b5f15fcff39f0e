internal import Ledger
internal import Yams

extension TokenDocument {
    /// The longest token that is looked at, in bytes.
    package static let maximumLength = 16 << 10

    /// Reads a token: base64 of YAML, as stock nodes do, except that a key given twice is an error.
    package init(token: some StringProtocol) throws(NetworkTokenError) {
        guard !token.utf8.allSatisfy({ $0 == 0x0A || $0 == 0x0D }) else { throw .empty }
        guard token.utf8.count <= Self.maximumLength else { throw .tooLong(bytes: token.utf8.count) }
        guard let bytes = Base64.decode(Array(token.utf8)) else { throw .notBase64 }
        guard let yaml = String(validating: bytes, as: Unicode.UTF8.self) else { throw .notYAML(line: nil) }
        try self.init(yaml: yaml)
    }

    /// Reads the YAML document of a token.
    package init(yaml: String) throws(NetworkTokenError) {
        self.init()
        guard yaml.utf8.count <= Self.maximumLength else { throw .tooLong(bytes: yaml.utf8.count) }
        guard Self.isShallow(yaml) else { throw .notYAML(line: nil) }
        guard let root = try Self.compose(yaml), !Self.isNull(root) else { return }
        let document = try Self.map(root, key: nil)
        if let otp = document["otp"], !Self.isNull(otp) {
            let passwords = try Self.map(otp, key: "otp")
            dht = try Self.password(passwords["dht"], key: "otp.dht")
            crypto = try Self.password(passwords["crypto"], key: "otp.crypto")
        }
        room = try Self.text(document["room"], key: "room")
        rendezvous = try Self.text(document["rendezvous"], key: "rendezvous")
        mdns = try Self.text(document["mdns"], key: "mdns")
        maximumMessageSize = try Self.integer(document["max_message_size"], key: "max_message_size")
    }

    /// Whether the text can be parsed without deep recursion or expansion: the parser recurses for
    /// every level, and copies what an alias names.
    private static func isShallow(_ yaml: String) -> Bool {
        var brackets = 0
        var dashes = 0
        var aliases = 0
        var previous: UInt8 = 0
        for byte in yaml.utf8 {
            switch byte {
            case UInt8(ascii: "["), UInt8(ascii: "{"): brackets += 1
            case UInt8(ascii: "*"): aliases += 1
            case UInt8(ascii: " ")
            where [UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":")].contains(previous):
                dashes += 1
            default: break
            }
            previous = byte
        }
        return brackets <= 32 && dashes <= 256 && aliases <= 8
    }

    /// The first document's root; nil when there is none.
    private static func compose(_ yaml: String) throws(NetworkTokenError) -> Node? {
        // libyaml knows a byte order mark only when it finds the encoding out by itself.
        let text = yaml.unicodeScalars.first == "\u{FEFF}" ? String(yaml.unicodeScalars.dropFirst()) : yaml
        do {
            return try Parser(yaml: text, encoding: .utf8).nextRoot()
        } catch YamlError.duplicatedKeysInMapping(let duplicates, _) {
            throw .duplicateKey(duplicates.first ?? "a key")
        } catch YamlError.scanner(_, _, let mark, _), YamlError.parser(_, _, let mark, _),
            YamlError.composer(_, _, let mark, _)
        {
            throw .notYAML(line: mark.line)
        } catch {
            throw .notYAML(line: nil)
        }
    }

    private static func isNull(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node else { return false }
        return scalar.style == .plain && YAMLScalar.isNull(scalar.string)
    }

    private static func map(_ node: Node, key: String?) throws(NetworkTokenError) -> [String: Node] {
        guard case .mapping(let mapping) = node else {
            if let key { throw .wrongType(key: key) }
            throw .notAMap
        }
        var map: [String: Node] = [:]
        for (name, value) in mapping {
            guard case .scalar(let name) = name else { continue }
            if name.string == "<<", name.style == .plain {
                for (inherited, value) in try self.map(value, key: key) where map[inherited] == nil {
                    map[inherited] = value
                }
            }
        }
        for (name, value) in mapping {
            guard case .scalar(let name) = name else { continue }
            map[name.string] = value
        }
        return map
    }

    private static func password(_ node: Node?, key: String) throws(NetworkTokenError) -> Password {
        guard let node, !isNull(node) else { return Password() }
        let fields = try map(node, key: key)
        return Password(
            interval: try integer(fields["interval"], key: key + ".interval"),
            key: try text(fields["key"], key: key + ".key"),
            length: try integer(fields["length"], key: key + ".length"))
    }

    private static func text(_ node: Node?, key: String) throws(NetworkTokenError) -> String {
        guard let node, !isNull(node) else { return "" }
        guard case .scalar(let scalar) = node else { throw .wrongType(key: key) }
        return scalar.string
    }

    private static func integer(_ node: Node?, key: String) throws(NetworkTokenError) -> Int64 {
        guard let node, !isNull(node) else { return 0 }
        guard case .scalar(let scalar) = node, scalar.style == .plain,
            let number = YAMLScalar.integer(scalar.string)
        else { throw .wrongType(key: key) }
        return number
    }
}
