package import LibP2P

/// Why a sealed text does not open.
package enum SealingError: Error, Hashable, Sendable {
    /// The text is not hex, or too short to hold a nonce and a tag.
    case malformed
    /// It was sealed with another key, or changed since.
    case notAuthentic
    /// The system's library does not offer the cipher.
    case unavailable
}

/// How a stock node hides what it says in the room: AES-256-GCM, as the lower-case hex of nonce,
/// ciphertext and tag (contract/wire.md J.3).
package enum Sealing {
    /// The length of a nonce in bytes.
    package static let nonceLength = AESGCM.nonceLength

    /// The AES key of a key text: its bytes, cut or padded with zeros to 32.
    package static func key(_ text: some Collection<UInt8>) -> SecretBytes {
        let bytes = Array(text.prefix(AESGCM.keyLength))
        return SecretBytes(copying: bytes + [UInt8](repeating: 0, count: AESGCM.keyLength - bytes.count))
    }

    /// Seals `plaintext` under `key` (32 bytes) with `nonce` (12 bytes, never used twice).
    package static func seal(
        _ plaintext: [UInt8], key: SecretBytes, nonce: [UInt8]
    ) throws(SealingError) -> [UInt8] {
        do {
            return HexText.encode(nonce + (try AESGCM.seal(plaintext, key: key, nonce: nonce)))
        } catch {
            throw .unavailable
        }
    }

    /// Opens a sealed text with the first of `keys` that fits.
    package static func open(
        _ text: some Collection<UInt8>, keys: [SecretBytes]
    ) throws(SealingError) -> [UInt8] {
        guard let bytes = HexText.decode(text), bytes.count >= AESGCM.nonceLength + AESGCM.tagLength else {
            throw .malformed
        }
        var problem = SealingError.notAuthentic
        for key in keys {
            do {
                let nonce = bytes.prefix(AESGCM.nonceLength)
                return try AESGCM.open(bytes.dropFirst(AESGCM.nonceLength), key: key, nonce: nonce)
            } catch {
                if case .unavailable = error { problem = .unavailable }
            }
        }
        throw problem
    }
}
