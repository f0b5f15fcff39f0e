internal import DequeModule
internal import NIOCore
internal import Timing

/// Packets that were read from the device together and go to one peer: frames of
/// `/kairos/vpn/1.0.0`, one after the other.
struct PacketBatch {
    var frames: ByteBuffer
    var packets: Int
}

/// What waits for one peer's stream. Bounded in bytes by refusing what comes (tail drop, as a router
/// does it, so that TCP slows down), and in time by dropping what has waited too long (a packet
/// that old has been sent again already).
struct PacketQueue {
    private struct Entry {
        var batch: PacketBatch
        var since: Instant
    }

    private var entries: Deque<Entry> = []
    private(set) var bytes = 0
    private let maximumBytes: Int

    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    var isEmpty: Bool { entries.isEmpty }

    /// Takes a batch; false when there is no room for it.
    mutating func push(_ batch: PacketBatch, at now: Instant) -> Bool {
        let size = batch.frames.readableBytes
        guard bytes + size <= maximumBytes else { return false }
        bytes += size
        entries.append(Entry(batch: batch, since: now))
        return true
    }

    /// The oldest batch.
    mutating func pop() -> PacketBatch? {
        guard let entry = entries.popFirst() else { return nil }
        bytes -= entry.batch.frames.readableBytes
        return entry.batch
    }

    /// Drops what has waited for longer than `age`; returns how many packets that were.
    mutating func expire(olderThan age: Duration, at now: Instant) -> Int {
        var packets = 0
        while let first = entries.first, now - first.since > age {
            packets += first.batch.packets
            bytes -= first.batch.frames.readableBytes
            entries.removeFirst()
        }
        return packets
    }

    /// Drops everything; returns how many packets that were.
    mutating func removeAll() -> Int {
        let packets = entries.reduce(0) { $0 + $1.batch.packets }
        entries.removeAll()
        bytes = 0
        return packets
    }
}
