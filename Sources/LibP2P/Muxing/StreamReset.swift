/// Resets a stream: triggered as a user outbound event on the stream's channel, thrown as the
/// error that fails it when the other end resets. Codes are libp2p's (contract/wire.md D.4).
package struct StreamReset: Error, Hashable, Sendable {
    /// The code on the wire.
    package let code: UInt32

    package init(code: UInt32) {
        self.code = code
    }

    package static let unspecified = StreamReset(code: 0)
    package static let negotiationFailed = StreamReset(code: 0x1001)
    package static let resourceLimit = StreamReset(code: 0x1002)
    package static let rateLimited = StreamReset(code: 0x1003)
    package static let protocolViolation = StreamReset(code: 0x1004)
    package static let supplanted = StreamReset(code: 0x1005)
    package static let garbageCollected = StreamReset(code: 0x1006)
    package static let shutdown = StreamReset(code: 0x1007)
    package static let gated = StreamReset(code: 0x1008)
}
