import LibP2P
import TestSupport
import Testing

@Suite("Cryptographic building blocks")
struct CryptoTests {
    @Test("SHA-256, HMAC-SHA-256, HKDF and MD5 give the published answers")
    func hashes() throws {
        #expect(
            Hex.encode(Crypto.sha256(Array("abc".utf8)))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(Crypto.sha256(concatenating: [0x61], [], [0x62, 0x63]) == Crypto.sha256(Array("abc".utf8)))
        #expect(
            Hex.encode(Crypto.sha256([UInt8]()))
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        // RFC 4231, cases 2 and 6.
        #expect(
            Hex.encode(
                Crypto.hmacSHA256(
                    key: Array("Jefe".utf8), message: Array("what do ya want for nothing?".utf8)))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        #expect(
            Hex.encode(
                Crypto.hmacSHA256(
                    key: [UInt8](repeating: 0xaa, count: 131),
                    message: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)))
                == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        // RFC 5869, case 1.
        let key = Crypto.hkdfSHA256(
            secret: SecretBytes(copying: [UInt8](repeating: 0x0b, count: 22)),
            salt: try #require(Hex.decode("000102030405060708090a0b0c")),
            info: try #require(Hex.decode("f0f1f2f3f4f5f6f7f8f9")), count: 42)
        #expect(
            key.withUnsafeBytes { Hex.encode($0) }
                == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
        #expect(Hex.encode(try Crypto.md5(Array("abc".utf8))) == "900150983cd24fb0d6963f7d28e17f72")
        #expect(Hex.encode(try Crypto.md5([UInt8]())) == "d41d8cd98f00b204e9800998ecf8427e")
    }

    @Test("AES-256-GCM seals as the contract's example and opens only what was sealed")
    func aes() throws {
        let key = SecretBytes(copying: Array("93284348a2d2ffb22d756a4df52b3a21".utf8))
        let nonce = (0..<12).map { UInt8($0) }
        let sealed = try AESGCM.seal(Array("hello".utf8), key: key, nonce: nonce)
        #expect(Hex.encode(sealed) == "4553c268ba754693cf18c11e8ce3777ad3ebc9c983")
        #expect(try AESGCM.open(sealed, key: key, nonce: nonce) == Array("hello".utf8))
        for index in sealed.indices {
            var altered = sealed
            altered[index] ^= 1
            #expect(throws: CryptoError.authenticationFailed) {
                try AESGCM.open(altered, key: key, nonce: nonce)
            }
        }
        #expect(throws: CryptoError.authenticationFailed) {
            try AESGCM.open(sealed.dropLast(), key: key, nonce: nonce)
        }
        #expect(throws: CryptoError.authenticationFailed) {
            try AESGCM.open([1, 2, 3], key: key, nonce: nonce)
        }
        #expect(throws: CryptoError.authenticationFailed) {
            try AESGCM.open(sealed, key: key, nonce: nonce, associatedData: [1])
        }
        #expect(throws: CryptoError.invalidLength("AES-GCM nonce")) {
            try AESGCM.seal([], key: key, nonce: [1])
        }
        #expect(throws: CryptoError.invalidLength("AES-256 key")) {
            try AESGCM.seal([], key: SecretBytes(copying: [1]), nonce: nonce)
        }
        let bound = try AESGCM.seal([], key: key, nonce: nonce, associatedData: [1, 2])
        #expect(bound.count == 16)
        #expect(try AESGCM.open(bound, key: key, nonce: nonce, associatedData: [1, 2]) == [])
    }

    @Test("ChaCha20-Poly1305 gives RFC 8439's answer and opens only what was sealed")
    func chaCha() throws {
        let key = SecretBytes(copying: (0x80...0x9f).map { UInt8($0) })
        let nonce = try #require(Hex.decode("070000004041424344454647"))
        let data = try #require(Hex.decode("50515253c0c1c2c3c4c5c6c7"))
        let text =
            "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
            + "sunscreen would be it."
        let sealed = try ChaChaPoly.seal(Array(text.utf8), key: key, nonce: nonce, associatedData: data)
        #expect(Hex.encode(sealed.suffix(16)) == "1ae10b594f09e26a7e902ecbd0600691")
        #expect(Hex.encode(sealed.prefix(8)) == "d31a8d34648e60db")
        #expect(try ChaChaPoly.open(sealed, key: key, nonce: nonce, associatedData: data) == Array(text.utf8))
        #expect(throws: CryptoError.authenticationFailed) {
            try ChaChaPoly.open(sealed, key: key, nonce: nonce)
        }
    }

    @Test("X25519 gives the contract's public keys, agrees both ways and refuses points of small order")
    func x25519() throws {
        let left = try X25519.KeyPair(privateKey: SecretBytes(copying: [UInt8](repeating: 0x11, count: 32)))
        let right = try X25519.KeyPair(privateKey: SecretBytes(copying: [UInt8](repeating: 0x22, count: 32)))
        #expect(
            Hex.encode(left.publicKey) == "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13")
        #expect(
            Hex.encode(right.publicKey) == "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20")
        let shared = try left.sharedSecret(with: right.publicKey)
        #expect(try right.sharedSecret(with: left.publicKey) == shared)
        #expect(try X25519.KeyPair.generate().sharedSecret(with: right.publicKey) != shared)
        for weak in [[UInt8](repeating: 0, count: 32), [1] + [UInt8](repeating: 0, count: 31)] {
            #expect(throws: CryptoError.weakSharedSecret) { try left.sharedSecret(with: weak) }
        }
        #expect(throws: CryptoError.invalidLength("X25519 public key")) { try left.sharedSecret(with: [1]) }
    }

    @Test("equality in constant time is equality")
    func constantTime() {
        #expect(Crypto.constantTimeEqual([1, 2, 3], [1, 2, 3]))
        #expect(!Crypto.constantTimeEqual([1, 2, 3], [1, 2, 4]))
        #expect(!Crypto.constantTimeEqual([1, 2, 3], [1, 2]))
        #expect(Crypto.constantTimeEqual([UInt8](), []))
        #expect(SecretBytes(copying: [1]) == SecretBytes(copying: [1]))
        #expect(SecretBytes(copying: [1]) != SecretBytes(copying: [2]))
        #expect(SecretBytes(copying: []) == SecretBytes(copying: []))
    }

    @Test("a secret takes its source over")
    func consuming() {
        var source: [UInt8] = [1, 2, 3]
        let secret = SecretBytes(consuming: &source)
        #expect(source.isEmpty)
        #expect(secret == SecretBytes(copying: [1, 2, 3]))
        #expect(Crypto.randomBytes(32) != Crypto.randomBytes(32))
        #expect(SecretBytes.random(count: 32) != SecretBytes.random(count: 32))
    }
}
