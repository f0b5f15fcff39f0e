/// What a node is in the Kubernetes cluster.
package enum NodeRole: String, Hashable, Sendable {
    /// The server that founds the cluster.
    case founder
    /// A further server, which joins.
    case server
    case agent

    /// The role's name in the ledger, as stock tools know it (contract/kairos.md §4.1).
    package func stockName(highAvailability: Bool) -> String {
        switch self {
        case .founder: highAvailability ? "master/clusterinit" : "master"
        case .server: "master/ha"
        case .agent: "worker"
        }
    }
}
