internal import Timing

/// Events by time, and among those of one time in the order in which they were added.
struct EventQueue<Event> {
    private struct Item {
        let time: Instant
        let number: UInt64
        let event: Event

        static func < (left: Item, right: Item) -> Bool {
            (left.time, left.number) < (right.time, right.number)
        }
    }

    private var heap: [Item] = []
    private var number: UInt64 = 0

    mutating func add(_ event: Event, at time: Instant) {
        number += 1
        heap.append(Item(time: time, number: number, event: event))
        var child = heap.count - 1
        while child > 0, heap[child] < heap[(child - 1) / 2] {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes the first event out, if it comes before `end`.
    mutating func next(before end: Instant) -> (Instant, Event)? {
        guard let first = heap.first, first.time <= end else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2]
                where child < heap.count && heap[child] < heap[least] {
                    least = child
                }
                guard least != parent else { break }
                heap.swapAt(least, parent)
                parent = least
            }
        }
        return (first.time, first.event)
    }
}
