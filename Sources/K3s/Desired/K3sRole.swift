/// What K3s is to be on this node.
package enum K3sRole: Hashable, Sendable {
    /// The server that founds the cluster.
    case foundingServer(Founding)
    /// A further server of a cluster with embedded etcd or an external datastore.
    case server(Join)
    /// A node without control plane.
    case agent(Join)
    /// None: the node left the cluster, or was forgotten by it.
    case left
    /// What the cloud-config asks for by hand and nothing besides: no election, nothing generated.
    case asGiven(K3sCommand)

    /// How the cluster is founded.
    package struct Founding: Hashable, Sendable {
        /// The token that the others will join with; published before K3s starts.
        package var token: ClusterToken
        /// Whether further servers will join: embedded etcd instead of SQLite.
        package var isHighlyAvailable: Bool
        /// The external datastore's DSN, which takes the place of both.
        package var externalDatastore: String?
        /// Another server or the API address, once a second server is ready. Without it a founder that
        /// loses its data founds a second, empty cluster (contract/k3s.md §11.1).
        package var standby: ServerURL?

        package init(
            token: ClusterToken, isHighlyAvailable: Bool = false, externalDatastore: String? = nil,
            standby: ServerURL? = nil
        ) {
            self.token = token
            self.isHighlyAvailable = isHighlyAvailable
            self.externalDatastore = externalDatastore
            self.standby = standby
        }
    }

    /// What a node needs to join.
    package struct Join: Hashable, Sendable {
        /// A ready server, or the API address.
        package var server: ServerURL
        /// The cluster's token.
        package var token: ClusterToken
        /// The external datastore's DSN, which servers share; they need no `server` then.
        package var externalDatastore: String?

        package init(server: ServerURL, token: ClusterToken, externalDatastore: String? = nil) {
            self.server = server
            self.token = token
            self.externalDatastore = externalDatastore
        }
    }

    /// The command that K3s runs as. A node that left runs neither; the server's unit is then the one
    /// that reports speak of.
    package var command: K3sCommand {
        switch self {
        case .foundingServer, .server, .left: .server
        case .agent: .agent
        case .asGiven(let command): command
        }
    }
}
