/// The two ways K3s runs: the first word after the binary, which decides the keys it knows and the
/// unit that runs it (contract/k3s.md §1.4, §15.1).
package enum K3sCommand: String, Hashable, Sendable, CaseIterable {
    case server
    case agent

    /// The service unit of this command, as K3s' own installer names it.
    package var unit: String {
        switch self {
        case .server: "k3s.service"
        case .agent: "k3s-agent.service"
        }
    }

    /// The command that must not run beside this one: they share a port, containerd and the data folder.
    package var other: K3sCommand {
        switch self {
        case .server: .agent
        case .agent: .server
        }
    }
}
