package import Timing

/// Runs services: systemd on a node, child processes below a root. Nothing here waits until a service
/// is up; K3s can take for ever to come up (contract/k3s.md §9).
package protocol ServiceManager: Sendable {
    /// Has `service` start, if it does not run.
    func start(_ service: Service) async throws(ServiceError)
    /// Has `service` stop, if it runs.
    func stop(_ service: Service) async throws(ServiceError)
    /// Has `service` stop and start, or start if it does not run.
    func restart(_ service: Service) async throws(ServiceError)
    /// Has `service` start at boot, where that means something.
    func enable(_ service: Service) async throws(ServiceError)
    /// Has `service` not start at boot.
    func disable(_ service: Service) async throws(ServiceError)
    /// Has changed definitions read again.
    func reloadDefinitions() async throws(ServiceError)
    /// What is known of the unit.
    func status(of unit: String) async throws(ServiceError) -> ServiceStatus
    /// The last lines the unit wrote, at most `count`, oldest first. None when there are none to be had.
    func lastLines(of unit: String, count: Int) async -> [String]
    /// A value whenever a status may have changed; changes in between may be told once.
    func changes() async -> AsyncStream<Void>
    /// Ends the manager, and with it what cannot live without it.
    func shutDown() async
}

/// A service, for both sorts of managers.
package struct Service: Hashable, Sendable {
    /// The unit's name.
    package let unit: String
    /// How to run it where no unit file says so.
    package let launch: LaunchDescription

    package init(unit: String, launch: LaunchDescription) {
        self.unit = unit
        self.launch = launch
    }
}

/// What is known of a service.
package struct ServiceStatus: Hashable, Sendable {
    /// What the service does.
    package enum Activity: String, Hashable, Sendable {
        case active
        case activating
        case deactivating
        case inactive
        case failed
    }

    /// Whether there is anything to start.
    package enum Definition: Hashable, Sendable {
        case present
        case missing
        case masked
        /// There is a file, and systemd cannot use it.
        case broken(String)
    }

    /// Whether there is anything to start.
    package var definition: Definition
    /// What it does.
    package var activity: Activity
    /// The manager's own word for the finer state, such as `running` or `auto-restart`.
    package var detail: String
    /// Why it last ended, in the manager's words, when not for a good reason.
    package var failure: String?
    /// Whether it starts at boot; nil where that means nothing.
    package var isEnabled: Bool?
    /// How often the manager restarted it by itself.
    package var restarts: UInt64
    /// Whether the manager waits longer before each restart of a service that keeps ending.
    package var delaysRestarts: Bool
    /// When the activity last changed.
    package var since: UnixTime?
    /// Whether definitions have changed since they were last read.
    package var needsReload: Bool
    /// Whether the manager has the start still to do: behind units that are not up yet.
    package var isQueued: Bool
    /// Whether the last start was passed over, because a condition of the unit did not hold.
    package var conditionFailed: Bool

    package init(
        definition: Definition = .present, activity: Activity, detail: String = "", failure: String? = nil,
        isEnabled: Bool? = nil, restarts: UInt64 = 0, delaysRestarts: Bool = true,
        since: UnixTime? = nil, needsReload: Bool = false, isQueued: Bool = false,
        conditionFailed: Bool = false
    ) {
        self.definition = definition
        self.activity = activity
        self.detail = detail
        self.failure = failure
        self.isEnabled = isEnabled
        self.restarts = restarts
        self.delaysRestarts = delaysRestarts
        self.since = since
        self.needsReload = needsReload
        self.isQueued = isQueued
        self.conditionFailed = conditionFailed
    }

    /// Whether the service runs, or is on its way up or down.
    package var isRunning: Bool {
        switch activity {
        case .active, .activating, .deactivating: true
        case .inactive, .failed: false
        }
    }
}

/// Why a service manager did not do what it was asked.
package enum ServiceError: Error, Hashable, Sendable {
    /// The manager cannot be reached: no bus, no systemd.
    case unavailable(String)
    /// No answer in time.
    case timedOut
    /// There is no such unit.
    case unitMissing(String)
    /// The manager answered with an error.
    case refused(String)

    /// What happened, for the operator.
    package var cause: String {
        switch self {
        case .unavailable(let reason): "systemd cannot be reached: \(reason)"
        case .timedOut: "systemd did not answer in time"
        case .unitMissing(let unit): "there is no unit \(unit)"
        case .refused(let message): message
        }
    }
}
