/// Writes JSON byte for byte as Go's `encoding/json` does (contract/wire.md J.6): no white space,
/// `<`, `>`, `&`, U+2028 and U+2029 escaped, bad UTF-8 as the escape of U+FFFD.
package struct JSONWriter {
    /// What was written so far.
    package private(set) var bytes: [UInt8] = []

    /// Makes a writer with nothing written.
    package init() {}

    /// Appends characters that need no escaping, such as punctuation and field names.
    package mutating func raw(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    /// Appends a whole number.
    package mutating func number(_ value: some FixedWidthInteger) {
        bytes.append(contentsOf: String(value).utf8)
    }

    /// Appends `true` or `false`.
    package mutating func boolean(_ value: Bool) {
        raw(value ? "true" : "false")
    }

    /// Appends `text` as a string.
    package mutating func string(_ text: LedgerText) {
        text.withBytes { string(contents: $0) }
    }

    /// Appends the text that `contents` hold, which may be invalid UTF-8, as a string.
    package mutating func string(contents: some Collection<UInt8>) {
        let input = Array(contents)
        bytes.append(UInt8(ascii: "\""))
        var index = 0
        while index < input.count {
            let byte = input[index]
            if byte < 0x80 {
                escape(ascii: byte)
                index += 1
                continue
            }
            let length = UTF8Repair.sequenceLength(input, at: index)
            if length == 0 {
                raw("\\ufffd")
                index += 1
            } else if length == 3, byte == 0xE2, input[index + 1] == 0x80, input[index + 2] & 0xFE == 0xA8 {
                raw(input[index + 2] == 0xA8 ? "\\u2028" : "\\u2029")
                index += 3
            } else {
                bytes.append(contentsOf: input[index..<index + length])
                index += length
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func escape(ascii byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): raw("\\\"")
        case UInt8(ascii: "\\"): raw("\\\\")
        case 0x08: raw("\\b")
        case 0x0C: raw("\\f")
        case 0x0A: raw("\\n")
        case 0x0D: raw("\\r")
        case 0x09: raw("\\t")
        case 0..<0x20, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
            raw("\\u00")
            for digit in [byte >> 4, byte & 15] {
                bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            }
        default: bytes.append(byte)
        }
    }
}
