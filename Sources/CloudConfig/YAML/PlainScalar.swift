/// The kinds of values without quotes, as Go's yaml.v3 resolves them.
enum PlainScalar {
    /// `text` with the kind that it has.
    static func content(of text: String) -> ConfigurationNode.Content {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "false", "False", "FALSE": return .scalar(.init(text, .boolean))
        default: break
        }
        if isInteger(text) { return .scalar(.init(text, .integer)) }
        return .scalar(.init(text, isFloat(text) ? .float : .string))
    }

    /// The whole number that `text` spells: decimal, `0x`, `0o`, `0b`, or octal after a leading zero, with
    /// single underscores between digits. Nil when it is none or leaves the range of `Int`.
    static func integer(_ text: String) -> Int? {
        guard let (negative, digits, radix) = parts(of: text) else { return nil }
        return Int((negative ? "-" : "") + digits, radix: radix)
    }

    /// Whether `text` is a whole number of any size.
    static func isInteger(_ text: String) -> Bool {
        parts(of: text) != nil
    }

    private static func parts(of text: String) -> (negative: Bool, digits: String, radix: Int)? {
        guard text.utf8.count <= 128 else { return nil }
        var rest = Substring(text)
        let negative = rest.first == "-"
        if negative || rest.first == "+" { rest = rest.dropFirst() }
        var radix = 10
        for (prefix, base) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)]
        where rest.hasPrefix(prefix) {
            radix = base
            rest = rest.dropFirst(2)
            break
        }
        if radix == 10, rest.hasPrefix("0"), rest.utf8.count > 1 {
            radix = 8
            rest = rest.dropFirst()
        }
        if rest.hasPrefix("_") || rest.hasSuffix("_") || rest.contains("__") { return nil }
        let digits = rest.filter { $0 != "_" }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ isDigit($0, radix: radix) }) else { return nil }
        return (negative, String(digits), radix)
    }

    private static func isDigit(_ byte: UInt8, radix: Int) -> Bool {
        let value: UInt8 =
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
            default: 255
            }
        return Int(value) < radix
    }

    /// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, or an infinity or not-a-number of YAML.
    private static func isFloat(_ text: String) -> Bool {
        let special = [".inf", ".Inf", ".INF"]
        if special.contains(text) || special.contains(where: { text == "+" + $0 || text == "-" + $0 }) {
            return true
        }
        if [".nan", ".NaN", ".NAN"].contains(text) { return true }
        var rest = Substring(text).utf8
        func skipSign() {
            if let first = rest.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
                rest = rest.dropFirst()
            }
        }
        func skipDigits() -> Int {
            let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
            rest = rest.dropFirst(digits)
            return digits
        }
        skipSign()
        var digits = skipDigits()
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            digits += skipDigits()
        }
        guard digits > 0 else { return false }
        if let first = rest.first, first == UInt8(ascii: "e") || first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            skipSign()
            guard skipDigits() > 0 else { return false }
        }
        return rest.isEmpty
    }
}
