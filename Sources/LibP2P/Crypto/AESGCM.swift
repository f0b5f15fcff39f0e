internal import COpenSSL

/// AES-256-GCM with a nonce of 12 bytes and a tag of 16 behind the ciphertext (contract/wire.md J.3).
package enum AESGCM {
    package static let keyLength = 32
    package static let nonceLength = 12
    package static let tagLength = 16
    /// The largest plaintext that is sealed and the largest that is opened: far above any block of a
    /// ledger, far below what libcrypto counts in 32 bits.
    package static let maximumLength = 64 << 20

    /// Ciphertext ‖ tag. A nonce must never be used twice under one key.
    package static func seal(
        _ plaintext: some Collection<UInt8>, key: SecretBytes, nonce: some Collection<UInt8>,
        associatedData: some Collection<UInt8> = EmptyCollection()
    ) throws(CryptoError) -> [UInt8] {
        try check(
            key: key, nonceLength: nonce.count, length: plaintext.count, associated: associatedData.count)
        let context = try Context(key: key, nonce: nonce, encrypts: true)
        try context.authenticate(associatedData)
        var sealed = try context.update(plaintext, extraCapacity: tagLength)
        try context.finish()
        sealed += try context.tag()
        return sealed
    }

    /// The plaintext of ciphertext ‖ tag. Throws `authenticationFailed` unless key, nonce, associated
    /// data and every bit are those of the sealing.
    package static func open(
        _ sealed: some Collection<UInt8>, key: SecretBytes, nonce: some Collection<UInt8>,
        associatedData: some Collection<UInt8> = EmptyCollection()
    ) throws(CryptoError) -> [UInt8] {
        guard sealed.count >= tagLength else { throw .authenticationFailed }
        let length = sealed.count - tagLength
        try check(key: key, nonceLength: nonce.count, length: length, associated: associatedData.count)
        let context = try Context(key: key, nonce: nonce, encrypts: false)
        try context.authenticate(associatedData)
        var plaintext = try context.update(sealed.prefix(length), extraCapacity: 0)
        try context.expect(tag: Array(sealed.suffix(tagLength)))
        do {
            try context.finish()
        } catch {
            // What was decrypted before the tag was judged is nobody's to see.
            Crypto.zero(&plaintext)
            throw .authenticationFailed
        }
        return plaintext
    }

    private static func check(
        key: SecretBytes, nonceLength: Int, length: Int, associated: Int
    ) throws(CryptoError) {
        guard key.count == keyLength else { throw .invalidLength("AES-256 key") }
        guard nonceLength == Self.nonceLength else { throw .invalidLength("AES-GCM nonce") }
        guard length <= maximumLength else { throw .invalidLength("AES-GCM input") }
        guard associated <= maximumLength else { throw .invalidLength("associated data") }
    }

    /// One EVP_CIPHER_CTX, freed with the object; libcrypto overwrites the key schedule then.
    private final class Context {
        private let context: OpaquePointer

        init(key: SecretBytes, nonce: some Collection<UInt8>, encrypts: Bool) throws(CryptoError) {
            guard let context = EVP_CIPHER_CTX_new() else { throw .unavailable("AES-256-GCM") }
            self.context = context
            let nonce = Array(nonce)
            let done = key.withPointer { key in
                EVP_CipherInit_ex(
                    context, EVP_aes_256_gcm(), nil, key,
                    nonce,
                    encrypts ? 1 : 0)
            }
            try Self.require(done)
        }

        deinit {
            EVP_CIPHER_CTX_free(context)
        }

        func authenticate(_ bytes: some Collection<UInt8>) throws(CryptoError) {
            guard !bytes.isEmpty else { return }
            let done = Crypto.withContiguous(bytes) { input, count in
                var written: Int32 = 0
                return EVP_CipherUpdate(
                    context, nil, &written, input, Int32(clamping: count))
            }
            try Self.require(done)
        }

        func update(_ bytes: some Collection<UInt8>, extraCapacity: Int) throws(CryptoError) -> [UInt8] {
            var done: Int32 = 1
            let output = [UInt8](unsafeUninitializedCapacity: bytes.count + extraCapacity) {
                buffer, initialized in
                guard !bytes.isEmpty else { return }
                var written: Int32 = 0
                done = Crypto.withContiguous(bytes) { input, count in
                    EVP_CipherUpdate(
                        context, buffer.baseAddress, &written, input, Int32(clamping: count)
                    )
                }
                initialized = done == 1 ? Int(written) : 0
            }
            try Self.require(done)
            return output
        }

        /// Ends the stream; when decrypting, judges the tag.
        func finish() throws(CryptoError) {
            // GCM writes nothing here, but libcrypto wants somewhere to write to.
            var scratch = [UInt8](repeating: 0, count: 16)
            var written: Int32 = 0
            try Self.require(EVP_CipherFinal_ex(context, &scratch, &written))
        }

        func tag() throws(CryptoError) -> [UInt8] {
            var tag = [UInt8](repeating: 0, count: tagLength)
            try Self.require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), &tag))
            return tag
        }

        func expect(tag: [UInt8]) throws(CryptoError) {
            var tag = tag
            try Self.require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(tagLength), &tag))
        }

        private static func require(_ result: Int32) throws(CryptoError) {
            guard result == 1 else {
                ERR_clear_error()
                throw .unavailable("AES-256-GCM")
            }
        }
    }
}
