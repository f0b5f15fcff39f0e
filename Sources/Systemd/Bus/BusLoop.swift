internal import CSystemd
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The part of a `BusConnection` that its thread runs.
final class BusLoop: PollLoop {
    /// A rule and who is told of what matches it.
    final class Subscription: Sendable {
        let rule: String
        let greeting: BusCall?
        let handler: @Sendable (BusSignal?) -> Void

        init(rule: String, greeting: BusCall?, handler: @escaping @Sendable (BusSignal?) -> Void) {
            self.rule = rule
            self.greeting = greeting
            self.handler = handler
        }
    }

    /// A call without an answer yet.
    private final class Pending {
        let complete: (Result<BusReply, BusError>) -> Void
        /// The loop that owns it and outlives it.
        unowned let loop: BusLoop

        init(loop: BusLoop, complete: @escaping (Result<BusReply, BusError>) -> Void) {
            self.loop = loop
            self.complete = complete
        }
    }

    private let addresses: [BusConnection.Address]
    private let time = SystemTime()
    private var bus: OpaquePointer?
    private var pending: [ObjectIdentifier: Pending] = [:]
    private var subscriptions: [Subscription] = []
    /// When the next connection may be tried, after one broke or failed.
    private var retryAt = Instant.zero
    private var retryDelay = BusLoop.shortestDelay

    private static let shortestDelay = Duration.milliseconds(200)
    private static let longestDelay = Duration.seconds(30)

    init(addresses: [BusConnection.Address]) {
        self.addresses = addresses
    }

    // MARK: jobs

    func call(
        _ call: BusCall, deadline: Duration, _ complete: @escaping (Result<BusReply, BusError>) -> Void
    ) {
        if bus == nil {
            // A caller does not wait for the timer: a bus that has just come up is used at once.
            do throws(BusError) { try connect() } catch { return complete(.failure(error)) }
        }
        guard let bus else { return complete(.failure(.disconnected)) }
        var message: OpaquePointer?
        var result = sd_bus_message_new_method_call(
            bus, &message, call.destination, call.path, call.interface, call.member)
        guard result >= 0, let message else { return complete(.failure(.malformed(code: -result))) }
        defer { sd_bus_message_unref(message) }
        result = BusMessage.append(call.arguments, to: message)
        guard result >= 0 else { return complete(.failure(.malformed(code: -result))) }
        let waiting = Pending(loop: self, complete: complete)
        let microseconds = UInt64(max(1, deadline.wholeNanoseconds / 1000))
        result = sd_bus_call_async(
            bus, nil, message,
            { message, context, _ in
                guard let context else { return 0 }
                let pending = Unmanaged<Pending>.fromOpaque(context).takeUnretainedValue()
                pending.loop.answered(pending, message)
                return 0
            }, Unmanaged.passUnretained(waiting).toOpaque(), microseconds)
        if result < 0 { return complete(.failure(.malformed(code: -result))) }
        pending[ObjectIdentifier(waiting)] = waiting
    }

    func subscribe(_ subscription: Subscription) {
        subscriptions.append(subscription)
        if bus == nil {
            // A bus that is not there yet is tried again by the timer.
            try? connect()
        } else {
            install(subscription)
        }
    }

    // MARK: loop

    func descriptors() -> [(descriptor: Int32, events: Int16)] {
        guard let bus else { return [] }
        let descriptor = sd_bus_get_fd(bus)
        let events = sd_bus_get_events(bus)
        return descriptor >= 0 && events >= 0 ? [(descriptor, Int16(truncatingIfNeeded: events))] : []
    }

    func timeout() -> Int32 {
        guard let bus else {
            return subscriptions.isEmpty ? -1 : Self.milliseconds(retryAt - time.now())
        }
        // Absolute, in microseconds of CLOCK_MONOTONIC.
        var due: UInt64 = 0
        guard sd_bus_get_timeout(bus, &due) >= 0, due != .max else { return -1 }
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let current = UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
        return due <= current ? 0 : Self.milliseconds(.microseconds(Int64(clamping: due - current)))
    }

