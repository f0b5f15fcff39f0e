package import NIOCore

/// A Noise handshake over a stream of bytes: messages with their length in front (contract/wire.md D.2).
package final class NoiseChannelHandshake: SecureHandshake {
    private var handshake: NoiseHandshake
    private var unread = ByteBuffer()

    package init(_ handshake: NoiseHandshake) {
        self.handshake = handshake
    }

    /// A handshake of `identity` with keys made anew.
    package convenience init(
        role: NoiseXX.Role, identity: Identity, expectedPeer: PeerID?, muxers: [ProtocolID]
    ) {
        self.init(
            NoiseHandshake(
                role: role, identity: identity, expectedPeer: expectedPeer, muxers: muxers,
                staticKey: .generate(), ephemeralKey: .generate()))
    }

    package var tooMuchInput: any Error { NoiseError.tooMuchInput }

    package func start() -> HandshakeStep { take(.start) }
    package func endOfInput() -> HandshakeStep { take(.endOfInput) }
    package func timeOut() -> HandshakeStep { take(.deadlinePassed) }

    package func receive(_ bytes: ByteBuffer) -> HandshakeStep {
        unread.writeImmutableBuffer(bytes)
        var step = HandshakeStep()
        while case .goesOn = step.outcome,
            let length = unread.getInteger(at: unread.readerIndex, as: UInt16.self)
        {
            guard length <= NoiseHandshake.maximumMessageLength else {
                step.outcome = .failed(NoiseError.messageTooLong)
                break
            }
            let whole = NoiseFraming.headerLength + Int(length)
            guard unread.readableBytes >= whole, let frame = unread.readBytes(length: whole) else { break }
            perform(.message(Array(frame.dropFirst(NoiseFraming.headerLength))), &step)
        }
        return step
    }

    private func take(_ input: NoiseHandshakeInput) -> HandshakeStep {
        var step = HandshakeStep()
        perform(input, &step)
        return step
    }

    private func perform(_ input: NoiseHandshakeInput, _ step: inout HandshakeStep) {
        for effect in handshake.receive(input) {
            switch effect {
            case .send(let message):
                var frame = ByteBuffer()
                frame.reserveCapacity(NoiseFraming.headerLength + message.count)
                // The handshake's own messages are a few hundred bytes.
                frame.writeInteger(UInt16(clamping: message.count))
                frame.writeBytes(message)
                step.output.append(frame)
            case .completed(let session, let keys):
                step.outcome = .secured(
                    session, transport: NoiseTransportHandler(keys: keys), early: unread)
                unread = ByteBuffer()
            case .failed(let error):
                step.outcome = .failed(error)
            }
        }
    }
}
