internal import AgentAPI
internal import LibP2P
internal import NIOCore

/// Carries the operator's words to the node.
struct NodeOperator: OperatorCommands {
    let node: NodeService

    func leave() async -> OperatorOutcome { await give(.leave) }

    func forget(_ node: KnownNode) async -> OperatorOutcome {
        guard let word = word(for: node) else {
            return .refused(
                OperatorRefusal(
                    .unknownNode, what: "\(node.label) is not a node of this agent's kind",
                    remedy: "what a stock node held is freed by stock Kairos' own rules"))
        }
        return await give(word)
    }

    func resetCluster() async -> OperatorOutcome { await give(.refound) }
    func recover() async -> OperatorOutcome { await give(.recover) }

    func standing(of question: OperatorQuestion) async -> OperatorOutcome? {
        switch question {
        case .leave: try? await node.standing(of: .leave).get()
        case .resetCluster: try? await node.standing(of: .refound).get()
        case .recover: try? await node.standing(of: .recover).get()
        case .forget(let known):
            if let word = word(for: known) { try? await node.standing(of: word).get() } else { nil }
        }
    }

    private func word(for node: KnownNode) -> NodeCore.OperatorWord? {
        guard let text = node.peer, let peer = try? PeerID(text) else { return nil }
        return .forget(peer)
    }

    private func give(_ word: NodeCore.OperatorWord) async -> OperatorOutcome {
        do { return try await node.give(word).get() } catch {
            return .refused(
                OperatorRefusal(.busy, what: "the agent is stopping", remedy: "start it again, then repeat"))
        }
    }
}
