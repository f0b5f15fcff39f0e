internal import CProcess

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The socket to which a child says that it is up, as it would to systemd (sd_notify(3)).
///
/// It has a name that the kernel chooses in the abstract space, so no file is left behind.
final class ReadinessSocket {
    /// The socket.
    let descriptor: Int32
    /// What `NOTIFY_SOCKET` must be.
    let name: String

    /// Makes the socket; nil when the machine has none left, in which case children are never seen ready.
    init?() {
        let descriptor = socket(
            AF_UNIX,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // The family alone: autobind, unix(7).
        var length = socklen_t(MemoryLayout<sa_family_t>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                guard bind(descriptor, generic, length) == 0 else { return false }
                length = socklen_t(MemoryLayout<sockaddr_un>.size)
                return getsockname(descriptor, generic, &length) == 0
            }
        }
        guard bound else {
            close(descriptor)
            return nil
        }
        let bytes = withUnsafeBytes(of: &address.sun_path) { path in
            Array(path.prefix(max(0, Int(length) - MemoryLayout<sa_family_t>.size)).dropFirst())
        }
        self.descriptor = descriptor
        self.name = "@" + String(decoding: bytes, as: UTF8.self)
    }

    deinit {
        close(descriptor)
    }

    /// Takes what was sent; true when one of the messages was that the sender is ready.
    func takeReady() -> Bool {
        var isReady = false
        var buffer = [UInt8](repeating: 0, count: 4096)
        // Anyone in this network namespace can send here; all that can be had by it is a wrong status.
        for _ in 0..<64 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            let lines = buffer[..<count].split(separator: UInt8(ascii: "\n"))
            if lines.contains(where: { $0.elementsEqual("READY=1".utf8) }) { isReady = true }
        }
        return isReady
    }
}
