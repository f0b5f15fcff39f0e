internal import Logging
internal import NIOConcurrencyHelpers
package import Systemd
package import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Runs services as children of this process: for runs with `--root`, and for machines without
/// systemd. Children end when the manager is shut down, and when this process dies.
package final class ChildProcessManager: ServiceManager {
    private let thread: PollThread<ChildLoop>

    /// - Parameter patience: how long a child has to end after SIGTERM before it is killed.
    /// - Throws: `PollThreadError` when the machine has no descriptor or thread left.
    package init(time: any TimeSource = SystemTime(), patience: Duration = .seconds(3))
        throws(PollThreadError)
    {
        self.thread = try PollThread(name: "children") { ChildLoop(time: time, patience: patience) }
    }

    package func start(_ service: Service) async throws(ServiceError) {
        try await apply(.start, to: service)
    }

    package func stop(_ service: Service) async throws(ServiceError) {
        try await apply(.stop, to: service)
    }

    package func restart(_ service: Service) async throws(ServiceError) {
        try await apply(.restart, to: service)
    }

    /// Nothing: who starts this process starts its children.
    package func enable(_ service: Service) async throws(ServiceError) {}

    /// Nothing, as for `enable`.
    package func disable(_ service: Service) async throws(ServiceError) {}

    /// Nothing: the next start says how.
    package func reloadDefinitions() async throws(ServiceError) {}

    package func status(of unit: String) async throws(ServiceError) -> ServiceStatus {
        try await ask { $0.status(of: unit) }
    }

    package func lastLines(of unit: String, count: Int) async -> [String] {
        (try? await ask { $0.lastLines(of: unit, count: count) }) ?? []
    }

    package func changes() async -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        if !thread.run({ $0.observe(continuation) }) { continuation.finish() }
        return stream
    }

    /// Stops all children and waits until they are gone.
    package func shutDown() async {
        await withCheckedContinuation { continuation in
            if !thread.run({ loop in loop.shutDown { continuation.resume() } }) { continuation.resume() }
        }
        thread.finish()
    }

    private func apply(_ input: Supervision.Input, to service: Service) async throws(ServiceError) {
        try await ask { $0.apply(input, to: service) }
    }

    private func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (ChildLoop) -> Answer
    ) async throws(ServiceError) -> Answer {
        let answer: Answer? = await withCheckedContinuation { continuation in
            if !thread.run({ continuation.resume(returning: question($0)) }) {
                continuation.resume(returning: nil)
            }
        }
        guard let answer else { throw .unavailable("the supervisor of child processes has ended") }
        return answer
    }
}

/// The part of a `ChildProcessManager` that its thread runs.
final class ChildLoop: PollLoop {
    private let time: any TimeSource
    private let patience: Duration
    private var children: [String: Child] = [:]
    private var observers: [AsyncStream<Void>.Continuation] = []
    private var whenEmpty: [() -> Void] = []
    private var isShuttingDown = false
    private var wakeUp = WakeUp("Supervision")

    init(time: any TimeSource, patience: Duration) {
        self.time = time
        self.patience = patience
    }

    func apply(_ input: Supervision.Input, to service: Service) {
        if isShuttingDown { return }
        guard let child = children[service.unit] else {
            if input == .stop { return }
            let child = Child(launch: service.launch, time: time, patience: patience)
            children[service.unit] = child
            if child.receive(input) { announce() }
            return
        }
        if input != .stop { child.launch = service.launch }
        if child.receive(input) { announce() }
    }

    func status(of unit: String) -> ServiceStatus {
        guard let child = children[unit] else { return ServiceStatus(activity: .inactive, detail: "dead") }
        var status = child.supervision.status
        status.since = child.since
        return status
    }

    func lastLines(of unit: String, count: Int) -> [String] {
        children[unit]?.tail.last(count) ?? []
    }

    func observe(_ continuation: AsyncStream<Void>.Continuation) {
        observers.append(continuation)
    }

    func shutDown(_ done: @escaping () -> Void) {
        isShuttingDown = true
        whenEmpty.append(done)
        for child in children.values { _ = child.receive(.stop) }
        tellWhenEmpty()
    }

    // MARK: loop

    func descriptors() -> [(descriptor: Int32, events: Int16)] {
        children.values.flatMap(\.descriptors)
    }

    func timeout() -> Int32 {
        let deadline = children.values.compactMap(\.supervision.nextDeadline).min()
        guard let plan = wakeUp.next(deadline, at: time.now()) else { return -1 }
        if let warning = plan.warning { Logger(label: "children").warning("\(warning)") }
        let nanoseconds = plan.delay.wholeNanoseconds
        return Int32(clamping: max(0, nanoseconds) / 1_000_000 + (nanoseconds > 0 ? 1 : 0))
    }

    func proceed() {
        var changed = false
        wakeUp.fired()
        for child in children.values { changed = child.proceed() || changed }
        if changed { announce() }
        tellWhenEmpty()
    }

    func finish() {
        // Without `shutDown` there is no time to wait: the kernel tells the children by their death signal.
        children = [:]
        for observer in observers { observer.finish() }
        for done in whenEmpty { done() }
        whenEmpty = []
    }

    private func announce() {
        observers.removeAll { observer in
            if case .terminated = observer.yield() { true } else { false }
        }
    }

    private func tellWhenEmpty() {
        guard isShuttingDown, !children.values.contains(where: \.isAlive) else { return }
        for done in whenEmpty { done() }
        whenEmpty = []
    }
}
