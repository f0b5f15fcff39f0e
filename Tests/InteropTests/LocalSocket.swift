import Foundation
import Multiformats

/// A blocking unix socket whose reads and writes give up after ten seconds.
///
/// Sendable because it only holds the number of a descriptor, which any thread may use.
final class LocalSocket: Sendable {
    private let descriptor: Int32

    init(connectingTo path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard Self.withAddress(path, { connect(descriptor, $0, $1) }) == 0 else {
            close(descriptor)
            throw InteropError("cannot connect to \(path)")
        }
        limitTime()
    }

    init(listeningAt path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard Self.withAddress(path, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 16) == 0 else {
            close(descriptor)
            throw InteropError("cannot listen at \(path)")
        }
    }

    private init(accepted: Int32) {
        descriptor = accepted
        limitTime()
    }

    deinit {
        close(descriptor)
    }

    func accept() throws -> LocalSocket {
        let accepted = Foundation.accept(descriptor, nil, nil)
        guard accepted >= 0 else { throw InteropError("accept failed") }
        return LocalSocket(accepted: accepted)
    }

    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw InteropError("the socket took no more bytes within 10 s") }
            rest = rest.dropFirst(count)
        }
    }

    /// What has arrived; empty at the end.
    func read(atMost limit: Int = 65536) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = recv(descriptor, &buffer, limit, 0)
        guard count >= 0 else { throw InteropError("nothing came over the socket within 10 s") }
        return Array(buffer.prefix(count))
    }

    func read(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let next = try read(atMost: min(65536, count - bytes.count))
            guard !next.isEmpty else {
                throw InteropError("the socket ended after \(bytes.count) of \(count) bytes")
            }
            bytes += next
        }
        return bytes
    }

    /// One message with its length in front.
    func readMessage() throws -> [UInt8] {
        var prefix: [UInt8] = []
        repeat { prefix += try read(exactly: 1) } while (prefix.last ?? 0) & 0x80 != 0
        let length = try Uvarint.decode(prefix, maximumLength: 5).value
        return try read(exactly: Int(length))
    }

    func closeOutput() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    private func limitTime() {
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return -1 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
