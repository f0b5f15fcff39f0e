/// The name of a stream protocol, such as `/ipfs/ping/1.0.0`: compared exactly, case included
/// (contract/wire.md C).
package struct ProtocolID: Hashable, Sendable, RawRepresentable, ExpressibleByStringLiteral,
    CustomStringConvertible
{
    package let rawValue: String

    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    package init(stringLiteral value: String) {
        self.rawValue = value
    }

    package var description: String { rawValue }
}
