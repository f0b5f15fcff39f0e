/// How much a received block may hold; checked before and while it is decoded.
package struct BlockLimits: Hashable, Sendable {
    /// Bytes of the JSON text.
    package var maximumBytes: Int
    /// Buckets and entries together.
    package var maximumItems: Int
    /// Levels of nesting, in fields that are ignored too.
    package var maximumDepth: Int

    package init(maximumBytes: Int = 20 << 20, maximumItems: Int = 65_536, maximumDepth: Int = 64) {
        self.maximumBytes = maximumBytes
        self.maximumItems = maximumItems
        self.maximumDepth = maximumDepth
    }
}
