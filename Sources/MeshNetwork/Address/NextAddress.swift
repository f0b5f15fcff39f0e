package import Multiformats

/// The address that a stock node takes next (contract/wire.md L.3): the greatest address in use plus
/// one, whatever network it is in.
package enum NextAddress {
    /// The address after the greatest of `inUse`, texts of which those that are no addresses are passed
    /// over, or nil when none is an address. IPv4 sorts as if mapped into IPv6; the last address of a
    /// family is followed by itself.
    package static func after(_ inUse: some Sequence<String>) -> IPAddress? {
        var greatest: IPv6Address?
        for text in inUse {
            guard let address = IPAddress(text) else { continue }
            let mapped: IPv6Address =
                switch address {
                case .v4(let address): IPv6Address(mapping: address)
                case .v6(let address): address
                }
            greatest = max(greatest ?? mapped, mapped)
        }
        guard let greatest else { return nil }
        if let address = greatest.mappedIPv4 {
            return .v4(IPv4Address(address.value == .max ? .max : address.value + 1))
        }
        let (low, carry) = greatest.low.addingReportingOverflow(1)
        let (high, overflow) = greatest.high.addingReportingOverflow(carry ? 1 : 0)
        return .v6(overflow ? greatest : IPv6Address(high: high, low: low))
    }
}
