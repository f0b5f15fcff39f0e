internal import CSodium

/// One direction's key and the number of its next message: the Noise specification's CipherState
/// with ChaCha20-Poly1305.
package struct NoiseCipher: Sendable {
    package static let tagLength = 16

    /// Which library does the work.
    package enum Implementation: Sendable {
        /// libcrypto where it offers the cipher, else libsodium.
        case fastest
        case libsodium
    }

    private let key: SecretBytes
    private let context: ChaChaPolyContext?
    /// The number of the next message. The last value of 64 bits is reserved by the specification.
    private var nonce: UInt64

    /// A cipher with a key of 32 bytes whose next message has the number `nonce`.
    package init(key: SecretBytes, nonce: UInt64 = 0, implementation: Implementation = .fastest) {
        precondition(key.count == ChaChaPoly.keyLength, "a Noise key has 32 bytes")
        self.key = key
        self.context = implementation == .fastest ? ChaChaPolyContext(key: key) : nil
        self.nonce = nonce
    }

    /// Seals `plaintext` into `output`, which has room for 16 bytes more and may be the same memory.
    package mutating func seal(
        _ plaintext: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer,
        associatedData: [UInt8] = []
    ) throws(NoiseError) {
        guard nonce != .max else { throw .nonceExhausted }
        guard let target = output.baseAddress, output.count >= plaintext.count + Self.tagLength else {
            throw .messageTooShort
        }
        let input = plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let output = target.assumingMemoryBound(to: UInt8.self)
        let isSealed = Self.withNonce(nonce) { nonce in
            if let context {
                return context.seal(
                    input, count: plaintext.count, associatedData: associatedData, nonce: nonce,
                    output: output)
            }
            return key.withPointer { key in
                crypto_aead_chacha20poly1305_ietf_encrypt(
                    output, nil, input, UInt64(plaintext.count), associatedData, UInt64(associatedData.count),
                    nil,
                    nonce, key) == 0
            }
        }
        guard isSealed else { throw .cipherFailed }
        nonce += 1
    }

    /// Opens `sealed` into `output`, which has room for 16 bytes less and may be the same memory.
    package mutating func open(
        _ sealed: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer,
        associatedData: [UInt8] = []
    ) throws(NoiseError) {
        guard nonce != .max else { throw .nonceExhausted }
        guard let source = sealed.baseAddress, sealed.count >= Self.tagLength,
            output.count >= sealed.count - Self.tagLength
        else { throw .messageTooShort }
        let input = source.assumingMemoryBound(to: UInt8.self)
        let target = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let isAuthentic = Self.withNonce(nonce) { nonce in
            if let context {
                return context.open(
                    input, count: sealed.count - Self.tagLength, associatedData: associatedData, nonce: nonce,
                    output: target)
            }
            return key.withPointer { key in
                crypto_aead_chacha20poly1305_ietf_decrypt(
                    target, nil, nil, input, UInt64(sealed.count), associatedData,
                    UInt64(associatedData.count),
                    nonce, key) == 0
            }
        }
        guard isAuthentic else { throw .authenticationFailed }
        nonce += 1
    }

    /// `plaintext` sealed, in memory of its own.
    package mutating func seal(_ plaintext: [UInt8], associatedData: [UInt8]) throws(NoiseError) -> [UInt8] {
        var sealed = [UInt8](repeating: 0, count: plaintext.count + Self.tagLength)
        var result: Result<Void, NoiseError> = .success(())
        sealed.withUnsafeMutableBytes { output in
            plaintext.withUnsafeBytes { input in
                result = Result { () throws(NoiseError) in
                    try seal(input, into: output, associatedData: associatedData)
                }
            }
        }
        try result.get()
        return sealed
    }

    /// The plaintext of `sealed`, in memory of its own.
    package mutating func open(_ sealed: [UInt8], associatedData: [UInt8]) throws(NoiseError) -> [UInt8] {
        guard sealed.count >= Self.tagLength else { throw .messageTooShort }
        var plaintext = [UInt8](repeating: 0, count: sealed.count - Self.tagLength)
        var result: Result<Void, NoiseError> = .success(())
        plaintext.withUnsafeMutableBytes { output in
            sealed.withUnsafeBytes { input in
                result = Result { () throws(NoiseError) in
                    try open(input, into: output, associatedData: associatedData)
                }
            }
        }
        try result.get()
        return plaintext
    }

    /// Whether both have the same key, for tests.
    package func hasKey(_ key: SecretBytes) -> Bool { self.key == key }

    /// Lends the nonce of message `number`: four zero bytes, then the number, little endian.
    @inline(__always)
    private static func withNonce<Result>(_ number: UInt64, _ body: (UnsafePointer<UInt8>) -> Result)
        -> Result
    {
        var bytes: (UInt32, UInt32, UInt32) = (
            0, UInt32(truncatingIfNeeded: number).littleEndian,
            UInt32(truncatingIfNeeded: number >> 32).littleEndian
        )
        return withUnsafeBytes(of: &bytes) { raw in
            guard let base = raw.baseAddress else { preconditionFailure("a tuple has an address") }
            return body(base.assumingMemoryBound(to: UInt8.self))
        }
    }
}
