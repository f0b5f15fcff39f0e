internal import CSodium

/// Ed25519 signatures (RFC 8032).
package enum Ed25519 {
    package static let seedLength = 32
    package static let publicKeyLength = 32
    package static let secretKeyLength = 64
    package static let signatureLength = 64

    /// The secret key (seed ‖ public key) and the public key that follow from a seed of 32 bytes.
    static func keys(seed: SecretBytes) throws(CryptoError) -> (secretKey: SecretBytes, publicKey: [UInt8]) {
        guard seed.count == seedLength else { throw .invalidLength("Ed25519 seed") }
        var publicKey = [UInt8](repeating: 0, count: publicKeyLength)
        let secretKey = SecretBytes(count: secretKeyLength) { output in
            seed.withPointer { seed in _ = crypto_sign_seed_keypair(&publicKey, output, seed) }
        }
        return (secretKey, publicKey)
    }

    /// The signature of `message` by a secret key of 64 bytes.
    static func sign(_ message: some Collection<UInt8>, secretKey: SecretBytes) -> [UInt8] {
        precondition(secretKey.count == secretKeyLength, "an Ed25519 secret key is seed ‖ public key")
        return Crypto.output(signatureLength) { output in
            Crypto.withContiguous(message) { message, count in
                secretKey.withPointer { key in
                    _ = crypto_sign_detached(output, nil, message, UInt64(count), key)
                }
            }
        }
    }

    /// Whether `signature` is that of `message` by the owner of `publicKey`.
    static func verify(
        _ signature: some Collection<UInt8>, of message: some Collection<UInt8>, publicKey: [UInt8]
    ) -> Bool {
        guard signature.count == signatureLength, publicKey.count == publicKeyLength else { return false }
        Sodium.start()
        return Crypto.withContiguous(signature) { signature, _ in
            Crypto.withContiguous(message) { message, count in
                crypto_sign_verify_detached(signature, message, UInt64(count), publicKey) == 0
            }
        }
    }
}
