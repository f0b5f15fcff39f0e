/// The name of a gossip topic: text of at most 256 bytes, compared exactly.
package struct Topic: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// Longer names are not kept: EdgeVPN's have 32 characters (contract/wire.md I.10).
    package static let maximumLength = 256

    package let name: String

    /// The topic called `name`.
    package init(_ name: String) {
        self.name = name
    }

    package init(stringLiteral value: String) {
        self.name = value
    }

    /// The topic that bytes off the wire name; nil when they are too many or no UTF-8.
    init?(bytes: some Collection<UInt8>) {
        guard bytes.count <= Self.maximumLength, let name = String(validating: bytes, as: UTF8.self) else {
            return nil
        }
        self.name = name
    }

    package var description: String { name }
}
