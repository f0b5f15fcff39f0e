internal import Glibc

/// Carries netlink datagrams: a socket in the agent, a script in tests.
protocol NetlinkTransport: AnyObject, Sendable {
    /// Sends one request.
    func send(_ request: [UInt8]) throws(NetlinkError)
    /// Receives one datagram of the answer.
    func receive() throws(NetlinkError) -> [UInt8]
}

/// A failed exchange with the kernel.
package enum NetlinkError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A system call on the socket failed.
    case socket(call: String, errno: Int32)
    /// The kernel refused the request.
    case refused(request: String, errno: Int32)
    /// The answer makes no sense.
    case malformedAnswer(request: String)

    package var description: String {
        switch self {
        case .socket(let call, let errno): "netlink: \(call): \(String(cString: strerror(errno)))"
        case .refused(let request, let errno):
            "the kernel refused to \(request): \(String(cString: strerror(errno)))"
        case .malformedAnswer(let request): "the kernel's answer to \"\(request)\" makes no sense"
        }
    }

    /// The error number behind it; 0 when there is none.
    package var errno: Int32 {
        switch self {
        case .socket(_, let errno), .refused(_, let errno): errno
        case .malformedAnswer: 0
        }
    }
}

/// A NETLINK_ROUTE socket. It stays in the network namespace in which it was opened, whichever
/// thread uses it later.
final class NetlinkSocket: NetlinkTransport {
    private let descriptor: Int32

    init() throws(NetlinkError) {
        descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .socket(call: "socket", errno: errno) }
        // The kernel answers while the request is sent; the bound is for what should never happen.
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ request: [UInt8]) throws(NetlinkError) {
        guard Glibc.send(descriptor, request, request.count, 0) == request.count else {
            throw .socket(call: "send", errno: errno)
        }
    }

    func receive() throws(NetlinkError) -> [UInt8] {
        // The kernel fills dumps up to 32 KiB a datagram.
        var bytes = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            if count >= 0 { return Array(bytes[..<count]) }
            guard errno == EINTR else { throw .socket(call: "recv", errno: errno) }
        }
    }
}
