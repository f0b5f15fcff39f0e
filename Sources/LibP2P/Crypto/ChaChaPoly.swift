internal import CSodium

/// ChaCha20-Poly1305 of RFC 8439: a key of 32 bytes, a nonce of 12, a tag of 16 behind the
/// ciphertext.
package enum ChaChaPoly {
    package static let keyLength = 32
    package static let nonceLength = 12
    package static let tagLength = 16

    /// Ciphertext ‖ tag. A nonce must never be used twice under one key.
    package static func seal(
        _ plaintext: [UInt8], key: SecretBytes, nonce: [UInt8], associatedData: [UInt8] = []
    ) throws(CryptoError) -> [UInt8] {
        try check(key: key, nonce: nonce)
        return key.withPointer { key in
            Crypto.output(plaintext.count + tagLength) { output in
                _ = crypto_aead_chacha20poly1305_ietf_encrypt(
                    output, nil, plaintext, UInt64(plaintext.count), associatedData,
                    UInt64(associatedData.count),
                    nil, nonce, key)
            }
        }
    }

    /// The plaintext of ciphertext ‖ tag. Throws `authenticationFailed` unless key, nonce, associated
    /// data and every bit are those of the sealing.
    package static func open(
        _ sealed: [UInt8], key: SecretBytes, nonce: [UInt8], associatedData: [UInt8] = []
    ) throws(CryptoError) -> [UInt8] {
        try check(key: key, nonce: nonce)
        guard sealed.count >= tagLength else { throw .authenticationFailed }
        var plaintext = [UInt8](repeating: 0, count: sealed.count - tagLength)
        let result = key.withPointer { key in
            crypto_aead_chacha20poly1305_ietf_decrypt(
                &plaintext, nil, nil, sealed, UInt64(sealed.count), associatedData,
                UInt64(associatedData.count),
                nonce, key)
        }
        guard result == 0 else { throw .authenticationFailed }
        return plaintext
    }

    private static func check(key: SecretBytes, nonce: [UInt8]) throws(CryptoError) {
        Sodium.start()
        guard key.count == keyLength else { throw .invalidLength("ChaCha20-Poly1305 key") }
        guard nonce.count == nonceLength else { throw .invalidLength("ChaCha20-Poly1305 nonce") }
    }
}
