package import Ledger
package import LibP2P

/// Why the data of a room's message holds no block, by the stage at which it fails.
package enum RoomMessageError: Error, Hashable, Sendable {
    /// The data, or the block inside, is larger than the network allows.
    case tooLarge(limit: Int)
    /// The data is not the JSON of a hub message; stock nodes drop it silently.
    case notHubMessage(JSONError)
    /// The message inside does not open with any valid key.
    case notOpened(SealingError)
    /// What was sealed does not unpack.
    case notUnpacked(GzipError)
    /// What was packed is no block.
    case notABlock(JSONError)
}

/// Blocks as the data of pubsub messages: JSON, packed, sealed, and put into a hub message
/// (contract/wire.md J.4, J.5).
package struct RoomCodec: Sendable {
    /// The largest message of the room, in bytes; also the most that a message unpacks to.
    package let limit: Int

    package init(limit: Int) {
        self.limit = limit
    }

    /// The data to publish for `block`, sealed under `key` with `nonce` (12 bytes, never used twice).
    package func encode(_ block: Block, key: SecretBytes, nonce: [UInt8]) throws(RoomMessageError) -> [UInt8]
    {
        let sealed: [UInt8]
        do {
            sealed = try Sealing.seal(try Gzip.pack(block.encoded()), key: key, nonce: nonce)
        } catch let error as SealingError {
            throw .notOpened(error)
        } catch {
            throw .notUnpacked(.outOfMemory)
        }
        let data = Self.hubMessage(sealed)
        guard data.count <= limit else { throw .tooLarge(limit: limit) }
        return data
    }

    /// The block in received data, opened with the first of `keys` that fits.
    package func decode(_ data: [UInt8], keys: [SecretBytes]) throws(RoomMessageError) -> Block {
        guard data.count <= limit else { throw .tooLarge(limit: limit) }
        let sealed: LedgerText
        do {
            sealed = try Self.sealedText(data)
        } catch {
            throw .notHubMessage(error)
        }
        let packed: [UInt8]
        do {
            packed = try Sealing.open(sealed.utf8, keys: keys)
        } catch {
            throw .notOpened(error)
        }
        let json: [UInt8]
        do {
            json = try Gzip.unpack(packed, limit: limit)
        } catch {
            throw .notUnpacked(error)
        }
        do {
            return try Block.decode(json, limits: BlockLimits(maximumBytes: limit))
        } catch {
            throw .notABlock(error)
        }
    }

    /// The hub message that carries a sealed text.
    package static func hubMessage(_ sealed: [UInt8]) -> [UInt8] {
        // The sealed text is hex, so nothing in it needs escaping.
        Array(#"{"Message":""#.utf8) + sealed + Array(#"","SenderID":"","Annotations":null}"#.utf8)
    }

    /// The sealed text of a hub message, empty when it carries none.
    package static func sealedText(_ data: [UInt8]) throws(JSONError) -> LedgerText {
        var reader = JSONReader(data)
        var sealed: LedgerText = ""
        if try !reader.readNull() {
            try reader.readObject { (reader, name) throws(JSONError) in
                if try reader.readNull() { return }
                if name.namesField("Message") {
                    sealed = try reader.readText()
                } else if name.namesField("SenderID") {
                    // The sender is whoever delivered the message, whatever it claims.
                    _ = try reader.readText()
                } else if name.namesField("Annotations"), try reader.peek() != .object {
                    throw .wrongType(offset: reader.offset)
                } else {
                    try reader.skipValue()
                }
            }
        }
        try reader.finish()
        return sealed
    }
}
