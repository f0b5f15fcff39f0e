package import LibP2P

/// The ledger keys of the coordination: stock Kairos' keys in the bucket that `p2p.network_id`
/// names (contract/wire.md M.2), and this project's own in buckets whose entries only their owner
/// may write.
package enum LedgerKeys {
    /// The bucket of registers and certificates.
    package static let electionBucket = "kairosElection"
    /// The bucket of join facts.
    package static let joinBucket = "kairosNode"

    /// Stock: when a node last advertised itself.
    package static func advertisement(uuid: String) -> String { "\(uuid)-uuid" }
    /// Stock: the node's role.
    package static func role(uuid: String) -> String { "\(uuid)-role" }
    /// Stock: the node's address.
    package static func address(uuid: String) -> String { "\(uuid)-ip" }
    /// Stock: the UUID of the acting leader.
    package static let leader = "leader-auto"
    /// Stock: the address at which to join.
    package static let serverAddress = "ip-master"
    /// Stock: the join token.
    package static let nodeToken = "token-nodetoken"
    /// Stock: the administrator's kubeconfig, in base64url without padding.
    package static let kubeconfig = "master-kubeconfig"

    /// A member's election register.
    package static func register(of peer: PeerID, networkID: String) -> String {
        "\(peer)/\(networkID)/register"
    }
    /// A member's copy of the founding certificate.
    package static func certificate(of peer: PeerID, networkID: String) -> String {
        "\(peer)/\(networkID)/certificate"
    }
    /// What a server offers to those who join it.
    package static func joinFacts(of peer: PeerID, networkID: String) -> String {
        "\(peer)/\(networkID)/join"
    }

    /// What a server says of the API address (`APIHolding`).
    package static func apiAddress(of peer: PeerID, networkID: String) -> String {
        "\(peer)/\(networkID)/api"
    }

    /// The peer whose entry `key` is; nil when the key is not `<peer>/<networkID>/<kind>`.
    package static func owner(ofKey key: String, kind: String, networkID: String) -> PeerID? {
        let suffix = "/\(networkID)/\(kind)"
        guard key.hasSuffix(suffix) else { return nil }
        return try? PeerID(String(key.dropLast(suffix.count)))
    }
}
