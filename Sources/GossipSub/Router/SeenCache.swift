internal import DequeModule
internal import Timing

/// The IDs of messages seen lately, each for a fixed time from first sight. The oldest make room when
/// there are too many: then an old message could be delivered twice, which the ledger can take.
struct SeenCache: Sendable {
    private let life: Duration
    private let capacity: Int
    private var ids: Set<MessageID> = []
    private var order: Deque<(id: MessageID, expires: Instant)> = []

    init(life: Duration, capacity: Int) {
        self.life = life
        self.capacity = max(capacity, 1)
    }

    var count: Int { ids.count }

    mutating func contains(_ id: MessageID, at now: Instant) -> Bool {
        expire(at: now)
        return ids.contains(id)
    }

    /// Remembers `id`; says whether it is new.
    mutating func insert(_ id: MessageID, at now: Instant) -> Bool {
        expire(at: now)
        guard ids.insert(id).inserted else { return false }
        order.append((id, now + life))
        if order.count > capacity, let oldest = order.popFirst() { ids.remove(oldest.id) }
        return true
    }

    private mutating func expire(at now: Instant) {
        while let first = order.first, first.expires <= now {
            order.removeFirst()
            ids.remove(first.id)
        }
    }
}
