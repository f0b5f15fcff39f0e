/// A connection to a message bus that is made when it is needed and made again when it breaks.
///
/// Every call has a deadline. Subscriptions outlive reconnections; after one the handlers are told by
/// a nil signal that something may have been missed.
package final class BusConnection: Sendable {
    /// Where a bus may be.
    package enum Address: Hashable, Sendable {
        /// The machine's system bus.
        case system
        /// A bus daemon at a D-Bus address.
        case daemon(String)
        /// A service that is spoken to without a daemon, such as systemd at `/run/systemd/private`.
        case peer(String)
    }

    private let thread: PollThread<BusLoop>

    /// Prepares a connection to the first of `addresses` that answers.
    ///
    /// - Throws: `PollThreadError` when the machine has no descriptor or thread left.
    package init(addresses: [Address]) throws(PollThreadError) {
        self.thread = try PollThread(name: "sd-bus") { BusLoop(addresses: addresses) }
    }

    /// Makes `call` and waits for its answer, for at most `deadline`.
    package func call(_ call: BusCall, deadline: Duration = .seconds(10)) async throws(BusError) -> BusReply {
        let result: Result<BusReply, BusError> = await withCheckedContinuation { continuation in
            let accepted = thread.run { loop in
                loop.call(call, deadline: deadline) { continuation.resume(returning: $0) }
            }
            if !accepted { continuation.resume(returning: .failure(.disconnected)) }
        }
        return try result.get()
    }

    /// Calls `handler` on the bus' thread for every signal that matches `rule`, from now on.
    ///
    /// - Parameters:
    ///   - rule: a match rule of the D-Bus specification.
    ///   - greeting: a call made after every connection, for services that send no signals unasked.
    package func subscribe(
        to rule: String, greeting: BusCall? = nil, _ handler: @escaping @Sendable (BusSignal?) -> Void
    ) {
        _ = thread.run { loop in
            loop.subscribe(BusLoop.Subscription(rule: rule, greeting: greeting, handler: handler))
        }
    }

    /// Closes the connection; open calls end as disconnected.
    package func close() {
        thread.finish()
    }
}
