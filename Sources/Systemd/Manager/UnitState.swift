package import Timing

/// What systemd says of a unit.
package struct UnitState: Hashable, Sendable {
    /// Whether systemd has the unit: `loaded`, `not-found`, `masked`, `bad-setting`, `error`, …
    package var load: String
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    package var active: String
    /// The finer state: `running`, `auto-restart`, `start-pre`, …
    package var sub: String
    /// Why the service last ended: `success`, `exit-code`, `timeout`, …
    package var result: String
    /// `enabled`, `disabled`, `static`, …; empty when there is no file.
    package var file: String
    /// How often systemd has restarted the service by itself.
    package var restarts: UInt64
    /// In how many steps the pause before a restart grows; 0 when it does not, as before systemd 254.
    package var restartSteps: UInt64
    /// The main process; 0 when there is none.
    package var process: UInt64
    /// When `active` last changed; nil when it never did.
    package var since: UnixTime?
    /// Whether the unit's files have changed since systemd read them.
    package var needsReload: Bool
    /// Whether a start or stop of the unit waits in systemd's queue, or is under way.
    package var hasJob: Bool
    /// Whether the last start was passed over because a condition did not hold.
    package var conditionFailed: Bool

    /// Takes the properties of `org.freedesktop.systemd1.Unit` and `.Service`.
    package init(unit: [String: BusValue], service: [String: BusValue]) {
        self.load = unit["LoadState"]?.text ?? ""
        self.active = unit["ActiveState"]?.text ?? ""
        self.sub = unit["SubState"]?.text ?? ""
        self.result = service["Result"]?.text ?? ""
        self.file = unit["UnitFileState"]?.text ?? ""
        self.restarts = service["NRestarts"]?.number ?? 0
        self.restartSteps = service["RestartSteps"]?.number ?? 0
        self.process = service["MainPID"]?.number ?? 0
        let changed = unit["StateChangeTimestamp"]?.number ?? 0
        self.since =
            changed == 0 ? nil : UnixTime(nanoseconds: Int64(clamping: changed.multipliedClamping(by: 1000)))
        self.needsReload = unit["NeedDaemonReload"] == .bool(true)
        self.hasJob = (unit["Job"]?.number ?? 0) != 0
        self.conditionFailed =
            unit["ConditionResult"] == .bool(false) && (unit["ConditionTimestamp"]?.number ?? 0) != 0
    }
}

extension UInt64 {
    /// The product, or the greatest number.
    fileprivate func multipliedClamping(by factor: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? .max : product
    }
}
