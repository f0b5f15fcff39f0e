internal import Multiformats
internal import Timing

/// In which order and how far apart a peer's addresses are dialled (contract/wire.md D.1): private
/// and public addresses in two groups that start together; in each IPv6 before IPv4, then the
/// lowest port, every further one a step later.
struct DialPlan {
    /// An address and how long after the start it is dialled.
    struct Step: Hashable {
        let address: Multiaddr
        let delay: Duration
    }

    let steps: [Step]

    init(_ addresses: [Multiaddr], timings: SwarmTimings) {
        var nearby: [Multiaddr] = []
        var distant: [Multiaddr] = []
        for address in addresses {
            if address.reach == .public { distant.append(address) } else { nearby.append(address) }
        }
        let steps =
            Self.stagger(nearby, by: timings.privateStagger)
            + Self.stagger(distant, by: timings.publicStagger)
        self.steps = steps.enumerated().sorted { left, right in
            (left.element.delay, left.offset) < (right.element.delay, right.offset)
        }.map(\.element)
    }

    private static func stagger(_ addresses: [Multiaddr], by step: Duration) -> [Step] {
        let ordered = addresses.enumerated().sorted { left, right in
            (rank(left.element), left.element.tcpPort ?? 0, left.offset)
                < (rank(right.element), right.element.tcpPort ?? 0, right.offset)
        }
        return ordered.enumerated().map { Step(address: $0.element.element, delay: step * $0.offset) }
    }

    private static func rank(_ address: Multiaddr) -> Int {
        switch address.ipAddress {
        case .v6: 0
        case .v4: 1
        case nil: 2
        }
    }
}
