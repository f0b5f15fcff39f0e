internal import Synchronization

/// Hands the newest of immutable values to readers. Reading it costs one atomic load as long as the value
/// has not changed, so the packet path shares no lock with whoever replaces it.
final class Published<Value: AnyObject & Sendable>: Sendable {
    private let generation = Atomic<UInt64>(0)
    private let value: Mutex<Value>

    init(_ value: Value) {
        self.value = Mutex(value)
    }

    func publish(_ new: Value) {
        value.withLock { $0 = new }
        generation.wrappingAdd(1, ordering: .releasing)
    }

    var current: Value { value.withLock { $0 } }

    /// One reader's place; belongs to one thread at a time.
    struct Reader {
        private let publisher: Published<Value>
        private var seen: UInt64
        private var value: Value

        init(_ publisher: Published<Value>) {
            self.publisher = publisher
            self.seen = publisher.generation.load(ordering: .acquiring)
            self.value = publisher.current
        }

        /// The newest value.
        mutating func latest() -> Value {
            let generation = publisher.generation.load(ordering: .acquiring)
            if generation != seen {
                seen = generation
                value = publisher.current
            }
            return value
        }
    }
}
