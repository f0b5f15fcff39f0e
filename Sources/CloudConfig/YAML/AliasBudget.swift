/// Bounds how far the aliases of a document can blow it up, before anything expands them.
///
/// A few lines of aliases of aliases stand for more values than a machine can hold. The parser shares what
/// an alias stands for, so that holding is free, but hashing a key made of them is not and happens inside
/// the parser. So the text is looked at first: the node of an anchor ends before its first use, hence what
/// an alias stands for is at most the text between the anchor and its first use, with the aliases in that
/// text at their own weight. Text that only looks like an anchor or alias makes the bound larger, never
/// smaller.
enum AliasBudget {
    /// The most bytes that all aliases of a document may stand for.
    static let limit = 32 * SourceFile.maximumSize

    /// Where aliases go wrong.
    enum Excess: Hashable {
        /// The aliases stand for more than `limit`.
        case tooLarge(offset: Int)
        /// An anchor whose name is used before and after it is defined anew, which no bound is kept for.
        case redefined(name: String, offset: Int)
    }

    private struct Anchor {
        var start: Int
        var weightBefore: Int
        var weight: Int?
    }

    /// The first excess in `text`, or nil when all aliases are within the limit.
    static func excess(in text: some Collection<UInt8>) -> Excess? {
        let bytes = Array(text)
        var redefinitions: [ArraySlice<UInt8>: Int] = [:]
        var anchors: [ArraySlice<UInt8>: Anchor] = [:]
        var total = 0
        var previous = UInt8(ascii: "\n")
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            defer { previous = byte }
            guard byte == UInt8(ascii: "&") || byte == UInt8(ascii: "*"), startsToken(after: previous) else {
                index += 1
                continue
            }
            var end = index + 1
            while end < bytes.count, isNameByte(bytes[end]) { end += 1 }
            let name = bytes[(index + 1)..<end]
            let offset = index
            index += 1
            guard !name.isEmpty else { continue }
            if byte == UInt8(ascii: "&") {
                if anchors[name] != nil {
                    redefinitions[name] = redefinitions[name] ?? offset
                } else {
                    anchors[name] = Anchor(start: offset, weightBefore: total, weight: nil)
                }
            } else if var anchor = anchors[name] {
                if let again = redefinitions[name] {
                    return .redefined(name: String(decoding: name, as: UTF8.self), offset: again)
                }
                let weight = anchor.weight ?? (offset - anchor.start) + (total - anchor.weightBefore)
                anchor.weight = weight
                anchors[name] = anchor
                // Both stay below the limit plus a file's size, so the sum cannot overflow.
                total += weight
                if total > limit { return .tooLarge(offset: offset) }
            }
        }
        return nil
    }

    /// Whether a token can begin right after `byte`: white space, a flow indicator, or any byte of a
    /// multi-byte character, some of which are line breaks.
    private static func startsToken(after byte: UInt8) -> Bool {
        byte <= 0x20 || byte >= 0x80
            || [
                UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ","),
                UInt8(ascii: ":"),
            ].contains(byte)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
