/// The words for what K3s waits for.
enum K3sWait {
    /// Why K3s does not run as it should; nil when it does.
    static func reason(
        _ observation: Observation, plan: Plan, desired: DesiredState, isCrashLooping: Bool
    ) -> (what: String, remedy: String?)? {
        if let obstacle = plan.obstacle { return reason(obstacle) }
        let unit = desired.command.unit
        let own = observation.own
        let last = telling(observation.lastLines).map { ": " + $0 } ?? ""
        let look = "see the last lines of `kairos-agent p2p status`, or journalctl -u \(unit)"
        if isCrashLooping {
            return ("\(unit) keeps ending and is restarted (\(own.restarts) times)\(last)", look)
        }
        if own.isQueued {
            return (
                "\(unit) to be started by systemd, which waits for units before it", "see systemctl list-jobs"
            )
        }
        switch own.activity {
        case .active: return nil
        case .activating where own.detail.hasPrefix("auto-restart"):
            return ("\(unit) to be restarted after \(own.failure ?? "it ended")\(last)", look)
        case .activating: return ("\(unit) to come up\(last)", nil)
        case .deactivating: return ("\(unit) to stop", nil)
        case .failed: return ("\(unit), which failed (\(own.failure ?? own.detail))\(last)", look)
        case .inactive where own.conditionFailed:
            return (
                "\(unit), whose conditions do not hold, such as the VPN's interface",
                "see systemctl status \(unit)"
            )
        case .inactive: return ("\(unit) to be started", nil)
        }
    }

    /// The line that says most: K3s' last error, else simply the last.
    private static func telling(_ lines: [String]) -> String? {
        lines.last { $0.contains("level=fatal") } ?? lines.last { $0.contains("level=error") } ?? lines.last
    }

    private static func reason(_ obstacle: Plan.Obstacle) -> (what: String, remedy: String?) {
        switch obstacle {
        case .binaryMissing(let places):
            (
                "K3s' binary, which is neither at \(places.joined(separator: " nor at "))",
                "use an image with K3s"
            )
        case .unitMissing(let unit):
            (
                "the unit \(unit), which does not exist",
                "install it as K3s' installer does, INSTALL_K3S_SKIP_START=true"
            )
        case .unitMasked(let unit): ("the unit \(unit), which is masked", "systemctl unmask \(unit)")
        case .unitBroken(let unit, let reason):
            ("the unit \(unit), which systemd cannot use (\(reason))", "systemd-analyze verify \(unit)")
        case .otherStillRuns(let unit): ("\(unit) to stop, as the node's role is another now", nil)
        case .addressChanged(let from, let to):
            (
                "the node's address to be \(from) again: its etcd knows no other, and it is \(to) now",
                "give the node its address back, or remove it from the cluster and its server/db folder"
            )
        }
    }
}
