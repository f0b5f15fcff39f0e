internal import COpenSSL

/// An AEAD for many small messages under one key, numbered by a counter: one way, in place, without
/// allocation. The nonce is four bytes that never change and the counter, 8 bytes big-endian; there is no associated
/// data.
///
/// Sendable unchecked: the context is mutable, and each object belongs to one caller at a time, as the owner of a
/// counter must anyway; it may be handed from thread to thread.
package final class PacketCipher: @unchecked Sendable {
    /// Which AEAD. All have nonces of 12 and tags of 16 bytes.
    package enum Algorithm: UInt8, Hashable, Sendable, CaseIterable {
        case aes256GCM = 1
        case chaCha20Poly1305 = 2
        /// AEAD_AES_128_OCB_TAGLEN128 of RFC 7253.
        case aes128OCB = 4

        /// The bytes of a key.
        package var keyLength: Int { self == .aes128OCB ? 16 : 32 }

        /// Whether libcrypto offers it: builds without OCB exist, and strict FIPS mode has only GCM.
        package var isAvailable: Bool {
            let key = SecretBytes(copying: [UInt8](repeating: 0, count: keyLength))
            return PacketCipher(key: key, algorithm: self, seals: true) != nil
        }

        /// The name by which libcrypto is asked for it. A symbol of its own would have to be there for the agent to
        /// start, and builds without OCB have none.
        fileprivate var name: String {
            switch self {
            case .aes256GCM: "AES-256-GCM"
            case .chaCha20Poly1305: "ChaCha20-Poly1305"
            case .aes128OCB: "AES-128-OCB"
            }
        }
    }

    package static let tagLength = 16

    private let context: OpaquePointer
    /// The nonce, kept aligned so that setting it is one store.
    private let nonce: UnsafeMutablePointer<UInt8>

    /// `noncePrefix`: the first four bytes of the nonce. Nil when the key has another length, or libcrypto does not
    /// offer the cipher, as in strict FIPS mode.
    package init?(key: SecretBytes, algorithm: Algorithm, seals: Bool, noncePrefix: UInt32 = 0) {
        guard key.count == algorithm.keyLength, let context = EVP_CIPHER_CTX_new() else { return nil }
        self.context = context
        self.nonce = .allocate(capacity: 12)
        nonce.initialize(repeating: 0, count: 12)
        UnsafeMutableRawPointer(nonce).storeBytes(of: noncePrefix.bigEndian, as: UInt32.self)
        guard let cipher = EVP_CIPHER_fetch(nil, algorithm.name, nil) else {
            ERR_clear_error()
            return nil
        }
        // The context keeps it.
        defer { EVP_CIPHER_free(cipher) }
        let done = key.withPointer { EVP_CipherInit_ex(context, cipher, nil, $0, nil, seals ? 1 : 0) }
        guard done == 1 else {
            ERR_clear_error()
            return nil
        }
    }

    deinit {
        // Overwrites the key schedule.
        EVP_CIPHER_CTX_free(context)
        nonce.deallocate()
    }

    /// Starts a message that is given in pieces: `update` for each, then `finish`. As for `seal`, a counter must
    /// never be used twice under one key.
    package func begin(_ counter: UInt64) -> Bool {
        UnsafeMutableRawPointer(nonce).storeBytes(of: counter.bigEndian, toByteOffset: 4, as: UInt64.self)
        return EVP_CipherInit_ex(context, nil, nil, nil, nonce, -1) == 1
    }

    /// Encrypts `count` bytes at `bytes` in place and writes the 16 bytes of the tag behind them. A counter must
    /// never be used twice under one key. False when libcrypto fails; nothing may be sent then.
    package func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
        let bytes = bytes.assumingMemoryBound(to: UInt8.self)
        var written: Int32 = 0
        guard begin(counter), EVP_CipherUpdate(context, bytes, &written, bytes, Int32(clamping: count)) == 1,
            // OCB keeps the last part of a block of 16 bytes until here.
            EVP_CipherFinal_ex(context, bytes + Int(written), &written) == 1,
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagLength), bytes + count) == 1
        else {
            ERR_clear_error()
            return false
        }
        return true
    }

    /// Decrypts `count` bytes at `bytes` in place, behind which the tag stands. False when they are not authentic;
    /// what stands there is worth nothing then.
    package func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
        let bytes = bytes.assumingMemoryBound(to: UInt8.self)
        var written: Int32 = 0
        guard begin(counter),
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength), bytes + count) == 1,
            EVP_CipherUpdate(context, bytes, &written, bytes, Int32(clamping: count)) == 1,
            EVP_CipherFinal_ex(context, bytes + Int(written), &written) == 1
        else {
            ERR_clear_error()
            return false
        }
        return true
    }

    /// Encrypts or decrypts the next `count` bytes of the message; the two places are the same or do not overlap.
    /// Pieces of whole blocks of 16 bytes are the fastest. Returns how many bytes were written: all, or with OCB, when
    /// the message so far does not end with a whole block, up to 15 less, which come with the next piece or the end.
    /// Nil when libcrypto fails.
    package func update(_ source: UnsafeRawPointer, into target: UnsafeMutableRawPointer, count: Int) -> Int?
    {
        var written: Int32 = 0
        guard
            EVP_CipherUpdate(
                context, target.assumingMemoryBound(to: UInt8.self), &written,
                source.assumingMemoryBound(to: UInt8.self), Int32(clamping: count)) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return Int(written)
    }

    /// Ends a message that was sealed in pieces: writes what `update` kept to `rest` and the 16 bytes of the tag to
    /// `tag`. False when libcrypto fails.
    package func finishSealing(rest: UnsafeMutableRawPointer, tag: UnsafeMutableRawPointer) -> Bool {
        var written: Int32 = 0
        guard EVP_CipherFinal_ex(context, rest.assumingMemoryBound(to: UInt8.self), &written) == 1,
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagLength), tag) == 1
        else {
            ERR_clear_error()
            return false
        }
        return true
    }

    /// Ends a message that was opened in pieces: writes what `update` kept to `rest`. False when it is not authentic;
    /// what was decrypted is worth nothing then.
    package func finishOpening(rest: UnsafeMutableRawPointer, tag: UnsafeRawPointer) -> Bool {
        var written: Int32 = 0
        // libcrypto takes the tag as mutable and only reads it.
        guard
            EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength), UnsafeMutableRawPointer(mutating: tag))
                == 1,
            EVP_CipherFinal_ex(context, rest.assumingMemoryBound(to: UInt8.self), &written) == 1
        else {
            ERR_clear_error()
            return false
        }
        return true
    }
}
