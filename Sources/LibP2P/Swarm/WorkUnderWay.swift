internal import NIOConcurrencyHelpers
internal import NIOCore

/// What a swarm has under way on loops other than its own: sockets from their first moment until they are closed,
/// and dials and handshakes until the swarm has heard how they ended. Whoever ends the loops waits for it first.
final class WorkUnderWay: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var tasks = 0
        var idle: EventLoopPromise<Void>?
        var isIdle: Bool { channels.isEmpty && tasks == 0 }
    }

    /// A name that is being looked up cannot be given up, and nobody waits longer for it.
    private static let longestWait = TimeAmount.seconds(2)

    private let eventLoop: any EventLoop
    private let state = NIOLockedValueBox(State())

    /// - Parameter eventLoop: the swarm's.
    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// A dial or handshake begins, unless the swarm ends; every one that begins must `end`.
    func begin() -> Bool {
        state.withLockedValue { state in
            guard state.idle == nil else { return false }
            state.tasks += 1
            return true
        }
    }

    /// A dial or handshake is over, and the swarm knows. On the swarm's loop.
    func end() {
        settle { $0.tasks -= 1 }
    }

    /// A socket of something that has begun; it is closed at once when the swarm ends.
    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let isWanted = state.withLockedValue { state in
            state.channels[id] = channel
            return state.idle == nil
        }
        channel.closeFuture.hop(to: eventLoop).whenComplete { _ in self.settle { $0.channels[id] = nil } }
        if !isWanted { channel.close(promise: nil) }
    }

    /// Lets nothing begin any more and closes every socket that `isKept` does not name. Done when nothing is
    /// under way, or after two seconds.
    func shut(sparing isKept: (any Channel) -> Bool) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        let channels = state.withLockedValue { state in
            state.idle = promise
            return Array(state.channels.values)
        }
        for channel in channels where !isKept(channel) { channel.close(promise: nil) }
        settle { _ in }
        let timer = eventLoop.scheduleTask(in: Self.longestWait) { promise.succeed() }
        promise.futureResult.whenComplete { _ in timer.cancel() }
        return promise.futureResult
    }

    private func settle(_ change: (inout State) -> Void) {
        let idle = state.withLockedValue { state in
            change(&state)
            return state.isIdle ? state.idle : nil
        }
        idle?.succeed()
    }
}
