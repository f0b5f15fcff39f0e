/// A node of the network that an operator has named.
package struct KnownNode: Hashable, Sendable {
    /// The peer ID, in base 58; nil for a stock node that was known by its UUID only.
    package var peer: String?
    /// Kairos' name of the node: machine ID and host name.
    package var uuid: String?
    /// The host's name.
    package var name: String?
    /// The VPN address, without the size of its network.
    package var address: String?

    package init(peer: String? = nil, uuid: String? = nil, name: String? = nil, address: String? = nil) {
        self.peer = peer
        self.uuid = uuid
        self.name = name
        self.address = address
    }

    /// What people call it.
    package var label: String { name ?? uuid ?? peer ?? address ?? "a node without a name" }
}

extension KnownNode {
    /// The longest name that is looked for, in bytes.
    package static let maximumNameLength = 512

    /// The one node of `nodes` that `text` names: by its host name (case does not matter), UUID, peer ID
    /// or address, in full. It must be gone: not this node, and not connected to it.
    ///
    /// - Throws: `OperatorRefusal` when no node or several are meant, or when the node is not gone.
    package static func gone(
        named text: String, among nodes: [StatusDocument.Peer]
    ) throws(OperatorRefusal) -> KnownNode {
        let matches = nodes.filter { $0.isNamed(text) }
        guard let node = matches.first else {
            throw OperatorRefusal(
                .unknownNode, what: "no node is known as \(text)",
                remedy: "see `kairos-agent p2p status` for the names, UUIDs, peer IDs and addresses")
        }
        guard matches.count == 1 else {
            throw OperatorRefusal(
                .ambiguousNode, what: "\(matches.count) nodes are known as \(text)",
                remedy: "name the one that is gone by its peer ID", candidates: matches.map(\.summary))
        }
        let known = KnownNode(peer: node.peer, uuid: node.uuid, name: node.name, address: node.address)
        switch node.state {
        case .own:
            throw OperatorRefusal(
                .thisNode, what: "\(known.label) is this node",
                remedy: "`kairos-agent p2p leave` takes this node out of the cluster")
        case .connected, .reachable:
            throw OperatorRefusal(
                .nodeConnected, what: "\(known.label) is connected, so it is not gone",
                remedy: "run `kairos-agent p2p leave` on it; if that cannot be, switch it off first")
        case .unreachable, .gone: return known
        }
    }
}

extension StatusDocument.Peer {
    fileprivate func isNamed(_ text: String) -> Bool {
        guard !text.isEmpty else { return false }
        return peer == text || uuid == text || address == text || name?.lowercased() == text.lowercased()
    }

    /// The node in a few words, to tell it from others of the same name.
    fileprivate var summary: String {
        let parts = [peer.map { "peer \($0)" } ?? uuid.map { "uuid \($0)" }, address, state.rawValue]
        return parts.compactMap(\.self).joined(separator: ", ")
    }
}
