internal import Glibc

/// A TCP socket bound to a port of the loopback that nobody had.
package struct LoopbackPort {
    package let descriptor: Int32
    package let number: UInt16

    /// Binds the socket, and listens with this backlog if one is given; nil when the system refuses.
    package init?(backlog: Int32? = nil) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isReady = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && backlog.map { listen(descriptor, $0) == 0 } ?? true
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isReady else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
        number = UInt16(bigEndian: address.sin_port)
    }

    /// The number of a port that nobody listens at.
    package static func free() -> UInt16? {
        guard let port = LoopbackPort() else { return nil }
        close(port.descriptor)
        return port.number
    }
}
