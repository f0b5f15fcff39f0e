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
        let complaint = own.activity == .active ? nil : K3sComplaint(lines: observation.lastLines)
        let look =
            complaint?.remedy ?? "see the last lines of `kairos-agent p2p status`, or journalctl -u \(unit)"
        if isCrashLooping {
            return ("\(unit) keeps ending and is restarted (\(own.restarts) times)\(last)", look)
        }
        if own.isQueued {
            return (
                "\(unit) to be started by systemd, which waits for units before it", "see systemctl list-jobs"
            )
        }
        if desired.role == .left { return nil }
        switch own.activity {
        case .active where plan.wantsRestart:
            return (
                "this server's turn to restart, as K3s has \(RestartReason()) to read",
                "servers restart one after the other; it waits while another one is not ready"
            )
        case .active: return nil
        case .activating where own.detail.hasPrefix("auto-restart"):
            return ("\(unit) to be restarted after \(own.failure ?? "it ended")\(last)", look)
        case .activating: return ("\(unit) to come up\(last)", complaint?.remedy)
        case .deactivating: return ("\(unit) to stop", nil)
        case .failed: return ("\(unit), which failed (\(own.failure ?? own.detail))\(last)", look)
        case .inactive where own.conditionFailed:
            return (
                "\(unit), whose conditions do not hold, such as the VPN's interface or this agent's word",
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
        case .takenOut(let unit): ("the node to leave: \(unit) was taken out of etcd", nil)
        case .otherStillRuns(let unit): ("\(unit) to stop, as the node's role is another now", nil)
        case .addressChanged(let from, let to):
            (
                "the node's address to be \(from) again: its etcd knows no other, and it is \(to) now",
                "give the node its address back; or, with other servers ready, have it leave the cluster and join"
                    + " again; alone, `k3s server --cluster-reset` with the new node-ip and no server key"
            )
        case .recordUnreadable(let path):
            (
                "to know what K3s' data belong to: \(path) cannot be read",
                "if they are this cluster's, remove the file; if not, move K3s' data folder away, too"
            )
        case .epochIsOver(let told, let known):
            (
                "news of epoch \(known), to which K3s' data belong: what this node knows is of epoch \(told)",
                "connect the node to the others"
            )
        case .datastoreGone(let kind):
            (
                "the \(kind.rawValue) datastore of the cluster that this node founded, which is gone:"
                    + " K3s would found a second, empty one",
                "restore the data folder; or have the cluster founded anew: kairos-agent p2p reset-cluster"
            )
        case .datastoreFixed(let kind, let wanted):
            (
                "the datastore to stay \(kind.rawValue): K3s does not carry a cluster over to \(wanted.rawValue)",
                "set p2p.auto.ha.external_db as it was, or found a new cluster"
            )
        }
    }
}
