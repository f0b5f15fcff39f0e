internal import COpenSSL
internal import CSodium

/// The hashes and comparisons that the protocols are built of: libsodium and libcrypto by names that
/// cannot be used wrongly.
package enum Crypto {
    /// SHA-256 of `bytes`: 32 bytes.
    package static func sha256(_ bytes: some Collection<UInt8>) -> [UInt8] {
        Sodium.start()
        return output(32) { output in
            withContiguous(bytes) { input, count in
                _ = crypto_hash_sha256(output, input, UInt64(count))
            }
        }
    }

    /// SHA-256 of what several runs of bytes say one after the other.
    package static func sha256(concatenating parts: [UInt8]...) -> [UInt8] {
        Sodium.start()
        var state = crypto_hash_sha256_state()
        crypto_hash_sha256_init(&state)
        for part in parts { crypto_hash_sha256_update(&state, part, UInt64(part.count)) }
        return output(32) { crypto_hash_sha256_final(&state, $0) }
    }

    /// HMAC-SHA-256 of `message` under `key`, which may have any length: 32 bytes.
    package static func hmacSHA256(key: some Collection<UInt8>, message: some Collection<UInt8>) -> [UInt8] {
        output(32) { output in
            authenticate(into: output, key: key) { state in
                withContiguous(message) { message, count in
                    _ = crypto_auth_hmacsha256_update(&state, message, UInt64(count))
                }
            }
        }
    }

    /// HMAC-SHA-256 of `message` under a secret key: 32 bytes.
    package static func hmacSHA256(key: SecretBytes, message: some Collection<UInt8>) -> [UInt8] {
        key.withUnsafeBytes { hmacSHA256(key: $0, message: message) }
    }

    /// HKDF-SHA-256 (RFC 5869): a key of `count` bytes, at most 8160, from `secret`, bound to `salt`
    /// and `info`.
    package static func hkdfSHA256(
        secret: SecretBytes, salt: some Collection<UInt8>, info: some Collection<UInt8>, count: Int
    ) -> SecretBytes {
        let count = min(max(count, 0), 255 * 32)
        let pseudorandom = SecretBytes(count: 32) { output in
            authenticate(into: output, key: salt) { state in
                secret.withPointer { _ = crypto_auth_hmacsha256_update(&state, $0, UInt64(secret.count)) }
            }
        }
        return SecretBytes(count: count) { output in
            let block = SecretBytes(count: 32) { _ in }
            for (offset, index) in zip(stride(from: 0, to: count, by: 32), UInt8(1)...255) {
                block.withUnsafeMutablePointer { block in
                    pseudorandom.withUnsafeBytes { key in
                        authenticate(into: block, key: key) { state in
                            if offset > 0 { crypto_auth_hmacsha256_update(&state, block, 32) }
                            withContiguous(info) { info, count in
                                _ = crypto_auth_hmacsha256_update(&state, info, UInt64(count))
                            }
                            crypto_auth_hmacsha256_update(&state, [index], 1)
                        }
                    }
                    (output + offset).update(from: block, count: min(32, count - offset))
                }
            }
        }
    }

    /// Writes the 32 bytes of HMAC-SHA-256 under `key` over what `feed` puts in.
    private static func authenticate(
        into output: UnsafeMutablePointer<UInt8>, key: some Collection<UInt8>,
        feed: (inout crypto_auth_hmacsha256_state) -> Void
    ) {
        Sodium.start()
        var state = crypto_auth_hmacsha256_state()
        defer { sodium_memzero(&state, MemoryLayout.size(ofValue: state)) }
        withContiguous(key) { key, count in
            _ = crypto_auth_hmacsha256_init(&state, key, count)
        }
        feed(&state)
        crypto_auth_hmacsha256_final(&state, output)
    }

    /// MD5 of `bytes`, 16 bytes: names and derived values that EdgeVPN fixes (contract/wire.md J.2),
    /// never a proof of anything.
    ///
    /// Throws `CryptoError.unavailable` on a system whose libcrypto has no MD5 even outside of FIPS
    /// mode.
    package static func md5(_ bytes: some Collection<UInt8>) throws(CryptoError) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 16)
        let done = withContiguous(bytes) { input, count in
            var length = digest.count
            return EVP_Q_digest(nil, "MD5", "-fips", input, count, &digest, &length)
        }
        guard done == 1 else {
            ERR_clear_error()
            throw .unavailable("MD5")
        }
        return digest
    }

    /// `count` bytes that nobody can guess.
    package static func randomBytes(_ count: Int) -> [UInt8] {
        Sodium.start()
        return output(count) { randombytes_buf($0, count) }
    }

    /// Whether two runs of bytes are equal, in a time that depends on their lengths alone.
    package static func constantTimeEqual(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>)
        -> Bool
    {
        Sodium.start()
        guard left.count == right.count else { return false }
        return withContiguous(left) { left, count in
            withContiguous(right) { right, _ in sodium_memcmp(left, right, count) == 0 }
        }
    }

    /// Overwrites `bytes` with zeros and empties them.
    package static func zero(_ bytes: inout [UInt8]) {
        sodium_memzero(&bytes, bytes.count)
        bytes = []
    }

    /// The result of a C function that writes exactly `count` bytes.
    static func output(_ count: Int, _ write: (UnsafeMutablePointer<UInt8>) -> Void) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            if let base = buffer.baseAddress, count > 0 {
                write(base)
                initialized = count
            }
        }
    }

    /// Lends the address and count of `bytes` to `body` as one run of memory; copies them first when
    /// they are not. The address is there even when the count is 0, as C functions ask for.
    static func withContiguous<Bytes: Collection<UInt8>, Result>(
        _ bytes: Bytes, _ body: (UnsafePointer<UInt8>, Int) -> Result
    ) -> Result {
        let result = bytes.withContiguousStorageIfAvailable { buffer in
            if let base = buffer.baseAddress { return body(base, buffer.count) }
            return withUnsafePointer(to: 0) { body($0, 0) }
        }
        if let result { return result }
        return withContiguous(Array(bytes), body)
    }
}

/// Why a cryptographic operation did not succeed.
package enum CryptoError: Error, Hashable, CustomStringConvertible {
    /// The ciphertext, its associated data, nonce or key is not what was sealed.
    case authenticationFailed
    /// A key has a length, a nonce a length or an input a size that the algorithm does not take.
    case invalidLength(String)
    /// A Diffie-Hellman result is zero: the other side sent a point of small order.
    case weakSharedSecret
    /// The system's libraries do not offer the algorithm, as on a machine in strict FIPS mode.
    case unavailable(String)

    package var description: String {
        switch self {
        case .authenticationFailed: "the sealed bytes are not authentic"
        case .invalidLength(let what): "the \(what) has a wrong length"
        case .weakSharedSecret: "the peer's key is of small order"
        case .unavailable(let algorithm):
            "\(algorithm) is not available: the system's libcrypto refuses it (strict FIPS mode?)"
        }
    }
}
