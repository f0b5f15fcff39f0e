/// Why no K3s configuration can be made, or none that could work. Nothing is written then.
package enum K3sConfigurationError: Error, Hashable, Sendable {
    /// The command has no such key; K3s would ignore it (server) or exit on it (agent).
    case keyUnknown(name: String, command: K3sCommand)
    /// The key takes another kind of value.
    case valueUnsuitable(name: String)
    /// A server without a token would found a cluster of its own (contract/k3s.md §2).
    case tokenMissing(command: K3sCommand)
    /// The first server takes only a plain password: no `K10…` form, no bootstrap token (§6.1).
    case tokenUnfitForFounding(TokenShape)
    /// A bootstrap token lets agents join, not servers (§6.1).
    case tokenUnfitForServer
    /// A token with a character that cannot travel through files and environments.
    case tokenMalformed
    /// Not an `https://` URL with a host (§10).
    case serverURLInvalid(String)
    /// Not an IPv4 or IPv6 address.
    case addressInvalid(String)
    /// Two servers that advertise the API address would publish one endpoint (§3.2).
    case advertisesAPIAddress(String)
    /// Not a name that an environment variable can have.
    case variableNameInvalid(String)
    /// A value that systemd drops: a control character other than tab and newline, or too long.
    case variableValueInvalid(name: String)
    /// An argument that a unit file cannot carry.
    case argumentInvalid(String)
    /// External datastore together with a role or setting that excludes it (§2).
    case datastoreExcludesClusterInit

    /// What is wrong, without any secret.
    package var cause: String {
        switch self {
        case .keyUnknown(let name, let command): "k3s \(command.rawValue) has no setting \(name)"
        case .valueUnsuitable(let name): "the value does not fit the K3s setting \(name)"
        case .tokenMissing(let command): "k3s \(command.rawValue) has no cluster token"
        case .tokenUnfitForFounding(.full):
            "the cluster token begins with K10, which the first server refuses"
        case .tokenUnfitForFounding:
            "the cluster token has the shape of a bootstrap token, which a server refuses"
        case .tokenUnfitForServer:
            "the cluster token has the shape of a bootstrap token, which a server refuses"
        case .tokenMalformed: "the cluster token contains white space or a control character"
        case .serverURLInvalid(let text): "\(text) is not an https:// URL of a K3s server"
        case .addressInvalid(let text): "\(text) is not an IP address"
        case .advertisesAPIAddress(let address):
            "advertise-address is the API address \(address), which several servers share"
        case .variableNameInvalid(let name): "\(name) is not the name of an environment variable"
        case .variableValueInvalid(let name):
            "the value of \(name) is too long or contains a control character, and systemd would drop it"
        case .argumentInvalid(let text): "the K3s argument \(text) contains a zero byte"
        case .datastoreExcludesClusterInit: "an external datastore excludes cluster-init"
        }
    }

    /// What the operator can do.
    package var remedy: String {
        switch self {
        case .keyUnknown, .valueUnsuitable, .argumentInvalid:
            "correct k3s.args or k3s-agent.args in the cloud-config"
        case .tokenMissing: "wait until the founding server has published the token, or set --token"
        case .tokenUnfitForFounding, .tokenUnfitForServer, .tokenMalformed:
            "give a plain password of letters and digits, or leave the token to be generated"
        case .serverURLInvalid: "give it as https://ADDRESS:6443"
        case .addressInvalid: "give an IPv4 or IPv6 address"
        case .advertisesAPIAddress: "remove --advertise-address from k3s.args"
        case .variableNameInvalid, .variableValueInvalid:
            "correct k3s.env or k3s-agent.env in the cloud-config"
        case .datastoreExcludesClusterInit: "remove --cluster-init from k3s.args, or the external datastore"
        }
    }
}

/// The forms a K3s token can have (contract/k3s.md §6.1).
package enum TokenShape: Hashable, Sendable {
    /// Any password.
    case password
    /// `K10<hash of the CA>::<user>:<password>`.
    case full
    /// `<6 of a-z0-9>.<16 of a-z0-9>`, also behind a `K10` prefix.
    case bootstrap
}
