/// Why a yamux session ended. The streams of the session fail with it.
package enum YamuxError: Error, Hashable, Sendable {
    /// The first byte of a header was not 0: the other end speaks another protocol.
    case unsupportedVersion(UInt8)
    /// The second byte of a header was above 3.
    case unknownFrameType(UInt8)
    /// The other end opened a stream with an ID of our half, or 0.
    case wrongStreamParity(UInt32)
    /// The other end opened a stream that is open.
    case duplicateStream(UInt32)
    /// More data than the window allowed.
    case windowExceeded(UInt32)
    /// Too many frames that mean nothing: see `GlitchBudget`.
    case tooManyGlitches
    /// Nothing was heard for the keep-alive timeout.
    case keepAliveTimeout
    /// The other end said that it goes away, with this code.
    case remoteGoAway(UInt32)
    /// This end closed the session with this code.
    case closed(UInt32)
    /// The connection beneath ended without a word.
    case connectionLost
    /// All 2^31 stream IDs of this end are used up; the connection must be replaced.
    case streamIDsExhausted

    /// The code to tell the other end before the connection is closed; nil to say nothing, as the
    /// real implementation does where the byte stream itself makes no sense (vectors `yamux.json`).
    package var goAwayCode: UInt32? {
        switch self {
        case .duplicateStream, .windowExceeded: 1
        case .tooManyGlitches: GoAwayCode.rateLimited
        case .closed(let code): code == 0 ? nil : code
        case .unsupportedVersion, .unknownFrameType, .wrongStreamParity, .keepAliveTimeout, .remoteGoAway,
            .connectionLost, .streamIDsExhausted:
            nil
        }
    }
}

/// The codes of a GoAway frame that libp2p gives a meaning (contract/wire.md D.4).
package enum GoAwayCode {
    package static let normal: UInt32 = 0
    package static let protocolError: UInt32 = 1
    package static let internalError: UInt32 = 2
    package static let resourceLimit: UInt32 = 0x1001
    package static let rateLimited: UInt32 = 0x1002
    package static let protocolViolation: UInt32 = 0x1003
    package static let supplanted: UInt32 = 0x1004
    package static let garbageCollected: UInt32 = 0x1005
    package static let shutdown: UInt32 = 0x1006
    package static let gated: UInt32 = 0x1007
}
