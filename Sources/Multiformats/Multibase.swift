/// A way to write bytes as text, named by the text's first character.
package enum Multibase: Hashable, Sendable, CaseIterable {
    case base2, base16, base16upper, base32, base32upper, base32pad, base32hex, base36, base36upper
    case base58btc, base58flickr, base64, base64url, base64pad

    /// The longest text taken in a base whose radix is no power of two: decoding such a text takes
    /// time that grows with the square of its length.
    package static let maximumBigNumberLength = 512

    /// The character that stands before texts in this base.
    package var prefix: Character {
        switch self {
        case .base2: "0"
        case .base16: "f"
        case .base16upper: "F"
        case .base32: "b"
        case .base32upper: "B"
        case .base32pad: "c"
        case .base32hex: "v"
        case .base36: "k"
        case .base36upper: "K"
        case .base58btc: "z"
        case .base58flickr: "Z"
        case .base64: "m"
        case .base64url: "u"
        case .base64pad: "M"
        }
    }

    /// `bytes` as text, with the prefix.
    package func encode(_ bytes: some Collection<UInt8>) -> String {
        String(prefix) + encodeWithoutPrefix(bytes)
    }

    /// `bytes` as text, without the prefix.
    package func encodeWithoutPrefix(_ bytes: some Collection<UInt8>) -> String {
        let alphabet = digits
        let text =
            switch shape {
            case .bits(let bits, let padding):
                Self.encodeBits(bytes, bits: bits, paddingTo: padding, alphabet: alphabet)
            case .number: Self.encodeNumber(bytes, alphabet: alphabet)
            }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes of a text with its prefix.
    package static func decode(_ text: String) throws(MultibaseError) -> [UInt8] {
        guard let prefix = text.first, let base = Self.byPrefix[prefix] else { throw .unknownBase }
        return try base.decodeWithoutPrefix(text.dropFirst())
    }

    /// The bytes of a text without prefix.
    package func decodeWithoutPrefix(_ text: some StringProtocol) throws(MultibaseError) -> [UInt8] {
        let values = values
        var digits: [UInt8] = []
        digits.reserveCapacity(text.utf8.count)
        var padding = 0
        for character in text.utf8 {
            if case .bits(_, .some) = shape, character == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            let value = values[Int(character)]
            guard value != 0xff, padding == 0 else { throw .invalidCharacter }
            digits.append(value)
        }
        switch shape {
        case .bits(let bits, let group):
            if let group {
                let needed = (group - digits.count % group) % group
                guard padding == needed else { throw .invalidLength }
            }
            return try Self.decodeBits(digits, bits: bits)
        case .number(let radix):
            guard digits.count <= Self.maximumBigNumberLength else { throw .tooLong }
            return Self.decodeNumber(digits, radix: radix)
        }
    }

    // MARK: the bases

    private enum Shape {
        /// A power of two: bits a character, and the number of characters that padding fills up to.
        case bits(Int, padding: Int?)
        /// One large number; leading zero bytes are leading zero digits.
        case number(radix: Int)
    }

    private var shape: Shape {
        switch self {
        case .base2: .bits(1, padding: nil)
        case .base16, .base16upper: .bits(4, padding: nil)
        case .base32, .base32upper, .base32hex: .bits(5, padding: nil)
        case .base32pad: .bits(5, padding: 8)
        case .base36, .base36upper: .number(radix: 36)
        case .base58btc, .base58flickr: .number(radix: 58)
        case .base64, .base64url: .bits(6, padding: nil)
        case .base64pad: .bits(6, padding: 4)
        }
    }

    private var alphabet: String {
        switch self {
        case .base2: "01"
        case .base16: "0123456789abcdef"
        case .base16upper: "0123456789ABCDEF"
        case .base32, .base32pad: "abcdefghijklmnopqrstuvwxyz234567"
        case .base32upper: "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        case .base32hex: "0123456789abcdefghijklmnopqrstuv"
        case .base36: "0123456789abcdefghijklmnopqrstuvwxyz"
        case .base36upper: "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        case .base58btc: "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
        case .base58flickr: "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
        case .base64, .base64pad: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        case .base64url: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        }
    }

    private var ignoresCase: Bool {
        switch self {
        case .base16, .base16upper, .base32, .base32upper, .base32pad, .base32hex, .base36, .base36upper: true
        case .base2, .base58btc, .base58flickr, .base64, .base64url, .base64pad: false
        }
    }

    /// The value of every byte as a digit, 0xff for those that are none.
    private var values: [UInt8] {
        if self == .base58btc { return Self.base58Values }
        return Self.tables[self] ?? [UInt8](repeating: 0xff, count: 256)
    }

    /// The digits in their order.
    private var digits: [UInt8] { self == .base58btc ? Self.base58Digits : Array(alphabet.utf8) }

    /// Those of peer IDs are always at hand.
    private static let base58Digits = Array(Multibase.base58btc.alphabet.utf8)
    private static let base58Values = Multibase.base58btc.makeTable()

    private static let byPrefix = Dictionary(uniqueKeysWithValues: allCases.map { ($0.prefix, $0) })

    private static let tables = Dictionary(uniqueKeysWithValues: allCases.map { ($0, $0.makeTable()) })

    private func makeTable() -> [UInt8] {
        var table = [UInt8](repeating: 0xff, count: 256)
        for (value, character) in alphabet.utf8.enumerated() {
            table[Int(character)] = UInt8(value)
            let isLetter = character | 0x20 >= UInt8(ascii: "a") && character | 0x20 <= UInt8(ascii: "z")
            if ignoresCase, isLetter { table[Int(character ^ 0x20)] = UInt8(value) }
        }
        return table
    }

    // MARK: powers of two

    private static func encodeBits(
        _ bytes: some Collection<UInt8>, bits: Int, paddingTo group: Int?, alphabet: [UInt8]
    ) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 8 / bits + 8)
        var pending = 0
        var width = 0
        let mask = 1 << bits - 1
        for byte in bytes {
            pending = pending << 8 | Int(byte)
            width += 8
            while width >= bits {
                width -= bits
                text.append(alphabet[pending >> width & mask])
            }
            pending &= 1 << width - 1
        }
        if width > 0 { text.append(alphabet[pending << (bits - width) & mask]) }
        if let group {
            while !text.count.isMultiple(of: group) { text.append(UInt8(ascii: "=")) }
        }
        return text
    }

    private static func decodeBits(_ digits: [UInt8], bits: Int) throws(MultibaseError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count * bits / 8)
        var pending = 0
        var width = 0
        for digit in digits {
            pending = pending << bits | Int(digit)
            width += bits
            if width >= 8 {
                width -= 8
                bytes.append(UInt8(truncatingIfNeeded: pending >> width))
                pending &= 1 << width - 1
            }
        }
        // What is left over is less than a digit, and zero, or the text says nothing in two ways.
        guard width < bits, pending == 0 else { throw .invalidLength }
        return bytes
    }

    // MARK: large numbers

    private static func encodeNumber(_ bytes: some Collection<UInt8>, alphabet: [UInt8]) -> [UInt8] {
        let bytes = Array(bytes)
        let zeros = bytes.firstIndex { $0 != 0 } ?? bytes.count
        var text = [UInt8](repeating: alphabet[0], count: zeros)
        let digits = convert(bytes, after: zeros, from: 256, to: alphabet.count)
        text.reserveCapacity(zeros + digits.count)
        for digit in digits { text.append(alphabet[Int(digit)]) }
        return text
    }

    private static func decodeNumber(_ digits: [UInt8], radix: Int) -> [UInt8] {
        let zeros = digits.firstIndex { $0 != 0 } ?? digits.count
        return [UInt8](repeating: 0, count: zeros) + convert(digits, after: zeros, from: radix, to: 256)
    }

    /// The digits of one radix from place `start` on, most significant first, as digits of another, without
    /// leading zeros.
    ///
    /// Long division by hand, but with limbs of as many digits as 32 bits hold: the time still grows
    /// with the square of the length, and a peer ID takes a twentieth of what it takes digit by digit.
    /// On plain arrays, because peer IDs are written and read all the time.
    private static func convert(_ digits: [UInt8], after start: Int, from: Int, to: Int) -> [UInt8] {
        let (input, output) = (group(of: from), group(of: to))
        let (from, to) = (UInt64(from), UInt64(to))
        // Least significant first, each below `output.value`.
        var limbs: [UInt64] = []
        limbs.reserveCapacity((digits.count - start) / 4 + 4)
        var place = start
        while place < digits.count {
            let end = min(place + input.count, digits.count)
            var carry: UInt64 = 0
            var factor: UInt64 = 1
            while place < end {
                carry = carry * from + UInt64(digits[place])
                factor *= from
                place += 1
            }
            // The carry stays below the factor, and both factors are at most 2³²: nothing overflows.
            for index in limbs.indices {
                let sum = limbs[index] * factor + carry
                carry = sum / output.value
                limbs[index] = sum - carry * output.value
            }
            while carry > 0 {
                limbs.append(carry % output.value)
                carry /= output.value
            }
        }
        var result = [UInt8](repeating: 0, count: limbs.count * output.count)
        var next = result.count
        for limb in limbs {
            var left = limb
            for _ in 0..<output.count {
                next -= 1
                let rest = left / to
                result[next] = UInt8(left - rest * to)
                left = rest
            }
        }
        if let first = result.firstIndex(where: { $0 != 0 }) {
            result.removeFirst(first)
        } else {
            result = []
        }
        return result
    }

    /// The most digits of `radix` whose values fit 32 bits, and how many values they have.
    private static func group(of radix: Int) -> (count: Int, value: UInt64) {
        switch radix {
        case 256: return (4, 1 << 32)
        case 58: return (5, 656_356_768)
        default: break
        }
        var (count, value) = (1, UInt64(radix))
        while value * UInt64(radix) <= 1 << 32 {
            count += 1
            value *= UInt64(radix)
        }
        return (count, value)
    }
}

/// Why a text could not be turned into bytes.
package enum MultibaseError: Error, Hashable {
    /// The first character names no base that is known.
    case unknownBase
    /// A character is no digit of the base.
    case invalidCharacter
    /// The number of characters cannot come from whole bytes, or the padding is wrong.
    case invalidLength
    /// The text is above `Multibase.maximumBigNumberLength`.
    case tooLong
}
