/// A content identifier of version 1: `01` ‖ uvarint(codec) ‖ multihash.
package struct CID: Hashable, Sendable {
    /// The codec of peer IDs.
    package static let libp2pKeyCodec: UInt64 = 0x72
    /// The codec of plain bytes: that of rendezvous keys in the DHT (contract/wire.md H.4).
    package static let rawCodec: UInt64 = 0x55

    /// What the content is.
    package let codec: UInt64
    /// The hash of the content.
    package let multihash: Multihash

    package init(codec: UInt64, multihash: Multihash) {
        self.codec = codec
        self.multihash = multihash
    }

    /// Reads a version 1 identifier that fills `bytes` exactly.
    package init(bytes: [UInt8]) throws(WireError) {
        var cursor = ByteCursor(bytes)
        guard try cursor.readUvarint() == 1 else { throw .invalidField("the CID is not of version 1") }
        self.codec = try cursor.readUvarint()
        self.multihash = try Multihash(bytes: cursor.readRest())
    }

    /// Reads the multibase text of a version 1 identifier.
    package init(_ text: String) throws(CIDTextError) {
        do {
            try self.init(bytes: Multibase.decode(text))
        } catch let error as MultibaseError {
            throw .text(error)
        } catch let error as WireError {
            throw .bytes(error)
        } catch {
            // Both kinds that the calls throw are caught above.
            throw .bytes(.invalidField("unreadable CID"))
        }
    }

    /// The binary form.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = [1]
        bytes.appendUvarint(codec)
        bytes.append(contentsOf: multihash.bytes)
        return bytes
    }

    /// The text in `base`, with the multibase prefix.
    package func text(_ base: Multibase) -> String {
        base.encode(bytes)
    }
}

/// Why a text is no CID.
package enum CIDTextError: Error, Hashable {
    case text(MultibaseError)
    case bytes(WireError)
}
