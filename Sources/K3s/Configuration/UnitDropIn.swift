/// The drop-in that ties K3s' unit to this agent: order, environment and the user's arguments.
///
/// It is called `90-kairos-p2p.conf`, so that a user's own `override.conf` (`systemctl edit`) is
/// read later and wins.
package struct UnitDropIn: Hashable, Sendable {
    /// The agent's own unit, after which K3s starts and before which it stops, so that the overlay's
    /// device is there for as long as K3s needs it (contract/k3s.md §3.4).
    package var agentUnit: String
    /// The interface K3s binds to. At boot systemd passes K3s over until it exists; the agent starts
    /// the unit once the address is configured.
    package var interface: String?
    /// The file without which K3s does not start: the agent's word, given anew after each boot.
    package var startPermit: String
    /// The environment file, when there are variables.
    package var environmentFile: String?
    /// Whether the environment files of the unit itself are left out (`replace_env`).
    package var replacesEnvironmentFiles: Bool
    /// The whole command line, binary first, when it differs from the unit's own.
    package var commandLine: [String]?

    /// The text of the drop-in.
    package func rendered() -> String {
        var text = """
            # Written by kairos-agent. Changes made here are overwritten; `systemctl edit` wins over it.
            [Unit]
            After=\(agentUnit)
            Wants=\(agentUnit)

            """
        if let interface {
            text += "ConditionPathExists=/sys/class/net/\(Self.escapingSpecifiers(interface))\n"
        }
        text += "ConditionPathExists=\(Self.escapingSpecifiers(startPermit))\n"
        // K3s that keeps ending is restarted later and later; a systemd before 254 skips the two lines,
        // and `CrashBackoff` does it.
        text += "\n[Service]\nRestartSteps=6\nRestartMaxDelaySec=60\n"
        if replacesEnvironmentFiles { text += "EnvironmentFile=\n" }
        if let environmentFile { text += "EnvironmentFile=\(Self.escapingSpecifiers(environmentFile))\n" }
        if let commandLine {
            text += "ExecStart=\nExecStart=" + commandLine.map(Self.quoted).joined(separator: " ") + "\n"
        }
        return text
    }

    /// `word` as one word of `ExecStart=` that systemd hands over unchanged: C escapes between double
    /// quotes, `%%` and `$$` for what it would expand (systemd.service(5), "Command lines").
    static func quoted(_ word: String) -> String {
        let safe = word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-_=./:,@+".utf8.contains(byte)
            }
        }
        // A first character of @, -, :, + or ! has a meaning before the program's name only.
        if safe, !word.isEmpty { return word }
        var text = "\""
        for scalar in word.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "%": text += "%%"
            case "$": text += "$$"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\r": text += "\\r"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let digits = String(scalar.value, radix: 16)
                    text += "\\x" + (digits.count == 1 ? "0" + digits : digits)
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        }
        return text + "\""
    }

    private static func escapingSpecifiers(_ text: String) -> String {
        text.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
    }
}
