internal import CSystemd

/// What this process tells systemd about itself (sd_notify(3)). Outside a unit of `Type=notify`
/// nothing happens.
package enum ServiceNotification {
    /// The node is up. It must not wait for K3s: K3s' unit is ordered after ours and would wait for us.
    package static func ready(status: String) {
        send("READY=1\nSTATUS=" + oneLine(status))
    }

    /// The line that `systemctl status` shows.
    package static func status(_ status: String) {
        send("STATUS=" + oneLine(status))
    }

    /// The configuration is being read again; `ready` ends it.
    package static func reloading() {
        send("RELOADING=1")
    }

    /// The node is going down.
    package static func stopping() {
        send("STOPPING=1")
    }

    /// A sign of life for the watchdog.
    package static func alive() {
        send("WATCHDOG=1")
    }

    /// How often `alive` must be sent at least, when the unit has a watchdog; send it twice as often.
    package static var watchdogInterval: Duration? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0, microseconds > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds))
    }

    private static func send(_ text: String) {
        // Whether anyone listens makes no difference to the node.
        sd_notify(0, text)
    }

    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }
}
