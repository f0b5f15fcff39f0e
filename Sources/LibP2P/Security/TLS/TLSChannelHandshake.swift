package import NIOCore

/// A TLS handshake over a stream of bytes (contract/wire.md D.3). When it fails, the alert that says why is
/// the last that is sent.
package final class TLSChannelHandshake: SecureHandshake {
    private let session: TLSSession

    package init(_ session: TLSSession) {
        self.session = session
    }

    package var tooMuchInput: any Error { TLSError.tooMuchInput }

    package func start() -> HandshakeStep { receive(ByteBuffer()) }
    package func endOfInput() -> HandshakeStep { HandshakeStep(failed: TLSError.endOfStream) }
    package func timeOut() -> HandshakeStep { HandshakeStep(failed: TLSError.timedOut) }

    package func receive(_ bytes: ByteBuffer) -> HandshakeStep {
        var step = HandshakeStep()
        var bytes = bytes
        do throws(TLSError) {
            if let secured = try session.handshake(&bytes) {
                // What came behind the handshake is sealed already.
                step.outcome = .secured(secured, transport: TLSTransportHandler(session), early: bytes)
            }
        } catch {
            step.outcome = .failed(error)
        }
        if let output = session.takeOutput() { step.output.append(output) }
        return step
    }
}
