internal import Multiformats
internal import NIOConcurrencyHelpers

/// Counts inbound connections whose handshake is not complete, in all and by remote address, and
/// refuses those above the limits or from blocked networks. Asked on the loops that accept.
final class InboundGate: Sendable {
    private struct State {
        var blocklist = AddressBlocklist()
        var pending: [IPAddress: Int] = [:]
        var total = 0
        var isOpen = true
    }

    private let limits: SwarmLimits
    private let state = NIOLockedValueBox(State())

    init(limits: SwarmLimits) {
        self.limits = limits
    }

    /// Takes a connection from `remote` to `local` in; false when it must be closed at once. Every
    /// one that is taken in must `leave`.
    func enter(remote: IPAddress, local: IPAddress?) -> Bool {
        state.withLockedValue { state in
            guard state.isOpen, state.total < limits.pendingInbound,
                state.pending[remote, default: 0] < limits.pendingInboundPerAddress,
                !state.blocklist.blocks(remote), !(local.map(state.blocklist.blocks) ?? false)
            else { return false }
            state.pending[remote, default: 0] += 1
            state.total += 1
            return true
        }
    }

    /// The handshake of a connection from `remote` is over, either way.
    func leave(remote: IPAddress) {
        state.withLockedValue { state in
            guard let count = state.pending[remote] else { return }
            state.pending[remote] = count > 1 ? count - 1 : nil
            state.total -= 1
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
    var pendingCount: Int { state.withLockedValue { $0.total } }
}
