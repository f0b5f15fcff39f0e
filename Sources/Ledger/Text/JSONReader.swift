/// A cursor over a JSON text that reads as Go's `encoding/json` does: exact 64-bit integers, bad
/// UTF-8 and lone surrogates as U+FFFD, field names in any letter case.
///
/// A general decoder would go through floating point, choke on bad UTF-8 or build a tree before a
/// limit could be applied; this one reads only what its caller asks for and nests at most
/// `maximumDepth` levels.
package struct JSONReader {
    /// The types of JSON values.
    package enum Kind: Hashable, Sendable {
        case object, array, string, number, boolean, null
    }

    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0
    private let maximumDepth: Int

    /// Makes a reader at the start of `bytes`.
    package init(_ bytes: [UInt8], maximumDepth: Int = 64) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    /// The bytes read so far.
    package var offset: Int { position }

    /// The type of the next value, judged by its first character.
    package mutating func peek() throws(JSONError) -> Kind {
        skipWhitespace()
        guard position < bytes.count else { throw .syntax(offset: position) }
        switch bytes[position] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw .syntax(offset: position)
        }
    }

    /// Checks that nothing but white space follows the value just read.
    package mutating func finish() throws(JSONError) {
        skipWhitespace()
        guard position == bytes.count else { throw .syntax(offset: position) }
    }

    /// Reads an object, calling `field` with each name; `field` must read exactly one value.
    package mutating func readObject(
        _ field: (inout JSONReader, LedgerText) throws(JSONError) -> Void
    ) throws(JSONError) {
        try open(UInt8(ascii: "{"), kind: .object)
        if take(UInt8(ascii: "}")) { return close() }
        repeat {
            guard try peek() == .string else { throw .syntax(offset: position) }
            let name = try readText()
            guard take(UInt8(ascii: ":")) else { throw .syntax(offset: position) }
            try field(&self, name)
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw .syntax(offset: position) }
        close()
    }

    /// Reads a list, calling `element` before each value; `element` must read exactly one value.
    package mutating func readArray(_ element: (inout JSONReader) throws(JSONError) -> Void) throws(JSONError)
    {
        try open(UInt8(ascii: "["), kind: .array)
        if take(UInt8(ascii: "]")) { return close() }
        repeat { try element(&self) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw .syntax(offset: position) }
        close()
    }

    /// Reads a string.
    package mutating func readText() throws(JSONError) -> LedgerText {
        guard try peek() == .string else { throw .wrongType(offset: position) }
        return LedgerText(String(decoding: try readStringBytes(), as: Unicode.UTF8.self))
    }

    /// Reads a whole number of 64 bits with a sign: digits only, no fraction and no exponent.
    package mutating func readInt64() throws(JSONError) -> Int64 {
        guard try peek() == .number else { throw .wrongType(offset: position) }
        let start = position
        guard let value = Int64(try readNumberToken()) else { throw .numberOutOfRange(offset: start) }
        return value
    }

    /// Reads a whole number of 64 bits without a sign: digits only.
    package mutating func readUInt64() throws(JSONError) -> UInt64 {
        guard try peek() == .number else { throw .wrongType(offset: position) }
        let start = position
        let token = try readNumberToken()
        guard !token.hasPrefix("-"), let value = UInt64(token) else { throw .numberOutOfRange(offset: start) }
        return value
    }

    /// Reads `true` or `false`.
    package mutating func readBoolean() throws(JSONError) -> Bool {
        guard try peek() == .boolean else { throw .wrongType(offset: position) }
        if bytes[position] == UInt8(ascii: "t") {
            try expect("true")
            return true
        }
        try expect("false")
        return false
    }

    /// Reads `null` when it is next and says whether it was.
    package mutating func readNull() throws(JSONError) -> Bool {
        guard try peek() == .null else { return false }
        try expect("null")
        return true
    }

    /// Reads and checks one value of any type, and forgets it.
    package mutating func skipValue() throws(JSONError) {
        switch try peek() {
        case .object: try readObject { (reader, _) throws(JSONError) in try reader.skipValue() }
        case .array: try readArray { (reader) throws(JSONError) in try reader.skipValue() }
        case .string: _ = try readStringBytes()
        case .number: _ = try readNumberToken()
        case .boolean: _ = try readBoolean()
        case .null: try expect("null")
        }
    }

    // MARK: tokens

    private mutating func open(_ bracket: UInt8, kind: Kind) throws(JSONError) {
        guard try peek() == kind else { throw .wrongType(offset: position) }
        depth += 1
        guard depth <= maximumDepth else { throw .tooDeep(offset: position) }
        position += 1
    }

    private mutating func close() {
        depth -= 1
    }

    /// Steps over `character` when it is the next one that is not white space.
    private mutating func take(_ character: UInt8) -> Bool {
        skipWhitespace()
        guard position < bytes.count, bytes[position] == character else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ literal: StaticString) throws(JSONError) {
        let count = literal.utf8CodeUnitCount
        guard bytes.count - position >= count else { throw .syntax(offset: position) }
        let matches = literal.withUTF8Buffer { $0.elementsEqual(bytes[position..<position + count]) }
        guard matches else { throw .syntax(offset: position) }
        position += count
    }

    private mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    /// Reads a number by JSON's grammar and returns its text.
    private mutating func readNumberToken() throws(JSONError) -> String {
        let start = position
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        if position < bytes.count, bytes[position] == UInt8(ascii: "0") {
            position += 1
        } else {
            try readDigits()
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            try readDigits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count,
                bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-")
            {
                position += 1
            }
            try readDigits()
        }
        return String(decoding: bytes[start..<position], as: Unicode.UTF8.self)
    }

    private mutating func readDigits() throws(JSONError) {
        let start = position
        while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) {
            position += 1
        }
        guard position > start else { throw .syntax(offset: position) }
    }

    /// Reads a string with its quotes and returns valid UTF-8.
    private mutating func readStringBytes() throws(JSONError) -> [UInt8] {
        position += 1
        var text: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return text
            case UInt8(ascii: "\\"):
                try readEscape(into: &text)
            case 0..<0x20:
                throw .syntax(offset: position)
            case 0x20..<0x80:
                text.append(byte)
                position += 1
            default:
                let length = UTF8Repair.sequenceLength(bytes, at: position)
                if length == 0 {
                    text.append(contentsOf: [0xEF, 0xBF, 0xBD])
                    position += 1
                } else {
                    text.append(contentsOf: bytes[position..<position + length])
                    position += length
                }
            }
        }
        throw .syntax(offset: position)
    }

    private mutating func readEscape(into text: inout [UInt8]) throws(JSONError) {
        guard bytes.count - position >= 2 else { throw .syntax(offset: bytes.count) }
        let letter = bytes[position + 1]
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            let unit = try readUnicodeEscape()
            text.append(contentsOf: String(try scalar(startingWith: unit)).utf8)
            return
        default: throw .syntax(offset: position)
        }
        position += 2
    }

    /// The scalar of a `\u` escape that was just read, joined with the low surrogate after it.
    private mutating func scalar(startingWith unit: UInt32) throws(JSONError) -> Unicode.Scalar {
        let replacement: Unicode.Scalar = "\u{FFFD}"
        guard (0xD800...0xDFFF).contains(unit) else { return Unicode.Scalar(unit) ?? replacement }
        guard unit < 0xDC00, bytes.count - position >= 2, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        else { return replacement }
        let before = position
        let low = try readUnicodeEscape()
        guard (0xDC00...0xDFFF).contains(low) else {
            // The second escape is a character of its own: it is read again.
            position = before
            return replacement
        }
        return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)) ?? replacement
    }

    private mutating func readUnicodeEscape() throws(JSONError) -> UInt32 {
        guard bytes.count - position >= 6 else { throw .syntax(offset: bytes.count) }
        var unit: UInt32 = 0
        for byte in bytes[position + 2..<position + 6] {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): unit = unit << 4 | UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"):
                unit = unit << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"):
                unit = unit << 4 | UInt32(byte - UInt8(ascii: "A") + 10)
            default: throw .syntax(offset: position)
            }
        }
        position += 6
        return unit
    }
}

extension LedgerText {
    /// Whether the text names the JSON field `name` for Go: letter case is ignored, and the two
    /// letters that Unicode folds to ASCII (long s, kelvin sign) count as theirs. `name` is ASCII.
    package func namesField(_ name: StaticString) -> Bool {
        var folded: [UInt8] = []
        for scalar in string.unicodeScalars {
            switch scalar.value {
            case 0x17F: folded.append(UInt8(ascii: "s"))
            case 0x212A: folded.append(UInt8(ascii: "k"))
            case 0x41...0x5A: folded.append(UInt8(scalar.value) | 0x20)
            case 0..<0x80: folded.append(UInt8(scalar.value))
            default: return false
            }
            if folded.count > name.utf8CodeUnitCount { return false }
        }
        return name.withUTF8Buffer { expected in
            folded.elementsEqual(expected) { $0 == ((0x41...0x5A).contains($1) ? $1 | 0x20 : $1) }
        }
    }
}
