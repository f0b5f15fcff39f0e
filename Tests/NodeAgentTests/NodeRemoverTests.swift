import LibP2P
import Logging
import Synchronization
import Testing
import Timing

@testable import NodeAgent

@Suite("Taking nodes out of Kubernetes")
struct NodeRemoverTests {
    /// Time that the test moves.
    private final class SetTime: TimeSource {
        private let seconds = Mutex(0.0)
        func now() -> Instant { .zero + .seconds(seconds.withLock { $0 }) }
        func wallClock() -> UnixTime { UnixTime(seconds: 0) }
        func pass(_ passed: Double) { seconds.withLock { $0 += passed } }
    }

    @Test(
        "a node that cannot be removed is told of, tried again, and reported once it is out",
        .timeLimit(.minutes(1)))
    func retry() async throws {
        let peer = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 4, count: 32))).peerID
        let time = SetTime()
        let tries = Mutex(0)
        let (attempts, attempted) = AsyncStream.makeStream(of: String.self)
        let remover = NodeRemover(time: time, logger: Logger(label: "test")) { name in
            attempted.yield(name)
            return tries.withLock { tries in
                tries += 1
                return tries == 1 ? "the cluster did not answer" : nil
            }
        }
        let (removals, removed) = AsyncStream.makeStream(of: PeerID.self)
        remover.want([peer: "node"], after: .zero)
        let running = Task { await remover.run { removed.yield($0) } }
        defer { running.cancel() }
        var attempt = attempts.makeAsyncIterator()
        let name = try #require(await attempt.next())
        #expect(name.hasPrefix("node-"))
        while remover.warnings.isEmpty { await Task.yield() }
        #expect(remover.warnings.first?.hasSuffix("tried again: the cluster did not answer") == true)
        time.pass(5)
        // The wish is said again; what was waited for is over.
        remover.want([peer: "node"], after: .seconds(500))
        #expect(await attempt.next() == name)
        var report = removals.makeAsyncIterator()
        #expect(await report.next() == peer)
        #expect(remover.warnings == [])
    }
}
