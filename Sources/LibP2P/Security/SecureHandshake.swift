package import NIOCore

/// A handshake that makes a channel of bytes secure, as `HandshakeHandler` runs it: bytes in, bytes and an
/// outcome out. After an outcome other than `goesOn` it is not called again.
package protocol SecureHandshake: AnyObject {
    /// The channel is open.
    func start() -> HandshakeStep
    /// Bytes came from the peer.
    func receive(_ bytes: ByteBuffer) -> HandshakeStep
    /// The peer sends no more.
    func endOfInput() -> HandshakeStep
    /// The time for the handshake is over.
    func timeOut() -> HandshakeStep
    /// The error of a peer that sends more than is kept while the pipeline is set up.
    var tooMuchInput: any Error { get }
}

/// What a handshake wants done next.
package struct HandshakeStep {
    package enum Outcome {
        /// More bytes are needed.
        case goesOn
        /// The channel is secure: `transport` opens and seals from here on, `early` is what came behind
        /// the handshake, still sealed.
        case secured(SecureSession, transport: any ChannelHandler, early: ByteBuffer)
        /// There is no secure channel.
        case failed(any Error)
    }

    /// What is sent first, whatever the outcome.
    package var output: [ByteBuffer] = []
    package var outcome: Outcome = .goesOn

    package init() {}

    package init(failed error: any Error) {
        outcome = .failed(error)
    }
}
