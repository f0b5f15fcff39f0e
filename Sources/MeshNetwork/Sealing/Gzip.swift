internal import CZlib

/// Why gzip data does not unpack.
package enum GzipError: Error, Hashable, Sendable {
    /// It is not gzip, is damaged, or is followed by something else.
    case malformed
    /// It ends too early.
    case truncated
    /// It unpacks to more than the limit; unpacking stopped there.
    case tooLarge(limit: Int)
    /// zlib has no memory.
    case outOfMemory
}

/// gzip (RFC 1952) through zlib. Unpacking stops at a limit, so a small message that would unpack to
/// gigabytes costs no more than a large one.
package enum Gzip {
    private static let chunk = 64 << 10

    /// `bytes` as one gzip member.
    package static func pack(_ bytes: [UInt8]) throws(GzipError) -> [UInt8] {
        var stream = z_stream()
        // 15 bits of window and 16 more to ask for a gzip header.
        let started = deflateInit2_(
            &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard started == Z_OK else { throw .outOfMemory }
        defer { deflateEnd(&stream) }
        // The bound is exact enough to need one call, and known before anything is written.
        let bound = Int(deflateBound(&stream, UInt(bytes.count)))
        guard let available = UInt32(exactly: bytes.count), let room = UInt32(exactly: bound) else {
            throw .tooLarge(limit: Int(UInt32.max))
        }
        var input = bytes
        var status = Z_OK
        let packed = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            input.withUnsafeMutableBufferPointer { input in
                stream.next_in = input.baseAddress
                stream.avail_in = available
                stream.next_out = buffer.baseAddress
                stream.avail_out = room
                status = deflate(&stream, Z_FINISH)
                count = bound - Int(stream.avail_out)
            }
        }
        guard status == Z_STREAM_END else { throw .outOfMemory }
        return packed
    }

    /// What one or several gzip members in a row hold, at most `limit` bytes.
    package static func unpack(_ bytes: [UInt8], limit: Int) throws(GzipError) -> [UInt8] {
        guard let available = UInt32(exactly: bytes.count) else { throw .tooLarge(limit: Int(UInt32.max)) }
        guard !bytes.isEmpty else { throw .truncated }
        var stream = z_stream()
        let started = inflateInit2_(&stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard started == Z_OK else { throw .outOfMemory }
        defer { inflateEnd(&stream) }
        var input = bytes
        return try input.withUnsafeMutableBufferPointer { (input) throws(GzipError) in
            stream.next_in = input.baseAddress
            stream.avail_in = available
            return try unpack(&stream, limit: limit)
        }
    }

    private static func unpack(_ stream: inout z_stream, limit: Int) throws(GzipError) -> [UInt8] {
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: chunk)
        while true {
            let status = buffer.withUnsafeMutableBufferPointer { buffer in
                stream.next_out = buffer.baseAddress
                stream.avail_out = UInt32(chunk)
                return inflate(&stream, Z_NO_FLUSH)
            }
            let count = chunk - Int(stream.avail_out)
            guard output.count + count <= limit else { throw .tooLarge(limit: limit) }
            output.append(contentsOf: buffer.prefix(count))
            switch status {
            case Z_OK: continue
            case Z_STREAM_END:
                if stream.avail_in == 0 { return output }
                // The next member must be a whole one too.
                guard inflateReset(&stream) == Z_OK else { throw .malformed }
            case Z_BUF_ERROR: throw .truncated
            case Z_MEM_ERROR: throw .outOfMemory
            default: throw .malformed
            }
        }
    }
}
