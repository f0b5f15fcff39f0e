/// What a former cluster or role leaves on the node and must not be carried over (contract/k3s.md §10,
/// §13). It is renamed beside itself, never deleted. `/etc/rancher/node` with the node's password is not
/// among it: it belongs to the node (§14).
package enum ClusterRemains: String, Hashable, Sendable, CaseIterable {
    /// The control plane: datastore, CA keys, certificates, token.
    case server
    /// The node's own certificates and what it knows of its servers.
    case agent
    /// The administrator's credentials for the former cluster.
    case kubeconfig

    /// Names inside the folder that stay: containers that run and images belong to no cluster. The
    /// new kubelet ends containers of the former one itself.
    package var kept: Set<String> {
        switch self {
        case .agent: ["containerd", "images"]
        case .server, .kubeconfig: []
        }
    }

    /// Where it is.
    package func path(in layout: K3sLayout) -> String {
        switch self {
        case .server: layout.dataFolder + "/server"
        case .agent: layout.dataFolder + "/agent"
        case .kubeconfig: layout.kubeconfig
        }
    }
}
