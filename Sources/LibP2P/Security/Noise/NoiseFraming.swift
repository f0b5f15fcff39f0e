package import NIOCore

/// The transport phase of a Noise channel: `uint16 BE length ‖ ciphertext`, each at most 65535 bytes
/// (contract/wire.md D.2). The one place that every byte of every connection passes, so it seals and
/// opens from buffer to buffer, with one allocation for many frames.
package struct NoiseFraming {
    /// The length in front of a frame.
    static let headerLength = 2
    /// The longest ciphertext of a frame.
    package static let maximumCiphertext = 65535
    /// The longest plaintext of a frame.
    package static let maximumPlaintext = maximumCiphertext - NoiseCipher.tagLength

    private var sending: NoiseCipher
    private var receiving: NoiseCipher

    package init(keys: NoiseXX.Keys) {
        self.sending = keys.sending
        self.receiving = keys.receiving
    }

    /// How many bytes the frames around `count` bytes of plaintext take.
    package static func sealedLength(of count: Int) -> Int {
        let frames = (count + maximumPlaintext - 1) / maximumPlaintext
        return count + frames * (headerLength + NoiseCipher.tagLength)
    }

    /// Appends the frames that carry `plaintext` to `output`: none when it is empty.
    package mutating func seal(_ plaintext: ByteBuffer, into output: inout ByteBuffer) throws(NoiseError) {
        output.reserveCapacity(minimumWritableBytes: Self.sealedLength(of: plaintext.readableBytes))
        var result: Result<Void, NoiseError> = .success(())
        plaintext.withUnsafeReadableBytes { source in
            var rest = source[...]
            while !rest.isEmpty {
                let chunk = rest.prefix(Self.maximumPlaintext)
                rest = rest.dropFirst(chunk.count)
                let length = chunk.count + NoiseCipher.tagLength
                // A chunk has at most maximumPlaintext bytes, so the length fits 16 bits.
                output.writeInteger(UInt16(truncatingIfNeeded: length))
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { target in
                    do throws(NoiseError) {
                        try sending.seal(UnsafeRawBufferPointer(rebasing: chunk), into: target)
                        return length
                    } catch {
                        result = .failure(error)
                        return 0
                    }
                }
                if case .failure = result { return }
            }
        }
        try result.get()
    }

    /// Opens every whole frame at the front of `input` and appends their plaintext to `output`. What
    /// is left in `input` is the beginning of a frame. After an error the channel is worth nothing.
    package mutating func open(_ input: inout ByteBuffer, into output: inout ByteBuffer) throws(NoiseError) {
        output.reserveCapacity(minimumWritableBytes: input.readableBytes)
        while let length = input.getInteger(at: input.readerIndex, as: UInt16.self).map(Int.init),
            input.readableBytes >= Self.headerLength + length
        {
            guard length >= NoiseCipher.tagLength else { throw .messageTooShort }
            var result: Result<Void, NoiseError> = .success(())
            input.withUnsafeReadableBytes { source in
                let sealed = source[Self.headerLength..<(Self.headerLength + length)]
                let count = length - NoiseCipher.tagLength
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
                    do throws(NoiseError) {
                        try receiving.open(UnsafeRawBufferPointer(rebasing: sealed), into: target)
                        return count
                    } catch {
                        result = .failure(error)
                        return 0
                    }
                }
            }
            try result.get()
            input.moveReaderIndex(forwardBy: Self.headerLength + length)
        }
    }
}
