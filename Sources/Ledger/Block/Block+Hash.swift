internal import LibP2P

extension Block {
    /// The text whose SHA-256 is the block's hash: Go's print form of index, timestamp, storage and
    /// previous hash (contract J.6).
    package var hashInput: [UInt8] {
        var text = Array(String(index).utf8)
        text.append(contentsOf: timestamp.utf8)
        // Go puts a space only between two operands that are both not strings: index 0 and storage
        // touch when the timestamp between them is empty, because that one is a string.
        text.append(contentsOf: "map[".utf8)
        for (place, bucket) in storage.keys.sorted().enumerated() {
            if place > 0 { text.append(UInt8(ascii: " ")) }
            text.append(contentsOf: bucket.utf8)
            text.append(contentsOf: ":map[".utf8)
            let keys = storage[bucket, default: [:]].sorted { $0.key < $1.key }
            for (place, (key, entry)) in keys.enumerated() {
                if place > 0 { text.append(UInt8(ascii: " ")) }
                text.append(contentsOf: key.utf8)
                text.append(UInt8(ascii: ":"))
                entry.print(to: &text)
            }
            text.append(UInt8(ascii: "]"))
        }
        text.append(UInt8(ascii: "]"))
        text.append(contentsOf: previousHash.utf8)
        return text
    }

    /// The block's hash: lower-case hex of the SHA-256 of `hashInput`.
    package var computedHash: LedgerText {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in Crypto.sha256(hashInput) {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return LedgerText(repairing: text)
    }
}

extension Entry {
    /// Appends Go's print form of the entry: `{value owner version updatedAt deleted [sig]}`.
    fileprivate func print(to text: inout [UInt8]) {
        text.append(UInt8(ascii: "{"))
        text.append(contentsOf: value.utf8)
        text.append(UInt8(ascii: " "))
        text.append(contentsOf: owner.utf8)
        text.append(contentsOf: " \(version) \(updatedAt) \(isDeleted) [".utf8)
        for (place, byte) in (signature ?? []).enumerated() {
            if place > 0 { text.append(UInt8(ascii: " ")) }
            text.append(contentsOf: String(byte).utf8)
        }
        text.append(contentsOf: "]}".utf8)
    }
}
