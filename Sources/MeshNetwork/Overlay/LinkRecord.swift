package import LibP2P
package import Multiformats
internal import Timing

/// What a node says of itself to all others: where it can be dialled and whom it is connected to.
///
/// ```
/// 01 ‖ peer ID ‖ version ‖ addresses ‖ links ‖ signature
/// ```
///
/// The peer ID and each address are preceded by their length as a uvarint, the lists by their count; the
/// version is 8 bytes big-endian, a link the 8 bytes of the other's tag and one of flags; the signature is
/// 64 bytes by the key inside the peer ID, over a name, the network's tag and everything before it. Of two
/// records of one peer the greater version counts, so one that is said again does nothing, and a record of
/// another network is none.
package struct LinkRecord: Hashable, Sendable {
    /// A connection of the record's owner.
    package struct Link: Hashable, Sendable {
        /// The short name of the peer at the other end.
        package let tag: UInt64
        /// Whether the owner keeps the connection for its own sake. One that is not wanted at either end
        /// may be closed.
        package let isWanted: Bool
    }

    package static let maximumAddresses = 8
    package static let maximumLinks = 64
    /// The longest record in bytes.
    package static let maximumLength = 2048
    private static let maximumAddressLength = 128
    private static let format: UInt8 = 1
    private static let signatureLength = 64

    /// The owner.
    package let peer: PeerID
    /// At most `WireCounter.greatest`.
    package let version: UInt64
    package let addresses: [Multiaddr]
    package let links: [Link]
    /// The bytes on the wire, with the signature.
    package let encoded: [UInt8]

    /// Signs a record of the owner of `identity` in the network of `scope`. What goes beyond the limits is
    /// left out.
    init(identity: Identity, version: UInt64, addresses: [Multiaddr], links: [Link], scope: [UInt8]) {
        peer = identity.peerID
        self.version = version
        self.addresses = Array(
            addresses.filter { $0.bytes.count <= Self.maximumAddressLength }.prefix(Self.maximumAddresses))
        self.links = Array(links.prefix(Self.maximumLinks))
        var bytes: [UInt8] = [Self.format]
        bytes.appendLengthPrefixed(peer.bytes)
        bytes.appendBigEndian(version)
        bytes.appendUvarint(UInt64(self.addresses.count))
        for address in self.addresses { bytes.appendLengthPrefixed(address.bytes) }
        bytes.appendUvarint(UInt64(self.links.count))
        for link in self.links {
            bytes.appendBigEndian(link.tag)
            bytes.append(link.isWanted ? 1 : 0)
        }
        encoded = bytes + identity.sign(Self.signed(bytes, scope))
    }

    /// Reads a record's bytes without looking at the signature, see `isAuthentic`. Throws
    /// `LinkRecordError` when they are no record or go over a limit.
    package init(decoding bytes: [UInt8]) throws(LinkRecordError) {
        guard bytes.count <= Self.maximumLength else { throw .tooLarge }
        do {
            var cursor = ByteCursor(bytes)
            guard try cursor.readUInt8() == Self.format else { throw LinkRecordError.unknownFormat }
            peer = try PeerID(bytes: try cursor.readLengthPrefixed(maximum: 64))
            version = try cursor.readUInt64()
            guard WireCounter(version) != nil else { throw LinkRecordError.malformed }
            let addressCount = try cursor.readUvarint()
            guard addressCount <= UInt64(Self.maximumAddresses) else { throw LinkRecordError.tooLarge }
            var addresses: [Multiaddr] = []
            for _ in 0..<addressCount {
                let address = try cursor.readLengthPrefixed(maximum: Self.maximumAddressLength)
                addresses.append(try Multiaddr(bytes: address))
            }
            let linkCount = try cursor.readUvarint()
            guard linkCount <= UInt64(Self.maximumLinks) else { throw LinkRecordError.tooLarge }
            var links: [Link] = []
            for _ in 0..<linkCount {
                let tag = try cursor.readUInt64()
                let flags = try cursor.readUInt8()
                links.append(Link(tag: tag, isWanted: flags & 1 != 0))
            }
            _ = try cursor.readBytes(Self.signatureLength)
            try cursor.expectEnd()
            self.addresses = addresses
            self.links = links
            encoded = bytes
        } catch let error as LinkRecordError {
            throw error
        } catch {
            throw .malformed
        }
    }

    /// Whether the owner has signed the record for the network of `scope`.
    func isAuthentic(scope: [UInt8]) -> Bool {
        guard let key = peer.publicKey, encoded.count > Self.signatureLength else { return false }
        let content = Array(encoded.dropLast(Self.signatureLength))
        return key.verify(encoded.suffix(Self.signatureLength), of: Self.signed(content, scope))
    }

    private static func signed(_ content: [UInt8], _ scope: [UInt8]) -> [UInt8] {
        var bytes = Array("kairos/links/1.0.0".utf8)
        bytes.appendLengthPrefixed(scope)
        return bytes + content
    }
}

/// Why bytes are no record.
package enum LinkRecordError: Error, Hashable, Sendable {
    case unknownFormat
    case malformed
    case tooLarge
}
