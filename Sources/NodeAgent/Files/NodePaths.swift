/// Where a node's files lie, all under one root: `/` on a node, any directory for a run with
/// `--root` (docs/architecture.md, Files).
package struct NodePaths: Hashable, Sendable {
    /// The root without a trailing slash; empty for `/`.
    package let root: String

    /// Makes the paths under `root`.
    package init(root: String) {
        var trimmed = root
        while trimmed.hasSuffix("/") { trimmed.removeLast() }
        self.root = trimmed
    }

    /// `path`, which starts with a slash, under the root.
    package func under(_ path: String) -> String { root + path }

    package var stateDirectory: String { under("/usr/local/.kairos/p2p") }
    package var identity: String { stateDirectory + "/identity.key" }
    package var ledgerSnapshot: String { stateDirectory + "/ledger.snapshot" }
    package var electionState: String { stateDirectory + "/election.state" }
    package var joinToken: String { stateDirectory + "/join.token" }
    package var nodeName: String { stateDirectory + "/node.name" }
    package var leaseDirectory: String { under("/usr/local/.kairos/lease") }
    package var socket: String { under("/run/edgevpn-kairos.sock") }
    package var lock: String { under("/run/kairos-agent.lock") }
    /// The last status document, for `p2p status` on a node whose agent is down.
    package var lastStatus: String { under("/run/kairos-agent.status.json") }
    package var k3sDataDirectory: String { under("/var/lib/rancher/k3s") }
    /// Whether this is a run beside the machine's own system rather than the machine itself.
    package var isRelocated: Bool { !root.isEmpty }
}
