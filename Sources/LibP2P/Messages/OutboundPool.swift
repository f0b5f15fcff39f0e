/// What waits to be sent to all peers of some protocols together: so answers are bounded by what their askers
/// read. Belongs to one event loop.
///
/// A peer may let wait a quarter of what is still free, so the bound falls for all alike while the pool fills,
/// and something is always left for one that reads. Nobody is refused for what others let wait alone until half
/// of the rest would not hold one message.
package final class OutboundPool {
    private let capacity: Int
    /// Bytes that wait now.
    package private(set) var used = 0

    /// - Parameter capacity: the most bytes of all peers together.
    package init(capacity: Int) {
        self.capacity = capacity
    }

    /// Whether `count` bytes more may wait for a peer for which `queued` bytes wait already.
    package func admits(_ count: Int, queued: Int) -> Bool {
        let free = capacity - used
        return queued == 0 ? count <= free / 2 : queued + count <= free / 4
    }

    func add(_ count: Int) { used += count }

    func remove(_ count: Int) { used -= count }
}
