internal import K3s
internal import LibP2P
internal import Logging
internal import Synchronization
internal import Timing

/// Drives `NodeRemovals`: has nodes taken out of Kubernetes one after the other, beside all else that the
/// controller does, since one attempt can take minutes.
final class NodeRemover: Sendable {
    private struct State {
        var removals = NodeRemovals()
        var peers: [String: PeerID] = [:]
        /// Why the last attempt failed, by name.
        var failures: [String: String] = [:]
    }

    private let state = Mutex(State())
    private let wake = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let time: any TimeSource
    private let logger: Logger
    /// Removes the node called so, or says why not.
    private let remove: @Sendable (String) async -> String?

    init(
        time: any TimeSource, logger: Logger, remove: @escaping @Sendable (String) async -> String?
    ) {
        self.time = time
        self.logger = logger
        self.remove = remove
    }

    /// What cannot be removed so far, for the status.
    var warnings: [String] {
        state.withLock { state in
            state.failures.sorted { $0.key < $1.key }.prefix(8).map { name, reason in
                "the forgotten node \(name) cannot be taken out of Kubernetes, and is tried again: \(reason)"
            }
        }
    }

    /// These are to be removed, and no others; new ones not before `delay`.
    func want(_ nodes: [PeerID: String], after delay: Duration) {
        state.withLock { state in
            state.peers = Dictionary(
                nodes.map { (NodeName(hostName: $0.value, peerID: $0.key.bytes).text, $0.key) },
                uniquingKeysWith: { first, _ in first })
            state.removals.want(Set(state.peers.keys), after: delay, at: time.now())
            state.failures = state.failures.filter { state.peers[$0.key] != nil }
        }
        wake.continuation.yield()
    }

    /// Removes what is wanted until the task is cancelled. `onRemoved` hears of each node that is out.
    func run(onRemoved: @escaping @Sendable (PeerID) -> Void) async {
        var woken = wake.stream.makeAsyncIterator()
        var wakeUp = WakeUp("NodeRemovals")
        while !Task.isCancelled {
            if let name = state.withLock({ $0.removals.next(at: time.now()) }) {
                let failure = await remove(name)
                let (peer, isNews) = state.withLock { state in
                    let isSettled = state.removals.ended(name, isDone: failure == nil, at: time.now())
                    let isNews = failure != nil && state.failures[name] != failure
                    state.failures[name] = state.removals.names.contains(name) ? failure : nil
                    return (isSettled ? state.peers[name] : nil, isNews)
                }
                if let peer { onRemoved(peer) }
                if isNews, let failure {
                    logger.warning(
                        "a node cannot be taken out of Kubernetes, and is tried again",
                        metadata: ["node": "\(name)", "reason": "\(failure)"])
                }
                continue
            }
            let deadline = state.withLock { $0.removals.nextDeadline }
            let plan = wakeUp.next(deadline, at: time.now())
            if let warning = plan?.warning { logger.warning("\(warning)") }
            let timer = plan.map { plan in
                Task { [wake] in
                    try? await Task.sleep(for: plan.delay)
                    if !Task.isCancelled { wake.continuation.yield() }
                }
            }
            _ = await woken.next()
            timer?.cancel()
            wakeUp.fired()
        }
    }
}
