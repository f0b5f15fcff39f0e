internal import COpenSSL

/// The public half of a peer's identity (contract/wire.md A.1). A value is a valid key of its kind.
package struct PublicKey: Hashable, Sendable {
    /// What kind of key it is.
    package let type: KeyType
    /// The key as its kind writes it: 32 bytes (Ed25519), a compressed point of 33 bytes
    /// (secp256k1), or SubjectPublicKeyInfo in DER (ECDSA, RSA).
    package let data: [UInt8]

    /// An Ed25519 key of 32 bytes.
    package init(ed25519 data: some Collection<UInt8>) throws(KeyError) {
        guard data.count == Ed25519.publicKeyLength else { throw .invalidKey(.ed25519) }
        self.type = .ed25519
        self.data = Array(data)
    }

    /// Reads the message that peers send and hash. The order of its fields and fields that are not
    /// known do not matter; `bytes` gives the one form that is hashed.
    package init(bytes: some Collection<UInt8>) throws(KeyError) {
        let message = try KeyMessage(bytes)
        switch message.type {
        case .ed25519:
            guard message.data.count == Ed25519.publicKeyLength else { throw .invalidKey(.ed25519) }
            self.data = Array(message.data)
        case .secp256k1:
            let point = try Self.compress(Array(message.data))
            guard LibcryptoKey(secp256k1: point) != nil else { throw .invalidKey(.secp256k1) }
            self.data = point
        case .ecdsa, .rsa:
            guard let key = LibcryptoKey(der: Array(message.data)), key.type == message.type,
                let der = key.der
            else { throw .invalidKey(message.type) }
            self.data = der
        }
        self.type = message.type
    }

    /// The message that peers send and hash.
    package var bytes: [UInt8] { KeyMessage.encode(type: type, data: data) }

    /// Whether `signature` is that of `message` by the owner of this key: raw for Ed25519, over
    /// SHA-256 for the others.
    package func verify(_ signature: some Collection<UInt8>, of message: some Collection<UInt8>) -> Bool {
        switch type {
        case .ed25519: Ed25519.verify(signature, of: message, publicKey: data)
        case .secp256k1: LibcryptoKey(secp256k1: data)?.verify(signature, of: message) ?? false
        case .ecdsa, .rsa: LibcryptoKey(der: data)?.verify(signature, of: message) ?? false
        }
    }

    /// A point of secp256k1 in its form of 33 bytes.
    private static func compress(_ point: [UInt8]) throws(KeyError) -> [UInt8] {
        if point.count == 33, point[0] == 2 || point[0] == 3 { return point }
        // The long form's x and y must belong together; the short form could not show a wrong y.
        guard point.count == 65, point[0] == 4, LibcryptoKey(secp256k1: point) != nil else {
            throw .invalidKey(.secp256k1)
        }
        return [2 | point[64] & 1] + point[1...32]
    }
}

/// A public key inside libcrypto, freed with the object.
private final class LibcryptoKey {
    private let key: OpaquePointer

    /// Reads SubjectPublicKeyInfo that fills `der` exactly.
    init?(der: [UInt8]) {
        defer { ERR_clear_error() }
        let key: OpaquePointer? = der.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return nil }
            var position: UnsafePointer<UInt8>? = start
            guard let key = d2i_PUBKEY(nil, &position, buffer.count) else { return nil }
            guard position == start + buffer.count else {
                EVP_PKEY_free(key)
                return nil
            }
            return key
        }
        guard let key else { return nil }
        self.key = key
        // go-libp2p's limits: weak keys prove nothing, huge ones cost too much to verify.
        guard type != .rsa || (2048...8192).contains(EVP_PKEY_get_bits(key)) else { return nil }
    }

    /// Reads a point of secp256k1, by way of the SubjectPublicKeyInfo around it.
    convenience init?(secp256k1 point: [UInt8]) {
        // AlgorithmIdentifier { ecPublicKey, secp256k1 }
        let algorithm: [UInt8] = [
            0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x0a,
        ]
        guard point.count == 33 || point.count == 65 else { return nil }
        let bits = [0x03, UInt8(point.count + 1), 0x00] + point
        self.init(der: [0x30, UInt8(algorithm.count + bits.count)] + algorithm + bits)
    }

    deinit {
        EVP_PKEY_free(key)
    }

    /// What kind of key this is; nil for one that libp2p does not use.
    var type: KeyType? {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA: .rsa
        case EVP_PKEY_EC: .ecdsa
        default: nil
        }
    }

    /// SubjectPublicKeyInfo as libcrypto writes it.
    var der: [UInt8]? {
        var start: UnsafeMutablePointer<UInt8>?
        let length = i2d_PUBKEY(key, &start)
        guard length > 0, let start else {
            ERR_clear_error()
            return nil
        }
        defer { CRYPTO_free(start, #file, #line) }
        return Array(UnsafeBufferPointer(start: start, count: Int(length)))
    }

    /// ECDSA in DER, or RSA with PKCS #1 v1.5 padding, over SHA-256 of `message`.
    func verify(_ signature: some Collection<UInt8>, of message: some Collection<UInt8>) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        guard EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, key) == 1 else { return false }
        return Crypto.withContiguous(signature) { signature, signatureLength in
            Crypto.withContiguous(message) { message, length in
                EVP_DigestVerify(context, signature, signatureLength, message, length) == 1
            }
        }
    }
}
