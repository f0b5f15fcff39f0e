/// Scalars by the rules of gopkg.in/yaml.v2, which writes and reads tokens in stock nodes: YAML 1.1.
enum YAMLScalar {
    /// Whether a plain scalar stands for null.
    static func isNull(_ text: String) -> Bool {
        ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// The whole number that a plain scalar stands for: decimal, 0x, 0b, 0o or octal by a leading 0,
    /// underscores ignored; an exponent is fine, a fraction is cut off. Nil otherwise.
    static func integer(_ text: String) -> Int64? {
        let plain = text.filter { $0 != "_" }
        var digits = Substring(plain)
        var sign = ""
        if let first = digits.first, first == "+" || first == "-" {
            sign = first == "-" ? "-" : ""
            digits = digits.dropFirst()
        }
        guard let first = digits.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-") else {
            return nil
        }
        let lower = digits.lowercased()
        for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] where lower.hasPrefix(prefix) {
            return Int64(sign + lower.dropFirst(2), radix: radix)
        }
        if lower.count > 1, lower.hasPrefix("0"), let octal = Int64(sign + lower.dropFirst(), radix: 8) {
            return octal
        }
        if let number = Int64(sign + digits) { return number }
        guard lower.utf8.allSatisfy({ "0123456789.e+-".utf8.contains($0) }), let number = Double(sign + lower)
        else {
            return nil
        }
        return Int64(exactly: number.rounded(.towardZero))
    }

    /// `text` as a scalar that reads back as the same string: plain when it can be, in double quotes
    /// when it would be taken for another type or holds characters that need escapes, else in single
    /// quotes.
    static func emit(_ text: String) -> String {
        if text.isEmpty || looksLikeAnotherType(text) || text.unicodeScalars.contains(where: needsEscape) {
            return doubleQuoted(text)
        }
        guard canBePlain(text) else {
            return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''")
                + "'"
        }
        return text
    }

    private static func looksLikeAnotherType(_ text: String) -> Bool {
        if isNull(text) || integer(text) != nil { return true }
        if ["y", "n", "yes", "no", "on", "off", "true", "false"].contains(text.lowercased()) { return true }
        if [".nan", ".inf", "-.inf", "+.inf", "<<", "="].contains(text.lowercased()) { return true }
        guard let first = text.unicodeScalars.first, "0123456789.+-".unicodeScalars.contains(first) else {
            return false
        }
        return Double(text.filter { $0 != "_" }) != nil || isTimestamp(text) || isBase60(text)
    }

    /// Texts such as 2026-01-01, which YAML 1.1 takes for dates.
    private static func isTimestamp(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        return parts.count == 3 && parts[0].count == 4 && parts.prefix(2).allSatisfy { Int($0) != nil }
            && parts[2].first?.isNumber == true
    }

    /// Texts such as 6:00, which YAML 1.1 takes for numbers to the base 60.
    private static func isBase60(_ text: String) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count > 1 && parts.allSatisfy { $0.utf8.allSatisfy { "0123456789_.".utf8.contains($0) } }
    }

    private static func needsEscape(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029, 0xFEFF, 0x10000...: true
        default: false
        }
    }

    private static func doubleQuoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\t": quoted += "\\t"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            default:
                if !needsEscape(scalar) {
                    quoted.unicodeScalars.append(scalar)
                } else if scalar.value > 0xFFFF {
                    quoted += "\\U" + padded(scalar.value, 8)
                } else if scalar.value > 0xFF {
                    quoted += "\\u" + padded(scalar.value, 4)
                } else {
                    quoted += "\\x" + padded(scalar.value, 2)
                }
            }
        }
        return quoted + "\""
    }

    private static func padded(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    private static func canBePlain(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, let last = bytes.last else { return false }
        if first == UInt8(ascii: " ") || last == UInt8(ascii: " ") || last == UInt8(ascii: ":") {
            return false
        }
        if "#,[]{}&*!|>'\"%@`".utf8.contains(first) { return false }
        if "-?:".utf8.contains(first), bytes.count == 1 || bytes[1] == UInt8(ascii: " ") { return false }
        for (left, right) in zip(bytes, bytes.dropFirst()) {
            if left == UInt8(ascii: ":"), right == UInt8(ascii: " ") { return false }
            if left == UInt8(ascii: " "), right == UInt8(ascii: "#") { return false }
        }
        return !text.hasPrefix("---") && !text.hasPrefix("...")
    }
}
