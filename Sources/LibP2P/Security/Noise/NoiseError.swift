package import Multiformats

/// Why a Noise channel came to nothing, or ended.
package enum NoiseError: Error, Hashable, CustomStringConvertible {
    /// A handshake message is shorter than its keys.
    case messageTooShort
    /// A handshake message is longer than any honest one.
    case messageTooLong
    /// A message was not sealed with the keys of this channel.
    case authenticationFailed
    /// The cipher refused to seal, which no input can cause.
    case cipherFailed
    /// The peer's ephemeral or static key is of small order.
    case weakKey
    /// A message came when none was due.
    case unexpectedMessage
    /// The payload of a handshake message cannot be read.
    case malformedPayload(WireError)
    /// The payload's identity key is no key.
    case invalidIdentityKey(KeyError)
    /// The peer's identity did not sign the static key of this handshake.
    case invalidSignature
    /// Another peer answered than the one who was dialled.
    case unexpectedPeer(expected: PeerID, found: PeerID)
    /// A direction of the channel has used every nonce.
    case nonceExhausted
    /// The peer ended the connection during the handshake.
    case endOfStream
    /// The peer sent more than is kept while the connection is being set up.
    case tooMuchInput
    /// The handshake did not complete in time.
    case timedOut

    package var description: String {
        switch self {
        case .messageTooShort: "a Noise message is too short"
        case .messageTooLong: "a Noise handshake message is too long"
        case .authenticationFailed: "a Noise message is not authentic"
        case .cipherFailed: "the cipher refused to seal a message"
        case .weakKey: "the peer's Noise key is of small order"
        case .unexpectedMessage: "a Noise message came out of turn"
        case .malformedPayload(let error): "the Noise handshake payload is malformed: \(error)"
        case .invalidIdentityKey(let error): "the peer's identity is invalid: \(error)"
        case .invalidSignature: "the peer did not prove its identity"
        case .unexpectedPeer(let expected, let found): "\(found) answered where \(expected) was dialled"
        case .nonceExhausted: "the Noise channel has used every nonce"
        case .endOfStream: "the peer ended the connection during the Noise handshake"
        case .tooMuchInput: "the peer sent too much before the connection was set up"
        case .timedOut: "the Noise handshake did not complete in time"
        }
    }
}
