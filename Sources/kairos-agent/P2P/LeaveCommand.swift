internal import AgentAPI
internal import ArgumentParser

/// `kairos-agent p2p leave`.
struct LeaveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leave", abstract: "Take this node out of the cluster, cleanly.",
        discussion: """
            K3s is stopped here and its data are set aside, never deleted. The others free the node's address, \
            its role and, for a server, its membership of etcd. The last server cannot leave.

            \(OperatorOptions.exitCodes)
            """)

    @OptionGroup var options: OperatorOptions

    func run() async throws {
        try await options.carryOut(.leave)
    }
}

/// `kairos-agent p2p forget`.
struct ForgetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Say that a node is gone for good.",
        discussion: """
            The node's address and role are freed, and its place in etcd if it was a server; in a cluster with \
            several servers another node takes its place. A node that comes back after all finds that it is no \
            member any more and starts no K3s.

            The name is the host name, the UUID, the peer ID or the VPN address of exactly one node, as \
            `kairos-agent p2p status` shows them. A node that is connected is not gone, and is not forgotten: \
            run `kairos-agent p2p leave` on it.

            \(OperatorOptions.exitCodes)
            """)

    @Argument(help: "The node: its host name, UUID, peer ID or address.")
    var node: String

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard !node.isEmpty, node.utf8.count <= KnownNode.maximumNameLength else {
            throw ValidationError(
                "the node is named by 1 to \(KnownNode.maximumNameLength) bytes of text.")
        }
    }

    func run() async throws {
        try await options.carryOut(.forget(node: node))
    }
}

/// `kairos-agent p2p reset-cluster`.
struct ResetClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset-cluster", abstract: "Give the running cluster up and let a new one be founded.",
        discussion: """
            This is for a cluster whose servers are all lost. Every node stops its K3s and sets its data aside, \
            never deleted; then a new founder is elected, and everybody joins it. Workloads start anew. It takes \
            effect once a majority of the voters has acknowledged it: say it on each of them, or on one, if none \
            of them has seen a server for ten minutes.

            \(OperatorOptions.exitCodes)
            """)

    @Flag(name: .customLong("i-know"), help: "Say that you know that the running cluster is given up.")
    var iKnow = false

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard iKnow else {
            throw ValidationError(
                "this gives the running cluster up, on all nodes; say --i-know if that is what you want.")
        }
    }

    func run() async throws {
        try await options.carryOut(.resetCluster)
    }
}
