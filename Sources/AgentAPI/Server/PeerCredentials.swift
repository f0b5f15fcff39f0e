internal import NIOCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Who is at the other end of a unix socket: the kernel's `struct ucred`.
struct PeerCredentials: Hashable, Sendable {
    var process: Int32 = 0
    var user: UInt32 = .max
    var group: UInt32 = .max

    /// Whether who is at the other end of `channel` may change anything: root, or the agent's own user.
    static func mayChange(over channel: any Channel) async -> Bool {
        guard let provider = channel as? any SocketOptionProvider,
            let credentials = try? await provider.credentials().get()
        else { return false }
        return credentials.mayChange(agent: geteuid())
    }

    func mayChange(agent: UInt32) -> Bool { user == 0 || user == agent }
}

extension SocketOptionProvider {
    fileprivate func credentials() -> EventLoopFuture<PeerCredentials> {
        unsafeGetSocketOption(level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
    }
}