    func proceed() {
        if bus == nil, !subscriptions.isEmpty, time.now() >= retryAt { try? connect() }
        guard let bus else { return }
        while true {
            let result = sd_bus_process(bus, nil)
            if result > 0 { continue }
            if result < 0 { disconnect() }
            return
        }
    }

    func finish() {
        disconnect()
        subscriptions = []
    }

    // MARK: connection

    private func connect() throws(BusError) {
        var reason = "no address"
        for address in addresses {
            var candidate: OpaquePointer?
            let result = Self.open(address, &candidate)
            if result >= 0, let candidate {
                bus = candidate
                retryDelay = Self.shortestDelay
                for subscription in subscriptions {
                    install(subscription)
                    subscription.handler(nil)
                }
                return
            }
            sd_bus_unref(candidate)
            reason = String(cString: strerror(-result))
        }
        scheduleRetry()
        throw .unavailable(reason)
    }

    private static func open(_ address: BusConnection.Address, _ bus: inout OpaquePointer?) -> Int32 {
        switch address {
        case .system: return sd_bus_open_system(&bus)
        case .daemon(let text), .peer(let text):
            var result = sd_bus_new(&bus)
            guard result >= 0, let bus else { return result }
            result = sd_bus_set_address(bus, text)
            if result >= 0, case .daemon = address { result = sd_bus_set_bus_client(bus, 1) }
            return result < 0 ? result : sd_bus_start(bus)
        }
    }

    private func disconnect() {
        guard let broken = bus else { return }
        bus = nil
        sd_bus_close(broken)
        sd_bus_unref(broken)
        let lost = pending.values
        pending = [:]
        for waiting in lost { waiting.complete(.failure(.disconnected)) }
        scheduleRetry()
    }

    private func scheduleRetry() {
        retryAt = time.now() + retryDelay
        retryDelay = min(retryDelay * 2, Self.longestDelay)
    }

    private func install(_ subscription: Subscription) {
        guard let bus else { return }
        // The slot belongs to the bus, which ends before the subscription does.
        let result = sd_bus_add_match_async(
            bus, nil, subscription.rule,
            { message, context, _ in
                guard let message, let context else { return 0 }
                let subscription = Unmanaged<Subscription>.fromOpaque(context).takeUnretainedValue()
                if let signal = BusLoop.signal(message) { subscription.handler(signal) }
                return 0
            },
            // A refused rule must not end the connection, as it would without a handler.
            { _, _, _ in 0 }, Unmanaged.passUnretained(subscription).toOpaque())
        if result < 0 { return }
        if let greeting = subscription.greeting { call(greeting, deadline: .seconds(10)) { _ in } }
    }

    private func answered(_ waiting: Pending, _ message: OpaquePointer?) {
        guard pending.removeValue(forKey: ObjectIdentifier(waiting)) != nil else { return }
        guard let message else { return waiting.complete(.failure(.disconnected)) }
        if let error = sd_bus_message_get_error(message) {
            let name = error.pointee.name.map { String(cString: $0) } ?? ""
            let text = error.pointee.message.map { String(cString: $0) } ?? ""
            switch sd_bus_message_get_errno(message) {
            case ETIMEDOUT: return waiting.complete(.failure(.timedOut))
            case ECONNRESET, ENOTCONN: return waiting.complete(.failure(.disconnected))
            default: return waiting.complete(.failure(.refused(name: name, message: text)))
            }
        }
        waiting.complete(BusMessage.read(message).map { .success($0) } ?? .failure(.malformed(code: EBADMSG)))
    }

    private static func signal(_ message: OpaquePointer) -> BusSignal? {
        guard let path = sd_bus_message_get_path(message), let member = sd_bus_message_get_member(message),
            let content = BusMessage.read(message)
        else { return nil }
        return BusSignal(path: String(cString: path), member: String(cString: member), content: content)
    }

    /// Rounded up, so that a deadline has passed when the wait ends.
    private static func milliseconds(_ duration: Duration) -> Int32 {
        Int32(clamping: max(0, (duration.wholeNanoseconds + 999_999) / 1_000_000))
    }
}
