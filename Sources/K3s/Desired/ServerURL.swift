/// Where to join: `https://<host>:<port>` of a K3s server or of the API address (contract/k3s.md §10).
package struct ServerURL: Hashable, Sendable, CustomStringConvertible {
    /// The URL, complete with port.
    package let text: String

    /// The port of K3s' supervisor and Kubernetes' API.
    package static let defaultPort: UInt16 = 6443

    /// The URL of the server at `address`.
    package init(address: NodeAddress, port: UInt16 = defaultPort) {
        let host = address.isIPv6 ? "[\(address.text)]" : address.text
        self.text = "https://\(host):\(port)"
    }

    /// Takes a URL that someone gives.
    ///
    /// - Throws: `K3sConfigurationError.serverURLInvalid` unless it begins with `https://` and has a
    ///   host and nothing after the port.
    package init(_ text: String) throws(K3sConfigurationError) {
        let scheme = "https://"
        guard text.hasPrefix(scheme) else { throw .serverURLInvalid(text) }
        var rest = text.dropFirst(scheme.count)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        let allowed = rest.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-._:[]".utf8.contains(byte)
            }
        }
        guard !rest.isEmpty, allowed, !rest.hasPrefix(":") else { throw .serverURLInvalid(text) }
        let afterHost = rest.hasPrefix("[") ? rest.drop { $0 != "]" }.dropFirst() : rest.drop { $0 != ":" }
        if afterHost.isEmpty {
            self.text = scheme + rest + ":\(Self.defaultPort)"
        } else {
            guard afterHost.hasPrefix(":"), let port = UInt16(afterHost.dropFirst()), port > 0 else {
                throw .serverURLInvalid(text)
            }
            self.text = scheme + rest
        }
    }

    package var description: String { text }
}
