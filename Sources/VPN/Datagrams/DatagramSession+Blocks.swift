internal import LibP2P
internal import Synchronization

/// Super-packets that are sealed as one and cut into parts: one start and one tag of the cipher for up to 64 KiB
/// instead of for each packet, and neither end cuts, joins or copies packets.
extension DatagramSession {
    /// The longest piece of a block: whole blocks of AES, in a datagram that is no longer than that of the largest
    /// packet.
    var maximumPiece: Int {
        (maximumPacket + DatagramFormat.overhead - DatagramFormat.partHeaderLength) & ~15
    }

    /// The piece in each part but the last of a block for `count` bytes: as few parts as there can be, and of one
    /// size as nearly as whole blocks of AES allow. So the kernel takes the usual super-packet of 47 segments in
    /// one call, which has room for 65,507 bytes.
    func pieceLength(for count: Int) -> Int {
        let total = count + PacketCipher.tagLength
        let parts = (total + maximumPiece - 1) / maximumPiece
        return ((total + parts - 1) / parts + 15) & ~15
    }

    /// Whether a super-packet of `count` bytes with its virtio-net header goes as a block.
    func sealsBlock(_ header: VirtioNetHeader, count: Int) -> Bool {
        header.segmentationType != VirtioNetHeader.segmentationNone && blocks.isSuperset(of: header.required)
            && sealsBlocks.load(ordering: .relaxed)
            && count + PacketCipher.tagLength <= maximumPiece * DatagramFormat.maximumParts
    }

    /// Seals `framed`, a virtio-net header and its packet for which `sealsBlock` holds, into parts from `target`
    /// on, where there is room for `framed`, the tag and a header for each part. All parts but the last are of
    /// `partHeaderLength + pieceLength(for: framed.count)` bytes. Returns the length of all. Belongs to the packet
    /// thread.
    func sealBlock(_ framed: UnsafeRawBufferPointer, into target: UnsafeMutableRawPointer) -> Int? {
        guard let source = framed.baseAddress, !framed.isEmpty, let reserved = reserveCounter() else {
            return nil
        }
        let counter = reserved | DatagramFormat.blockFlag
        let (piece, header) = (pieceLength(for: framed.count), DatagramFormat.partHeaderLength)
        let last = (framed.count + PacketCipher.tagLength - 1) / piece
        guard last < DatagramFormat.maximumParts, deviceCipher.begin(counter) else { return nil }
        var (part, taken, kept) = (target, 0, 0)
        for number in 0...last {
            part.storeBytes(of: remoteIndex.bigEndian, as: UInt32.self)
            part.storeBytes(of: counter.bigEndian, toByteOffset: 4, as: UInt64.self)
            part.storeBytes(
                of: UInt32(number << 24 | last << 16).bigEndian, toByteOffset: 12, as: UInt32.self)
            // The tag stands first: its place is known before the end of the packet is.
            let tag = number == 0 ? PacketCipher.tagLength : 0
            let count = min(piece - tag, framed.count - taken)
            // Only of the last piece can something be kept back: all others are whole blocks of AES.
            guard let sealed = deviceCipher.update(source + taken, into: part + header + tag, count: count)
            else { return nil }
            kept = count - sealed
            taken += count
            part += header + tag + count
        }
        guard deviceCipher.finishSealing(rest: part - kept, tag: target + header) else { return nil }
        return part - target
    }

    /// Opens the block whose pieces stand at `pieces`, `stride` bytes apart and each of `piece` bytes; all together
    /// are of `count` bytes. Writes a virtio-net header and its packet to `target` and returns their length; nil
    /// when the block is old, was taken before, or is not authentic. Belongs to the packet thread.
    func openBlock(
        _ pieces: UnsafeRawPointer, stride: Int, piece: Int, count: Int, counter: UInt64,
        into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let length = count - PacketCipher.tagLength
        guard let start = target.baseAddress, length > 0, length <= target.count,
            piece > PacketCipher.tagLength,
            window.accepts(counter & ~DatagramFormat.blockFlag), openCipher.begin(counter)
        else { return nil }
        // The pieces of others need not be whole blocks of AES, so less may be written than was taken.
        var (source, taken, opened) = (pieces, 0, 0)
        while taken < length {
            let tag = taken == 0 ? PacketCipher.tagLength : 0
            let size = min(piece - tag, length - taken)
            guard let written = openCipher.update(source + tag, into: start + opened, count: size) else {
                return nil
            }
            opened += written
            taken += size
            source += stride
        }
        guard openCipher.finishOpening(rest: start + opened, tag: pieces),
            window.take(counter & ~DatagramFormat.blockFlag)
        else { return nil }
        if !hasReceived.load(ordering: .relaxed) { hasReceived.store(true, ordering: .relaxed) }
        return length
    }
}
