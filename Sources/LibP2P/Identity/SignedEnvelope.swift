package import Multiformats

/// A payload with the key that signed it, for a purpose that the signature covers
/// (contract/wire.md D.6). A value has a valid signature: there is no other way to get one.
package struct SignedEnvelope: Hashable, Sendable {
    /// The longest envelope that is read; identify messages end at 8192 bytes.
    package static let maximumLength = 16384

    /// Whose signature it is.
    package let publicKey: PublicKey
    /// What the payload is, such as `03 01` for a peer record.
    package let payloadType: [UInt8]
    package let payload: [UInt8]
    package let signature: [UInt8]

    /// Signs `payload` for the purpose `domain`.
    package init(domain: String, payloadType: [UInt8], payload: [UInt8], signedBy identity: Identity) {
        self.publicKey = identity.publicKey
        self.payloadType = payloadType
        self.payload = payload
        self.signature = identity.sign(Self.signedBytes(domain: domain, type: payloadType, payload: payload))
    }

    /// Reads an envelope and judges its signature. Throws unless it was signed for `domain`.
    package init(bytes: some Collection<UInt8>, domain: String) throws(SignedEnvelopeError) {
        guard bytes.count <= Self.maximumLength else {
            throw .malformed(.tooLong(length: UInt64(bytes.count), maximum: Self.maximumLength))
        }
        var key: ArraySlice<UInt8>?
        var type: ArraySlice<UInt8> = []
        var payload: ArraySlice<UInt8> = []
        var signature: ArraySlice<UInt8> = []
        do throws(WireError) {
            var fields = ProtobufFields(Array(bytes))
            while let field = try fields.next() {
                switch field.number {
                case 1: key = try field.bytes()
                case 2: type = try field.bytes()
                case 3: payload = try field.bytes()
                case 5: signature = try field.bytes()
                default: break
                }
            }
        } catch {
            throw .malformed(error)
        }
        guard let key else { throw .malformed(.missingField("public_key")) }
        do throws(KeyError) {
            self.publicKey = try PublicKey(bytes: key)
        } catch {
            throw .invalidKey(error)
        }
        self.payloadType = Array(type)
        self.payload = Array(payload)
        self.signature = Array(signature)
        let signed = Self.signedBytes(domain: domain, type: self.payloadType, payload: self.payload)
        guard publicKey.verify(signature, of: signed) else { throw .invalidSignature }
    }

    /// The envelope as it is sent.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendProtobuf(field: 1, bytes: publicKey.bytes)
        bytes.appendProtobuf(field: 2, bytes: payloadType)
        bytes.appendProtobuf(field: 3, bytes: payload)
        bytes.appendProtobuf(field: 5, bytes: signature)
        return bytes
    }

    private static func signedBytes(domain: String, type: [UInt8], payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendLengthPrefixed(domain.utf8)
        bytes.appendLengthPrefixed(type)
        bytes.appendLengthPrefixed(payload)
        return bytes
    }
}

/// Why an envelope is not believed.
package enum SignedEnvelopeError: Error, Hashable {
    case malformed(WireError)
    case invalidKey(KeyError)
    /// The key in the envelope did not sign this payload for this purpose.
    case invalidSignature
    /// The payload is of another type than was asked for.
    case wrongType
    /// The payload speaks of another peer than the one who signed.
    case wrongPeer
}
