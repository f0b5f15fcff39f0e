/// The order in which a node tries the addresses of a subnet: every host once, in an order that
/// follows from its peer ID alone, so that nodes which start at the same time mostly differ.
///
/// A stock node takes the greatest address in use plus one and never looks at the subnet's end
/// (contract L.3). So that it keeps finding room, our nodes spread over the lower half first, use
/// the upper half only when the lower one is full, and take the first host, a lonely stock node's
/// choice, last. The API server's address is never a candidate.
package struct CandidateSequence: Sequence, IteratorProtocol, Sendable {
    private let subnet: VirtualSubnet
    private let reserved: VirtualAddress?
    private let hash: UInt64
    private var range: Range<Int>
    private var ranges: [Range<Int>]
    private var position = 0

    /// The sequence of the node whose base58 peer ID is `owner`. `reserved` is left out.
    package init(owner: String, subnet: VirtualSubnet, reserved: VirtualAddress?) {
        self.subnet = subnet
        self.reserved = reserved
        self.hash = Self.hash(owner)
        let middle = Swift.max(1, subnet.hostCount / 2)
        self.range = 1..<middle
        self.ranges = [middle..<subnet.hostCount, 0..<1]
    }

    package mutating func next() -> VirtualAddress? {
        while true {
            guard position < range.count else {
                guard !ranges.isEmpty else { return nil }
                range = ranges.removeFirst()
                position = 0
                continue
            }
            let (start, step) = walk(of: range.count)
            let index = range.lowerBound + (start + position * step) % range.count
            position += 1
            if let address = subnet.host(index), address != reserved { return address }
        }
    }

    /// Where the walk through `count` numbers starts and how far each step goes. A step without a
    /// common divisor with `count` meets each number once. Both stay below 2^24.
    private func walk(of count: Int) -> (start: Int, step: Int) {
        let start = Int(hash % UInt64(count))
        var step = Int((hash >> 32) % UInt64(count))
        while Self.greatestCommonDivisor(step, count) != 1 { step += 1 }
        return (start, step)
    }

    private static func greatestCommonDivisor(_ first: Int, _ second: Int) -> Int {
        var (first, second) = (first, second)
        while second != 0 { (first, second) = (second, first % second) }
        return first
    }

    /// FNV-1a, 64 bits, with a final mix: only spread is needed, not secrecy.
    private static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 {
            hash ^= UInt64(byte)
            hash &*= 0x100_0000_01b3
        }
        hash ^= hash >> 33
        hash &*= 0xff51_afd7_ed55_8ccd
        hash ^= hash >> 33
        return hash
    }
}
