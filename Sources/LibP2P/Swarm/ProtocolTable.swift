internal import NIOConcurrencyHelpers

/// The protocols that this node serves. Read on the loops of the connections, written on the
/// swarm's.
final class ProtocolTable: Sendable {
    private let handlers = NIOLockedValueBox<[ProtocolID: StreamHandler]>([:])

    /// The names of all.
    var names: Set<ProtocolID> { handlers.withLockedValue { Set($0.keys) } }

    func handler(for name: ProtocolID) -> StreamHandler? {
        handlers.withLockedValue { $0[name] }
    }

    /// Sets or, with nil, removes; returns whether the set of names changed.
    func set(_ handler: StreamHandler?, for name: ProtocolID) -> Bool {
        handlers.withLockedValue { handlers in
            let existed = handlers[name] != nil
            handlers[name] = handler
            return existed != (handler != nil)
        }
    }
}
