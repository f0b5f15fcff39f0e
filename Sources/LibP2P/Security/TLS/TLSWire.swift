internal import COpenSSL
internal import NIOCore

/// The bytes of one TLS connection outside of libssl, and the BIO by which libssl reaches them: it
/// reads straight from the buffer that came from the wire, for as long as that is lent, and writes
/// straight to the buffer that goes to the wire.
///
/// The BIO does not own the object: its owner frees the BIO before it lets go of the object.
final class TLSWire {
    /// The rest of what came from the wire; there while it is lent to libssl.
    private var input = UnsafeRawBufferPointer(start: nil, count: 0)
    /// What is to go to the wire, or has gone there.
    private var output = ByteBuffer()
    private var isOutputTaken = false
    /// A larger output is a burst's; its memory is not kept.
    private static let keptCapacity = 256 * 1024

    /// Lends what is readable in `bytes` to libssl during `body`; what it takes is taken from `bytes`.
    func withInput<Result>(_ bytes: inout ByteBuffer, _ body: () -> Result) -> Result {
        let (result, left) = bytes.withUnsafeReadableBytes { source in
            input = source
            defer { input = UnsafeRawBufferPointer(start: nil, count: 0) }
            let result = body()
            return (result, input.count)
        }
        bytes.moveReaderIndex(forwardBy: bytes.readableBytes - left)
        return result
    }

    /// How many bytes wait for the wire.
    var outputCount: Int { isOutputTaken ? 0 : output.readableBytes }

    /// Takes what is to go to the wire; nil when that is nothing.
    func takeOutput() -> ByteBuffer? {
        guard outputCount > 0 else { return nil }
        isOutputTaken = true
        return output
    }

    /// Makes room for `count` more bytes.
    func reserveOutput(_ count: Int) {
        forgetTaken()
        output.reserveCapacity(minimumWritableBytes: count)
    }

    /// Uses the memory of what has been taken again, unless the taker still has it.
    private func forgetTaken() {
        guard isOutputTaken else { return }
        isOutputTaken = false
        if output.capacity > Self.keptCapacity { output = ByteBuffer() } else { output.clear() }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) {
        forgetTaken()
        output.writeBytes(bytes)
    }

    /// A new BIO over this object, which must outlive it; nil when there is no memory.
    func makeBIO() -> OpaquePointer? {
        guard let method = Self.method, let bio = BIO_new(method) else { return nil }
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
        return bio
    }

    /// Written once and never freed, as libcrypto asks while any BIO is left; only read afterwards.
    nonisolated(unsafe) private static let method: OpaquePointer? = {
        let type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
        guard let method = BIO_meth_new(type, "kairos wire") else { return nil }
        BIO_meth_set_read(method) { bio, target, count in
            guard let wire = TLSWire.of(bio), let target, count > 0 else { return -1 }
            return wire.read(into: UnsafeMutableRawBufferPointer(start: target, count: Int(count)), bio)
        }
        BIO_meth_set_write(method) { bio, source, count in
            guard let wire = TLSWire.of(bio), let source, count > 0 else { return -1 }
            wire.write(UnsafeRawBufferPointer(start: source, count: Int(count)))
            return count
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in
            // Nothing is kept back, so a flush has always been done; nothing else is offered.
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
        return method
    }()

    private static func of(_ bio: OpaquePointer?) -> TLSWire? {
        guard let data = BIO_get_data(bio) else { return nil }
        return Unmanaged<TLSWire>.fromOpaque(data).takeUnretainedValue()
    }

    private func read(into target: UnsafeMutableRawBufferPointer, _ bio: OpaquePointer?) -> Int32 {
        let count = min(target.count, input.count)
        guard count > 0 else {
            BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
            return -1
        }
        BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: input.prefix(count)))
        input = UnsafeRawBufferPointer(rebasing: input.dropFirst(count))
        return Int32(count)
    }
}
