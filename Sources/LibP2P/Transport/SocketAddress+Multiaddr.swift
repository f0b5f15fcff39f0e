internal import Multiformats
internal import NIOCore

extension SocketAddress {
    /// The IP address, of either family; nil for a unix socket.
    var ip: IPAddress? {
        ipAddress.flatMap { IPAddress($0) }
    }

    /// The address as `/ip4/…/tcp/…` or `/ip6/…/tcp/…`; nil for a unix socket. An IPv4 address mapped
    /// into IPv6 counts as IPv4.
    var tcpMultiaddr: Multiaddr? {
        guard let ip, let port = port.flatMap(UInt16.init(exactly:)) else { return nil }
        if case .v6(let address) = ip, let mapped = address.mappedIPv4 {
            return .tcp(.v4(mapped), port: port)
        }
        return .tcp(ip, port: port)
    }
}
