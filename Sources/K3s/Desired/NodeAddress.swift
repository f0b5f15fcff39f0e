#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// An IP address as text, known to be one.
package struct NodeAddress: Hashable, Sendable, CustomStringConvertible {
    /// Dotted decimal, or colon-separated hex.
    package let text: String
    /// Whether it is an IPv6 address.
    package let isIPv6: Bool

    /// Takes an address without mask, brackets or zone.
    ///
    /// - Throws: `K3sConfigurationError.addressInvalid`.
    package init(_ text: String) throws(K3sConfigurationError) {
        var storage = in6_addr()
        let isIPv4 = text.withCString { inet_pton(AF_INET, $0, &storage) } == 1
        let isIPv6 = !isIPv4 && text.withCString { inet_pton(AF_INET6, $0, &storage) } == 1
        guard isIPv4 || isIPv6, !text.utf8.contains(0) else { throw .addressInvalid(text) }
        self.text = text
        self.isIPv6 = isIPv6
    }

    package var description: String { text }
}
