internal import Timing

/// Longer and longer pauses for a service that keeps ending, where the manager does not make them itself:
/// a systemd before 254 restarts K3s every 5 s for ever.
///
/// The service is stopped while the manager waits to restart it, and started again after the pause. It has
/// recovered when it was up for `recovery`.
struct CrashBackoff: Sendable {
    /// The first pause, and the longest.
    static let pauses = Duration.seconds(10)...Duration.seconds(60)
    /// How long a service must be up before its next end is a first one.
    static let recovery = Duration.seconds(300)

    private var pausesTaken = 0
    private var upSince: Instant?
    private var pausesUntil: Instant?

    /// Whether the service is kept from running for now.
    func isPausing(at now: Instant) -> Bool {
        pausesUntil.map { now < $0 } ?? false
    }

    /// When the service, as seen now, is to be stopped until; nil when it is to be left alone.
    mutating func pause(_ service: ServiceStatus, after crashes: CrashHistory, at now: Instant) -> Instant? {
        if service.activity == .active {
            let since = upSince ?? now
            upSince = since
            if now - since >= Self.recovery { self = CrashBackoff() }
            return nil
        }
        upSince = nil
        guard !service.delaysRestarts, service.activity == .activating,
            service.detail.hasPrefix("auto-restart"),
            crashes.isLooping(at: now, limit: pausesTaken > 0 ? 1 : K3sReconciler.crashLimit)
        else { return nil }
        let pause = Self.pauses.lowerBound * (1 << min(pausesTaken, 10))
        pausesTaken = min(pausesTaken + 1, 16)
        let until = now + min(pause, Self.pauses.upperBound)
        pausesUntil = until
        return until
    }
}
