/// A word of the operator that changes the cluster.
package enum OperatorCommand: Hashable, Sendable {
    /// This node goes: its address, its roles and its etcd membership are freed.
    case leave
    /// A node is gone for good: what it held is freed. The text is resolved by `KnownNode.gone`.
    case forget(node: String)
    /// A new founding may take place: the running cluster is given up.
    case resetCluster
    /// Most of the voters are gone for good: the nodes on which this is said go on without them.
    case recover

    /// The last part of its path in the API, which is also its name on the command line.
    package var name: String {
        switch self {
        case .leave: "leave"
        case .forget: "forget"
        case .resetCluster: "reset-cluster"
        case .recover: "recover"
        }
    }
}

/// What carries the operator's words out: the composition of the agent.
///
/// Each word asks once and answers at once, in at most a few seconds, with how it stands then: what takes
/// longer goes on behind, and `standing(of:)` tells of it without asking again. A word that stands already
/// is not begun a second time: its standing is the answer.
package protocol OperatorCommands: Sendable {
    /// This node goes, cleanly.
    func leave() async -> OperatorOutcome
    /// `node` is gone for good. It is neither this node nor connected to it.
    func forget(_ node: KnownNode) async -> OperatorOutcome
    /// The running cluster is given up, and a new one may be founded.
    func resetCluster() async -> OperatorOutcome
    /// The lost voters are given up, and others named by the nodes on which this is said.
    func recover() async -> OperatorOutcome
    /// How the last word of this kind stands; nil when there was none since the agent started.
    func standing(of question: OperatorQuestion) async -> OperatorOutcome?
}

/// Which word's standing is asked for.
package enum OperatorQuestion: Hashable, Sendable {
    case leave
    case forget(KnownNode)
    case resetCluster
    case recover
}
