/// How the messages of a protocol follow each other on a stream.
package enum MessageFraming: Sendable {
    /// An unsigned varint of four bytes at most, the message's length up to `maximum`, goes before each.
    case lengthPrefixed(maximum: Int)
    /// Every message has the same length.
    case fixed(Int)
}
