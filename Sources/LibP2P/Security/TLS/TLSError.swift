/// Why a TLS channel came to nothing, or ended.
package enum TLSError: Error, Hashable, CustomStringConvertible {
    /// The peer's certificate proves nothing.
    case invalidCertificate(TLSCertificateError)
    /// Another peer answered than the one who was dialled.
    case unexpectedPeer(expected: PeerID, found: PeerID)
    /// The peer refused this end with the alert of this number (RFC 8446 section 6.2).
    case alert(UInt8)
    /// What the peer sent is no TLS 1.3 as libp2p uses it; libssl's words.
    case protocolViolation(String)
    /// The peer ended the connection during the handshake.
    case endOfStream
    /// The connection ended without the peer's goodbye: something may be missing.
    case truncated
    /// The peer sent more than an honest handshake takes, or than is kept while the connection is set up.
    case tooMuchInput
    /// The handshake did not complete in time.
    case timedOut
    /// The system's libssl refuses what libp2p needs.
    case unavailable(String)

    package var description: String {
        switch self {
        case .invalidCertificate(let error): "the peer's certificate is refused: \(error)"
        case .unexpectedPeer(let expected, let found): "\(found) answered where \(expected) was dialled"
        case .alert(let number): "the peer refused the TLS connection: \(Self.meaning(ofAlert: number))"
        case .protocolViolation(let reason): "the peer does not speak TLS 1.3 as libp2p does: \(reason)"
        case .endOfStream: "the peer ended the connection during the TLS handshake"
        case .truncated: "the TLS connection ended without a goodbye"
        case .tooMuchInput: "the peer sent too much before the connection was set up"
        case .timedOut: "the TLS handshake did not complete in time"
        case .unavailable(let what):
            "libssl refuses \(what) (strict FIPS mode, or a setting of openssl.cnf?)"
        }
    }

    private static func meaning(ofAlert number: UInt8) -> String {
        switch number {
        case 40: "no common parameters (alert 40)"
        case 42: "it does not accept our certificate (alert 42: is this node the peer that it dialled?)"
        case 43: "it does not know our certificate's kind of key (alert 43)"
        case 45: "it takes our certificate to be expired (alert 45: compare both clocks)"
        case 48: "it wants a certificate of an authority (alert 48: not a libp2p peer)"
        case 70: "it has no TLS 1.3 (alert 70)"
        case 116: "it saw no certificate of ours (alert 116)"
        case 120: "it has neither our muxers nor libp2p's (alert 120)"
        default: "alert \(number)"
        }
    }
}

/// Why a chain of certificates proves no identity (contract/wire.md D.3).
package enum TLSCertificateError: Error, Hashable, CustomStringConvertible {
    /// There is not exactly one certificate but this many.
    case count(Int)
    /// The bytes are no certificate, or more than one.
    case malformed
    /// The certificate's time has not begun.
    case notYetValid
    /// The certificate's time is over.
    case expired
    /// The certificate's own key did not sign it, or with an algorithm that is too weak.
    case notSelfSigned
    /// An extension that is said to be critical is not known.
    case unknownCriticalExtension
    /// An extension is there twice.
    case duplicateExtension
    /// The extension with the identity is missing.
    case missingExtension
    /// The extension with the identity cannot be read.
    case malformedExtension
    /// The identity is no key.
    case invalidIdentityKey(KeyError)
    /// The identity did not sign the certificate's key.
    case invalidSignature

    package var description: String {
        switch self {
        case .count(let count): "one certificate is expected, not \(count)"
        case .malformed: "it cannot be read"
        case .notYetValid: "its time has not begun: is this node's clock right?"
        case .expired: "its time is over: is this node's clock right?"
        case .notSelfSigned: "it is not signed with its own key"
        case .unknownCriticalExtension: "a critical extension is not known"
        case .duplicateExtension: "an extension is there twice"
        case .missingExtension: "it names no libp2p identity"
        case .malformedExtension: "the libp2p identity cannot be read"
        case .invalidIdentityKey(let error): "the libp2p identity is invalid: \(error)"
        case .invalidSignature: "the libp2p identity did not sign it"
        }
    }
}
