internal import Multiformats
internal import Timing

/// Whose places those from one address share: an IPv4 address, or the 64-bit prefix of an IPv6 address, of which
/// one host has as many addresses as it likes.
struct AddressGroup: Hashable, Sendable {
    private enum Key: Hashable, Sendable {
        case v4(UInt32)
        case v6(UInt64)
    }

    private let key: Key

    init(_ address: IPAddress) {
        switch address {
        case .v4(let address): key = .v4(address.value)
        case .v6(let address): key = address.mappedIPv4.map { .v4($0.value) } ?? .v6(address.high)
        }
    }
}

/// The places of those who have proven nothing: sockets whose handshake is not complete, or connections.
///
/// A newcomer always gets a place. When there is none left, somebody loses his at random: of the newcomer's own
/// address when that has its share, otherwise of the address that holds most. Who has had the time to
/// prove himself goes before who has not.
struct UnprovenShare<ID: Hashable & Sendable>: Sendable {
    private struct Place {
        let id: ID
        /// Tells the order of those that came at once.
        let number: UInt64
        let since: Instant
    }

    private let capacity: Int
    private let perAddress: Int
    private let patience: Duration
    private var groups: [AddressGroup: [Place]] = [:]
    private var owners: [ID: AddressGroup] = [:]
    private var lastNumber: UInt64 = 0

    /// - Parameters:
    ///   - capacity: places in all, at least 1.
    ///   - perAddress: places of one address, at least 1.
    ///   - patience: how long a newcomer may take to prove himself.
    init(capacity: Int, perAddress: Int, patience: Duration) {
        self.capacity = max(1, capacity)
        self.perAddress = max(1, perAddress)
        self.patience = patience
    }

    var count: Int { owners.count }

    /// Gives `id` a place; returns who has lost his for it.
    mutating func enter(
        _ id: ID, from address: AddressGroup, at now: Instant, using random: inout SeededGenerator
    ) -> ID? {
        guard owners[id] == nil else { return nil }
        var victim: ID?
        if groups[address, default: []].count >= perAddress {
            victim = choose(among: groups[address] ?? [], at: now, using: &random)
        } else if owners.count >= capacity {
            let most = groups.values.map(\.count).max() ?? 0
            // In order, so that the choice follows from the seed and not from the order of a dictionary.
            let candidates = groups.values.filter { $0.count == most }.joined()
            victim = choose(among: candidates.sorted { $0.number < $1.number }, at: now, using: &random)
        }
        if let victim { leave(victim) }
        lastNumber &+= 1
        groups[address, default: []].append(Place(id: id, number: lastNumber, since: now))
        owners[id] = address
        return victim
    }

    /// `id` is gone or has proven itself.
    mutating func leave(_ id: ID) {
        guard let address = owners.removeValue(forKey: id) else { return }
        groups[address]?.removeAll { $0.id == id }
        if groups[address]?.isEmpty == true { groups[address] = nil }
    }

    func contains(_ id: ID) -> Bool { owners[id] != nil }

    private func choose(among places: [Place], at now: Instant, using random: inout SeededGenerator) -> ID? {
        let late = places.filter { now - $0.since >= patience }
        return (late.isEmpty ? places : late).randomElement(using: &random)?.id
    }
}
