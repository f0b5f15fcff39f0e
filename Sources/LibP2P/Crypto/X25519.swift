internal import CSodium

/// Diffie-Hellman on Curve25519 (RFC 7748).
package enum X25519 {
    package static let keyLength = 32

    /// A private key and the public key that belongs to it.
    package struct KeyPair: Sendable {
        package let privateKey: SecretBytes
        package let publicKey: [UInt8]

        /// The pair of a private key of 32 bytes.
        package init(privateKey: SecretBytes) throws(CryptoError) {
            guard privateKey.count == keyLength else { throw .invalidLength("X25519 private key") }
            self.privateKey = privateKey
            self.publicKey = Crypto.output(keyLength) { output in
                privateKey.withPointer { key in _ = crypto_scalarmult_base(output, key) }
            }
        }

        private init(random privateKey: SecretBytes, publicKey: [UInt8]) {
            self.privateKey = privateKey
            self.publicKey = publicKey
        }

        /// A new pair.
        package static func generate() -> KeyPair {
            var publicKey = [UInt8](repeating: 0, count: keyLength)
            let privateKey = SecretBytes(count: keyLength) { key in
                randombytes_buf(key, keyLength)
                crypto_scalarmult_base(&publicKey, key)
            }
            return KeyPair(random: privateKey, publicKey: publicKey)
        }

        /// What this pair and the owner of `publicKey` share. Throws `weakSharedSecret` when the
        /// result is zero whatever this side's key is.
        package func sharedSecret(with publicKey: [UInt8]) throws(CryptoError) -> SecretBytes {
            guard publicKey.count == keyLength else { throw .invalidLength("X25519 public key") }
            var done: Int32 = -1
            let secret = SecretBytes(count: keyLength) { output in
                privateKey.withPointer { key in done = crypto_scalarmult(output, key, publicKey) }
            }
            guard done == 0 else { throw .weakSharedSecret }
            return secret
        }
    }
}
