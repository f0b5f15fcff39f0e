/// A hash that says which function made it: uvarint(code) ‖ uvarint(length) ‖ digest.
package struct Multihash: Hashable, Sendable {
    /// The code of "no hash at all": the digest is the input.
    package static let identityCode: UInt64 = 0x00
    /// The code of SHA-256.
    package static let sha256Code: UInt64 = 0x12
    /// The longest digest taken: SHA-512's 64 bytes, doubled for what may come.
    package static let maximumDigestLength = 128

    /// Which function made the digest.
    package let code: UInt64
    /// What the function yielded.
    package let digest: [UInt8]

    /// Joins the code of a function with what it yielded. Only the first `maximumDigestLength` bytes
    /// of a digest could be read back; no function in use yields more.
    package init(code: UInt64, digest: some Collection<UInt8>) {
        self.code = code
        self.digest = Array(digest)
    }

    /// Reads a multihash that fills `bytes` exactly. The function need not be known.
    package init(bytes: some Collection<UInt8>) throws(WireError) {
        var cursor = ByteCursor(Array(bytes))
        let code = try cursor.readUvarint()
        let digest = try cursor.readLengthPrefixed(maximum: Self.maximumDigestLength)
        try cursor.expectEnd()
        self.init(code: code, digest: digest)
    }

    /// The binary form.
    package var bytes: [UInt8] {
        var bytes = Uvarint.encode(code)
        bytes.appendLengthPrefixed(digest)
        return bytes
    }
}
