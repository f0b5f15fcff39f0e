import Synchronization
import Timing

@testable import AgentAPI

/// Takes the operator's words and answers what the test says, one answer after the other; the last stays.
final class OperatorFake: OperatorCommands {
    private struct State {
        var asked: [OperatorQuestion] = []
        var answers: [OperatorOutcome]
    }

    private let state: Mutex<State>

    init(_ answers: [OperatorOutcome]) {
        state = Mutex(State(answers: answers))
    }

    /// The words that were asked for, in their order.
    var asked: [OperatorQuestion] { state.withLock { $0.asked } }

    func leave() async -> OperatorOutcome { ask(.leave) }
    func forget(_ node: KnownNode) async -> OperatorOutcome { ask(.forget(node)) }
    func resetCluster() async -> OperatorOutcome { ask(.resetCluster) }
    func recover() async -> OperatorOutcome { ask(.recover) }

    func standing(of question: OperatorQuestion) async -> OperatorOutcome? {
        state.withLock { $0.asked.contains(question) ? Self.next(&$0) : nil }
    }

    private func ask(_ question: OperatorQuestion) -> OperatorOutcome {
        state.withLock { state in
            state.asked.append(question)
            return Self.next(&state)
        }
    }

    private static func next(_ state: inout State) -> OperatorOutcome {
        state.answers.count > 1 ? state.answers.removeFirst() : state.answers[0]
    }
}
