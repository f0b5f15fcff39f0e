package import Timing

/// Keeps one child process running: a state machine without processes.
///
///     stopped ── start ──► running ── ready ──► running (ready)
///        ▲                    │  ▲ exit            │ stop, restart
///        │                exit▼  │ delay over      ▼
///        └── stop ─────── backing off         stopping ── exit ──► stopped, or running again
///
/// A process that ends by itself is started again, after a delay that doubles while it keeps ending
/// early. One that does not end within `patience` of SIGTERM is killed.
package struct Supervision: Sendable {
    /// What happens to the process.
    package enum Input: Hashable, Sendable {
        case start
        case stop
        case restart
        /// The program said that it is up (`READY=1`).
        case ready
        /// The process, and with it every thread, is gone.
        case exited(Exit)
        /// The program could not be executed: errno(3).
        case spawnFailed(Int32)
        /// Time has passed.
        case tick
    }

    /// What is to be done.
    package enum Effect: Hashable, Sendable {
        case spawn
        case terminate
        case kill
        /// The status is another.
        case changed
    }

    /// How a process ended.
    package enum Exit: Hashable, Sendable, CustomStringConvertible {
        case status(Int32)
        case signal(Int32)

        package var description: String {
            switch self {
            case .status(let status): "exit status \(status)"
            case .signal(let signal): "signal \(signal)"
            }
        }
    }

    private enum State: Hashable {
        case stopped
        case running(since: Instant, isReady: Bool)
        case stopping(killAt: Instant?, thenStart: Bool)
        case backingOff(until: Instant)
    }

    /// How long a process has to end after SIGTERM.
    package var patience = Duration.seconds(3)
    /// The first delay before a restart, and the longest.
    package static let delays = Duration.seconds(1)...Duration.seconds(30)
    /// A process that ran this long is not one that keeps ending early.
    package static let stable = Duration.seconds(60)

    private var state = State.stopped
    private var delay = delays.lowerBound
    private var lastFailure: String?
    /// How often the process was started again by itself since it was asked to run.
    package private(set) var restarts: UInt64 = 0

    package init() {}

    /// When `.tick` is wanted.
    package var nextDeadline: Instant? {
        switch state {
        case .stopping(let killAt, _): killAt
        case .backingOff(let until): until
        case .stopped, .running: nil
        }
    }

    /// Takes one input.
    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        switch input {
        case .start: return start(at: now)
        case .stop: return stop(at: now)
        case .restart: return restart(at: now)
        case .ready:
            guard case .running(let since, false) = state else { return [] }
            state = .running(since: since, isReady: true)
            return [.changed]
        case .exited(let exit): return exited(exit, at: now)
        case .spawnFailed(let code):
            guard case .running = state else { return [] }
            lastFailure = "cannot be executed (errno \(code))"
            return backOff(at: now)
        case .tick: return tick(at: now)
        }
    }

    private mutating func start(at now: Instant) -> [Effect] {
        switch state {
        case .stopped, .backingOff:
            if case .stopped = state {
                delay = Self.delays.lowerBound
                restarts = 0
                lastFailure = nil
            }
            return spawn(at: now)
        case .stopping(let killAt, false):
            state = .stopping(killAt: killAt, thenStart: true)
            return []
        case .stopping, .running: return []
        }
    }

    private mutating func stop(at now: Instant) -> [Effect] {
        switch state {
        case .stopped: return []
        case .backingOff:
            state = .stopped
            return [.changed]
        case .running:
            state = .stopping(killAt: now + patience, thenStart: false)
            return [.terminate, .changed]
        case .stopping(let killAt, _):
            state = .stopping(killAt: killAt, thenStart: false)
            return []
        }
    }

    private mutating func restart(at now: Instant) -> [Effect] {
        switch state {
        case .stopped, .backingOff: return start(at: now)
        case .running:
            state = .stopping(killAt: now + patience, thenStart: true)
            return [.terminate, .changed]
        case .stopping(let killAt, _):
            state = .stopping(killAt: killAt, thenStart: true)
            return []
        }
    }

    private mutating func exited(_ exit: Exit, at now: Instant) -> [Effect] {
        switch state {
        case .stopped, .backingOff: return []
        case .stopping(_, let thenStart):
            state = .stopped
            lastFailure = nil
            return thenStart ? start(at: now) : [.changed]
        case .running(let since, _):
            if now - since >= Self.stable { delay = Self.delays.lowerBound }
            lastFailure = exit.description
            return backOff(at: now)
        }
    }

    private mutating func tick(at now: Instant) -> [Effect] {
        switch state {
        case .stopping(let killAt?, let thenStart) where now >= killAt:
            state = .stopping(killAt: nil, thenStart: thenStart)
            return [.kill]
        case .backingOff(let until) where now >= until:
            restarts &+= 1
            return spawn(at: now)
        default: return []
        }
    }

    private mutating func spawn(at now: Instant) -> [Effect] {
        state = .running(since: now, isReady: false)
        return [.spawn, .changed]
    }

    private mutating func backOff(at now: Instant) -> [Effect] {
        state = .backingOff(until: now + delay)
        delay = min(delay * 2, Self.delays.upperBound)
        return [.changed]
    }

    /// What the service does, in the words of a manager; `since` is the caller's to add.
    package var status: ServiceStatus {
        let (activity, detail): (ServiceStatus.Activity, String) =
            switch state {
            case .stopped: (.inactive, "dead")
            case .running(_, true): (.active, "running")
            case .running(_, false): (.activating, "start")
            case .stopping: (.deactivating, "stop")
            case .backingOff: (.activating, "auto-restart")
            }
        return ServiceStatus(activity: activity, detail: detail, failure: lastFailure, restarts: restarts)
    }
}
