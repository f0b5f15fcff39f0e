internal import Synchronization

/// What the packet path has done since the service started.
package struct PacketCounts: Hashable, Sendable {
    /// Packets and bytes read from the device and handed to a peer's queue. A super-packet is one.
    package var sentPackets: UInt64 = 0
    package var sentBytes: UInt64 = 0
    /// Packets and bytes from peers that the kernel took.
    package var receivedPackets: UInt64 = 0
    package var receivedBytes: UInt64 = 0
    /// Packets not passed on, by reason; reasons without packets are left out.
    package var dropped: [DropReason: UInt64] = [:]

    package init() {}
}

/// The counters behind `PacketCounts`. Each is an atomic of its own: several loops and the device's
/// thread count at once, and nobody reads them to decide anything.
final class PacketCounters: Sendable {
    private let sentPackets = Atomic<UInt64>(0)
    private let sentBytes = Atomic<UInt64>(0)
    private let receivedPackets = Atomic<UInt64>(0)
    private let receivedBytes = Atomic<UInt64>(0)
    private let notIPv4 = Atomic<UInt64>(0)
    private let malformed = Atomic<UInt64>(0)
    private let multicast = Atomic<UInt64>(0)
    private let noRoute = Atomic<UInt64>(0)
    private let queueFull = Atomic<UInt64>(0)
    private let queueExpired = Atomic<UInt64>(0)
    private let foreignSource = Atomic<UInt64>(0)
    private let foreignDestination = Atomic<UInt64>(0)
    private let malformedOffload = Atomic<UInt64>(0)
    private let noPath = Atomic<UInt64>(0)
    private let notAuthentic = Atomic<UInt64>(0)
    private let deviceRefused = Atomic<UInt64>(0)

    func sent(packets: Int, bytes: Int) {
        sentPackets.wrappingAdd(UInt64(packets), ordering: .relaxed)
        sentBytes.wrappingAdd(UInt64(bytes), ordering: .relaxed)
    }

    func received(packets: Int, bytes: Int) {
        receivedPackets.wrappingAdd(UInt64(packets), ordering: .relaxed)
        receivedBytes.wrappingAdd(UInt64(bytes), ordering: .relaxed)
    }

    func dropped(_ reason: DropReason, count: Int = 1) {
        guard count > 0 else { return }
        let amount = UInt64(count)
        switch reason {
        case .notIPv4: notIPv4.wrappingAdd(amount, ordering: .relaxed)
        case .malformed: malformed.wrappingAdd(amount, ordering: .relaxed)
        case .multicast: multicast.wrappingAdd(amount, ordering: .relaxed)
        case .noRoute: noRoute.wrappingAdd(amount, ordering: .relaxed)
        case .queueFull: queueFull.wrappingAdd(amount, ordering: .relaxed)
        case .queueExpired: queueExpired.wrappingAdd(amount, ordering: .relaxed)
        case .foreignSource: foreignSource.wrappingAdd(amount, ordering: .relaxed)
        case .foreignDestination: foreignDestination.wrappingAdd(amount, ordering: .relaxed)
        case .malformedOffload: malformedOffload.wrappingAdd(amount, ordering: .relaxed)
        case .noPath: noPath.wrappingAdd(amount, ordering: .relaxed)
        case .notAuthentic: notAuthentic.wrappingAdd(amount, ordering: .relaxed)
        case .deviceRefused: deviceRefused.wrappingAdd(amount, ordering: .relaxed)
        }
    }

    private func count(_ reason: DropReason) -> UInt64 {
        switch reason {
        case .notIPv4: notIPv4.load(ordering: .relaxed)
        case .malformed: malformed.load(ordering: .relaxed)
        case .multicast: multicast.load(ordering: .relaxed)
        case .noRoute: noRoute.load(ordering: .relaxed)
        case .queueFull: queueFull.load(ordering: .relaxed)
        case .queueExpired: queueExpired.load(ordering: .relaxed)
        case .foreignSource: foreignSource.load(ordering: .relaxed)
        case .foreignDestination: foreignDestination.load(ordering: .relaxed)
        case .malformedOffload: malformedOffload.load(ordering: .relaxed)
        case .noPath: noPath.load(ordering: .relaxed)
        case .notAuthentic: notAuthentic.load(ordering: .relaxed)
        case .deviceRefused: deviceRefused.load(ordering: .relaxed)
        }
    }

    var snapshot: PacketCounts {
        var counts = PacketCounts()
        counts.sentPackets = sentPackets.load(ordering: .relaxed)
        counts.sentBytes = sentBytes.load(ordering: .relaxed)
        counts.receivedPackets = receivedPackets.load(ordering: .relaxed)
        counts.receivedBytes = receivedBytes.load(ordering: .relaxed)
        for reason in DropReason.allCases {
            let amount = count(reason)
            if amount > 0 { counts.dropped[reason] = amount }
        }
        return counts
    }
}
