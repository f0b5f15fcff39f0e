/// A self-describing network address (contract/wire.md B).
package struct Multiaddr: Hashable, Sendable {
    /// The binary form.
    package let bytes: [UInt8]
}
