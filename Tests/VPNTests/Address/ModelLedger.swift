import Timing

@testable import VPN

/// The merge of contract J.9 for the bucket `machines`, without signatures: what the address claim
/// needs of a ledger, small enough for thousands of simulated networks.
struct ModelLedger {
    struct Entry: Hashable {
        var value: String
        var owner: String
        var version: UInt64
        var isDeleted: Bool
    }

    static let timeToLive: Duration = .seconds(480)

    var entries: [VirtualAddress: Entry] = [:]
    var heartbeats: [String: UnixTime] = [:]

    func isLive(_ owner: String, at wall: UnixTime) -> Bool {
        heartbeats[owner].map { $0 + Self.timeToLive > wall } ?? false
    }

    mutating func put(_ key: VirtualAddress, value: String, owner: String, above: UInt64, at wall: UnixTime) {
        let present = entries[key]
        if let present, present.value == value, present.owner == owner, !present.isDeleted,
            present.version > above
        {
            return
        }
        let version = max((present?.version ?? 0) + 1, above + 1, UInt64(wall.nanoseconds))
        entries[key] = Entry(value: value, owner: owner, version: version, isDeleted: false)
    }

    mutating func delete(_ key: VirtualAddress, owner: String, at wall: UnixTime) {
        guard let present = entries[key], !present.isDeleted else { return }
        let version = max(present.version + 1, UInt64(wall.nanoseconds))
        entries[key] = Entry(value: "", owner: owner, version: version, isDeleted: true)
    }

    /// Merges another ledger and returns what rules e, f and g refuse.
    mutating func merge(_ other: ModelLedger, at wall: UnixTime) -> [RefusedClaim] {
        var refused: [RefusedClaim] = []
        let before = self
        for (key, entry) in other.entries.sorted(by: { $0.key < $1.key }) where entries[key] != entry {
            if accepts(entry, over: before.entries[key], at: wall) {
                entries[key] = entry
            } else if let claim = RefusedClaim(
                key: key.description, value: entry.value, owner: entry.owner, version: entry.version,
                isDeleted: entry.isDeleted)
            {
                refused.append(claim)
            }
        }
        for (owner, time) in other.heartbeats where heartbeats[owner].map({ $0 < time }) ?? true {
            heartbeats[owner] = time
        }
        return refused
    }

    private func accepts(_ entry: Entry, over present: Entry?, at wall: UnixTime) -> Bool {
        guard let present else { return !entry.isDeleted }
        if entry.isDeleted {
            return (entry.owner == present.owner || !isLive(present.owner, at: wall))
                && entry.version > present.version
        }
        if present.isDeleted { return entry.version > present.version }
        if entry.owner != present.owner, isLive(present.owner, at: wall) { return false }
        if entry.version != present.version { return entry.version > present.version }
        return entry.owner > present.owner
    }

    func view(at wall: UnixTime) -> MachinesView {
        MachinesView(
            records: entries.mapValues {
                MachineRecord(owner: $0.owner, version: $0.version, isDeleted: $0.isDeleted)
            },
            liveOwners: Set(heartbeats.keys.filter { isLive($0, at: wall) }))
    }
}
