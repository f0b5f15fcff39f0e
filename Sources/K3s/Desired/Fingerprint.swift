/// FNV-1a of 64 bits: tells whether something changed, and nothing about secrecy.
package struct Fingerprint: Hashable, Sendable, CustomStringConvertible {
    /// The hash so far.
    package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The fingerprint of nothing.
    package init() {}

    /// The fingerprint of `bytes`.
    package init(of bytes: some Sequence<UInt8>) {
        add(bytes)
    }

    /// Goes on over `bytes`.
    package mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    }

    /// Goes on over one field: its text and an end mark, so that fields cannot run into each other.
    package mutating func add(field text: String) {
        add(text.utf8)
        add(CollectionOfOne(0))
    }

    /// 16 hex digits.
    package var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
