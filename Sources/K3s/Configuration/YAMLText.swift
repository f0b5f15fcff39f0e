/// Strings as YAML's double-quoted scalars.
///
/// K3s turns an unquoted `0644` into 420 and `on` into true (contract/k3s.md §1.2), so every string
/// is quoted, and everything YAML does not call printable is escaped. Yams writes plain scalars
/// where it thinks them safe by YAML 1.2, which is not what K3s' parser thinks; hence this writer.
enum YAMLText {
    /// `text` between double quotes, readable by every YAML 1.1 and 1.2 parser.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if isPrintable(scalar) {
                    result.unicodeScalars.append(scalar)
                } else {
                    result += escape(scalar)
                }
            }
        }
        return result + "\""
    }

    /// The printable characters of YAML 1.2 §5.1 without line separators and the byte order mark,
    /// which parsers treat differently.
    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20...0x7E, 0xA0...0x2027, 0x202A...0xD7FF, 0xE000...0xFEFE, 0xFF00...0xFFFD,
            0x10000...0x10FFFF:
            true
        default: false
        }
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        let width = scalar.value <= 0xFF ? 2 : scalar.value <= 0xFFFF ? 4 : 8
        let letter = width == 2 ? "x" : width == 4 ? "u" : "U"
        return "\\" + letter + String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
