internal import Glibc

/// A text of the ledger: bucket, key, owner or value, compared and ordered by its UTF-8 bytes.
///
/// Swift's own strings are equal when they are canonically equivalent, so two keys that other nodes
/// keep apart ("é" as one scalar and as two) would collide; every rule of contract/wire.md J
/// compares bytes.
package struct LedgerText: Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The text as a string with contiguous UTF-8 storage.
    package let string: String

    /// Makes the text of `string`.
    package init(_ string: String) {
        var native = string
        native.makeContiguousUTF8()
        self.string = native
    }

    package init(stringLiteral value: String) {
        self.init(value)
    }

    /// Makes the text that `bytes` hold, with U+FFFD for each byte that is not part of valid UTF-8,
    /// as Go's JSON reader and writer do (contract J.6).
    package init(repairing bytes: some Collection<UInt8>) {
        self.init(String(decoding: UTF8Repair.repaired(bytes), as: Unicode.UTF8.self))
    }

    /// The text's bytes.
    package var utf8: String.UTF8View { string.utf8 }

    /// Whether the text has no bytes.
    package var isEmpty: Bool { string.utf8.isEmpty }

    package var description: String { string }

    /// Calls `body` with the text's bytes in one piece.
    package func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        if let result = string.utf8.withContiguousStorageIfAvailable(body) { return result }
        return Array(string.utf8).withUnsafeBufferPointer(body)
    }
}

extension LedgerText: Hashable {
    package static func == (left: LedgerText, right: LedgerText) -> Bool {
        let count = left.string.utf8.count
        guard count == right.string.utf8.count else { return false }
        // In one piece: comparing byte by byte through views took a tenth of a simulated run.
        return left.withBytes { left in
            right.withBytes { right in
                guard let left = left.baseAddress, let right = right.baseAddress else { return true }
                return left == right || memcmp(left, right, count) == 0
            }
        }
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(string.utf8.count)
        withBytes { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension LedgerText: Comparable {
    package static func < (left: LedgerText, right: LedgerText) -> Bool {
        left.string.utf8.lexicographicallyPrecedes(right.string.utf8)
    }
}

extension String {
    /// The string that a ledger text holds.
    package init(_ text: LedgerText) {
        self = text.string
    }
}
