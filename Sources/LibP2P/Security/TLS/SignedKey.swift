/// The certificate extension that ties a TLS key to an identity (contract/wire.md D.3): DER
/// `SEQUENCE { OCTET STRING publicKey, OCTET STRING signature }`.
package struct SignedKey: Hashable, Sendable {
    /// 1.3.6.1.4.1.53594.1.1, the contents of the OBJECT IDENTIFIER.
    static let objectIdentifier: [UInt8] = [0x2b, 6, 1, 4, 1, 0x83, 0xa2, 0x5a, 1, 1]
    private static let signedPrefix = Array("libp2p-tls-handshake:".utf8)

    /// The encoded public key of the identity.
    package let publicKey: [UInt8]
    /// The identity's signature over the certificate's key.
    package let signature: [UInt8]

    /// Has `identity` vouch for the key whose SubjectPublicKeyInfo is `keyInfo`.
    package init(identity: Identity, keyInfo: [UInt8]) {
        self.publicKey = identity.publicKey.bytes
        self.signature = identity.sign(Self.signedPrefix + keyInfo)
    }

    /// Reads the extension's value; nil when it is not exactly that. Whether it proves anything,
    /// `verify` says.
    package init?(der: [UInt8]) {
        var outer = der[...]
        guard var inner = Self.take(0x30, from: &outer), outer.isEmpty,
            let publicKey = Self.take(0x04, from: &inner), let signature = Self.take(0x04, from: &inner),
            inner.isEmpty
        else { return nil }
        self.publicKey = Array(publicKey)
        self.signature = Array(signature)
    }

    /// The extension's value.
    package var der: [UInt8] {
        Self.element(0x30, Self.element(0x04, publicKey) + Self.element(0x04, signature))
    }

    /// The identity that vouches for the key whose SubjectPublicKeyInfo is `keyInfo`.
    package func verify(keyInfo: [UInt8]) throws(TLSCertificateError) -> PublicKey {
        let key: PublicKey
        do throws(KeyError) {
            key = try PublicKey(bytes: publicKey)
        } catch {
            throw .invalidIdentityKey(error)
        }
        guard key.verify(signature, of: Self.signedPrefix + keyInfo) else { throw .invalidSignature }
        return key
    }

    /// One element of DER; its contents are far below 2^16 bytes.
    private static func element(_ tag: UInt8, _ contents: [UInt8]) -> [UInt8] {
        let count = contents.count
        let length: [UInt8] =
            switch count {
            case ..<0x80: [UInt8(truncatingIfNeeded: count)]
            case ..<0x100: [0x81, UInt8(truncatingIfNeeded: count)]
            default: [0x82, UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
            }
        return [tag] + length + contents
    }

    /// The contents of the element with `tag` at the front of `bytes`, which it is taken from. Lengths
    /// have their shortest form and at most two bytes.
    private static func take(_ tag: UInt8, from bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard bytes.popFirst() == tag, let first = bytes.popFirst() else { return nil }
        var length = Int(first)
        if first >= 0x80 {
            guard first == 0x81 || first == 0x82, bytes.count >= Int(first & 0x7f) else { return nil }
            length = bytes.prefix(Int(first & 0x7f)).reduce(0) { $0 << 8 | Int($1) }
            bytes = bytes.dropFirst(Int(first & 0x7f))
            guard length >= (first == 0x81 ? 0x80 : 0x100) else { return nil }
        }
        guard bytes.count >= length else { return nil }
        defer { bytes = bytes.dropFirst(length) }
        return bytes.prefix(length)
    }
}
