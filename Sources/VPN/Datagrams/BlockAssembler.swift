internal import LibP2P

/// Puts the parts of blocks together that do not come all at once and in order: in the kernel's bundles when the
/// network card gives them so, or after another way through the network. Bounded: a few blocks at a time, the one
/// that has waited longest gives way. Belongs to the packet thread.
struct BlockAssembler {
    /// How many blocks are put together at once, of all sessions.
    static let maximumBlocks = 8
    /// A block that so many datagrams of its session have passed is given up.
    private static let patience: UInt64 = 64

    private struct Slot {
        let bytes: UnsafeMutableRawPointer
        var isUsed = false
        var index: UInt32 = 0
        var counter: UInt64 = 0
        var last = 0
        var piece = 0
        var received = 0
        var seen: (UInt64, UInt64) = (0, 0)
        var lastLength = 0
        var since: UInt64 = 0
    }

    /// A whole block, valid until the next call.
    struct Block {
        var bytes: UnsafeRawPointer
        var piece: Int
        var count: Int
    }

    private var slots: [Slot] = []
    private var turn: UInt64 = 0
    /// How many blocks wait for parts.
    private(set) var waiting = 0

    func deallocate() { for slot in slots { slot.bytes.deallocate() } }

    /// Takes a part with its `piece`; gives the block when that made it whole. `lost` is called with the session's
    /// index for a block that has to give way.
    mutating func add(_ part: DatagramPart, piece: UnsafeRawBufferPointer, lost: (UInt32) -> Void) -> Block? {
        guard let start = piece.baseAddress, !piece.isEmpty else { return nil }
        let place: Int
        if let known = slots.firstIndex(where: {
            $0.isUsed && $0.counter == part.counter && $0.index == part.index
        }) {
            place = known
        } else {
            // Without another part the last one's place is not known.
            guard part.number < part.last || part.last == 0 else {
                lost(part.index)
                return nil
            }
            place = free(lost)
            slots[place].isUsed = true
            waiting += 1
            slots[place].index = part.index
            slots[place].counter = part.counter
            slots[place].last = part.last
            slots[place].piece = piece.count
            slots[place].received = 0
            slots[place].seen = (0, 0)
            turn += 1
            slots[place].since = turn
        }
        let slot = slots[place]
        let bit: UInt64 = 1 << (UInt64(part.number) & 63)
        let seen = part.number < 64 ? slot.seen.0 : slot.seen.1
        guard part.last == slot.last, seen & bit == 0,
            part.number == slot.last ? piece.count <= slot.piece : piece.count == slot.piece,
            part.number * slot.piece + piece.count <= DatagramFormat.maximumBlock
        else { return nil }
        (slot.bytes + part.number * slot.piece).copyMemory(from: start, byteCount: piece.count)
        if part.number < 64 { slots[place].seen.0 |= bit } else { slots[place].seen.1 |= bit }
        if part.number == slot.last { slots[place].lastLength = piece.count }
        slots[place].received += 1
        guard slots[place].received == slot.last + 1 else { return nil }
        release(place)
        return Block(
            bytes: UnsafeRawPointer(slot.bytes), piece: slot.piece,
            count: slot.last * slot.piece + slots[place].lastLength)
    }

    /// A datagram of the session came: blocks that are far behind it will not be whole any more.
    mutating func passed(index: UInt32, counter: UInt64, lost: (UInt32) -> Void) {
        guard waiting > 0 else { return }
        for place in slots.indices where slots[place].isUsed && slots[place].index == index {
            let behind = slots[place].counter & ~DatagramFormat.blockFlag
            if behind < counter, counter - behind > Self.patience {
                release(place)
                lost(index)
            }
        }
    }

    private mutating func release(_ place: Int) {
        slots[place].isUsed = false
        waiting -= 1
    }

    private mutating func free(_ lost: (UInt32) -> Void) -> Int {
        if let unused = slots.firstIndex(where: { !$0.isUsed }) { return unused }
        if slots.count < Self.maximumBlocks {
            slots.append(Slot(bytes: .allocate(byteCount: DatagramFormat.maximumBlock, alignment: 64)))
            return slots.count - 1
        }
        let oldest = slots.indices.min { slots[$0].since < slots[$1].since } ?? 0
        release(oldest)
        lost(slots[oldest].index)
        return oldest
    }
}
