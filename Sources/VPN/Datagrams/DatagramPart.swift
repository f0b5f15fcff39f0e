/// The header of a part of a block (`DatagramFormat`).
struct DatagramPart: Hashable, Sendable {
    var index: UInt32
    /// With `blockFlag`.
    var counter: UInt64
    var number: Int
    var last: Int

    /// Reads a datagram; nil when it is no part of a block, or one that cannot be.
    init?(_ datagram: UnsafeRawBufferPointer) {
        guard datagram.count > DatagramFormat.partHeaderLength, datagram[4] & 0x80 != 0 else { return nil }
        index = datagram.bigEndian32(at: 0)
        counter = UInt64(datagram.bigEndian32(at: 4)) << 32 | UInt64(datagram.bigEndian32(at: 8))
        number = Int(datagram[12])
        last = Int(datagram[13])
        guard number <= last, last < DatagramFormat.maximumParts, datagram.bigEndian16(at: 14) == 0 else {
            return nil
        }
    }

    /// The length of the block that stands whole and in order at the start of `datagrams`, which are of `segment`
    /// bytes each, the last of what is left. Nil when it does not; `self` is the header of the first.
    func wholeBlock(in datagrams: UnsafeRawBufferPointer, segment: Int) -> Int? {
        guard number == 0, datagrams.count > last * segment else { return nil }
        for number in stride(from: 1, through: last, by: 1) {
            let start = number * segment
            guard start + DatagramFormat.partHeaderLength < datagrams.count,
                datagrams.loadUnaligned(fromByteOffset: start, as: UInt64.self)
                    == datagrams.loadUnaligned(as: UInt64.self),
                datagrams.bigEndian32(at: start + 8) == datagrams.bigEndian32(at: 8),
                datagrams.bigEndian32(at: start + 12) == UInt32(number << 24 | last << 16)
            else { return nil }
        }
        return last * segment + min(segment, datagrams.count - last * segment)
    }
}
