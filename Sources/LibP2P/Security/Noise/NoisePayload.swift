internal import Multiformats

/// What each side proves and offers during the handshake (contract/wire.md D.2): the payload of
/// messages 2 and 3. Written by hand because it is read before the peer is authenticated.
package struct NoisePayload: Hashable, Sendable {
    /// A longer list of muxers counts as none.
    package static let maximumMuxers = 100

    private static let signedPrefix = Array("noise-libp2p-static-key:".utf8)

    /// The encoded public key of the sender's identity.
    package let identityKey: [UInt8]
    /// The identity's signature over the sender's static key.
    package let signature: [UInt8]
    /// The muxers that the sender speaks, best first.
    package let muxers: [ProtocolID]

    /// The payload by which `identity` vouches for its static key in this handshake.
    package init(identity: Identity, staticKey: [UInt8], muxers: [ProtocolID]) {
        self.identityKey = identity.publicKey.bytes
        self.signature = identity.sign(Self.signedPrefix + staticKey)
        self.muxers = muxers
    }

    /// Reads a payload. Whether it proves anything, `verify` says.
    package init(bytes: [UInt8]) throws(NoiseError) {
        var key: [UInt8] = []
        var signature: [UInt8] = []
        var muxers: [ProtocolID] = []
        do throws(WireError) {
            var fields = ProtobufFields(bytes)
            while let field = try fields.next() {
                switch field.number {
                case 1: key = Array(try field.bytes())
                case 2: signature = Array(try field.bytes())
                case 4:
                    var extensions = ProtobufFields(try field.bytes())
                    while let field = try extensions.next() {
                        guard field.number == 2, muxers.count <= Self.maximumMuxers else { continue }
                        muxers.append(ProtocolID(rawValue: try field.text()))
                    }
                default: break
                }
            }
        } catch {
            throw .malformedPayload(error)
        }
        self.identityKey = key
        self.signature = signature
        self.muxers = muxers.count <= Self.maximumMuxers ? muxers : []
    }

    /// The payload as it is sent. The extensions are there even when they are empty, as go-libp2p
    /// sends them.
    package var bytes: [UInt8] {
        var extensions: [UInt8] = []
        for muxer in muxers { extensions.appendProtobuf(field: 2, bytes: muxer.rawValue.utf8) }
        var bytes: [UInt8] = []
        bytes.appendProtobuf(field: 1, bytes: identityKey)
        bytes.appendProtobuf(field: 2, bytes: signature)
        bytes.appendProtobuf(field: 4, bytes: extensions)
        return bytes
    }

    /// The identity that vouches for `staticKey`, which came in the same handshake.
    package func verify(staticKey: [UInt8], expecting expected: PeerID?) throws(NoiseError) -> PublicKey {
        let key: PublicKey
        do throws(KeyError) {
            key = try PublicKey(bytes: identityKey)
        } catch {
            throw .invalidIdentityKey(error)
        }
        let found = PeerID(key)
        if let expected, found != expected { throw .unexpectedPeer(expected: expected, found: found) }
        guard key.verify(signature, of: Self.signedPrefix + staticKey) else { throw .invalidSignature }
        return key
    }
}
