internal import Multiformats
internal import NIOConcurrencyHelpers
internal import Timing

/// The places of inbound connections whose handshake is not complete. A newcomer always gets one; when there is
/// none left another socket, chosen by `UnprovenShare`, is closed for it, so that silent sockets keep nobody out.
/// Refuses blocked networks. Asked on the loops that accept.
final class InboundGate: Sendable {
    /// A place in the gate.
    struct Pass: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    /// What the gate has done.
    struct Counters: Hashable, Sendable {
        /// Sockets that had to give way to newcomers.
        var evicted = 0
        /// Sockets of blocked networks.
        var blocked = 0
    }

    private struct State {
        var blocklist = AddressBlocklist()
        var share: UnprovenShare<Pass>
        var random: SeededGenerator
        var closers: [Pass: @Sendable () -> Void] = [:]
        var lastNumber: UInt64 = 0
        var isOpen = true
        var counters = Counters()
    }

    private let clock: any TimeSource
    private let state: NIOLockedValueBox<State>

    init(limits: SwarmLimits, clock: any TimeSource, seed: UInt64) {
        self.clock = clock
        state = NIOLockedValueBox(
            State(
                // Who is slow loses its place at random like everybody else: a handshake has a time limit.
                share: UnprovenShare(
                    capacity: limits.pendingInbound, perAddress: limits.pendingInboundPerAddress,
                    patience: .seconds(3)),
                random: SeededGenerator(seed: seed)))
    }

    /// Takes a connection from `remote` to `local` in; nil when it must be closed at once. Every one that is
    /// taken in must `leave`. `close` is called, from any thread, when it has to give way.
    func enter(remote: IPAddress, local: IPAddress?, close: @escaping @Sendable () -> Void) -> Pass? {
        let now = clock.now()
        let (pass, victim) = state.withLockedValue { state -> (Pass?, (@Sendable () -> Void)?) in
            guard state.isOpen else { return (nil, nil) }
            guard !state.blocklist.blocks(remote), !(local.map(state.blocklist.blocks) ?? false) else {
                state.counters.blocked &+= 1
                return (nil, nil)
            }
            state.lastNumber &+= 1
            let pass = Pass(number: state.lastNumber)
            let victim = state.share.enter(
                pass, from: AddressGroup(remote), at: now, using: &state.random)
            if victim != nil { state.counters.evicted &+= 1 }
            state.closers[pass] = close
            return (pass, victim.flatMap { state.closers.removeValue(forKey: $0) })
        }
        victim?()
        return pass
    }

    /// The handshake is over, either way.
    func leave(_ pass: Pass) {
        state.withLockedValue { state in
            state.share.leave(pass)
            state.closers[pass] = nil
        }
    }

    /// Refuses `blocklist` from now on.
    func block(_ blocklist: AddressBlocklist) {
        state.withLockedValue { $0.blocklist = blocklist }
    }

    /// Refuses everything from now on.
    func shut() {
        state.withLockedValue { $0.isOpen = false }
    }

    /// How many handshakes are under way.
    var pendingCount: Int { state.withLockedValue { $0.share.count } }

    var counters: Counters { state.withLockedValue { $0.counters } }
}
