package import Coordination
package import Ledger
package import LibP2P
package import Timing
package import VPN

/// What this node has read in the ledger, as the state machines want it. Bounded by the ledger's own
/// bounds: it holds at most one item an entry.
package struct LedgerBoard: Sendable {
    /// What an entry meant to the board.
    package enum News {
        case none
        /// An address entry or a heartbeat.
        case machines
        case register(PeerID, ElectionRegister)
        /// A certificate, which is not read yet.
        case certificate(PeerID)
    }

    private let networkID: String
    private let reader: EntryReader
    private let stockBucket: LedgerText
    private var records: [VirtualAddress: MachineRecord] = [:]
    package private(set) var machines: [VirtualAddress: MachineEntry] = [:]
    /// Whom the address entries name, by address: read once, asked for at every step.
    private var claimants: [VirtualAddress: PeerID] = [:]
    /// When each peer's heartbeat says that it was alive.
    package private(set) var heartbeats: [String: UnixTime] = [:]
    /// The offers of servers, by the peer that signed them.
    package private(set) var joinFacts: [PeerID: JoinFacts] = [:]
    /// The values of the Kairos bucket, as entry texts.
    package private(set) var stock: [String: String] = [:]

    /// The members' copies of certificates, as texts: to check one costs a signature for each of its votes, which
    /// keys that nobody has met are not to have for nothing.
    private var certificates: [PeerID: String] = [:]

    /// Counts what was read that routes follow from, and what a node publishes beside: both are worked out
    /// again only when it has changed.
    package private(set) var revisions = (routes: 0, published: 0)

    /// How long a heartbeat counts (contract/wire.md J.8).
    package static let heartbeatLifetime = Duration.seconds(480)

    package init(networkID: String, reader: EntryReader = EntryReader()) {
        self.networkID = networkID
        self.reader = reader
        self.stockBucket = LedgerText(networkID)
    }

    /// Reads one entry of the ledger.
    package mutating func take(_ entry: Entry, at id: EntryID) -> News {
        let key = id.key.string
        switch id.bucket {
        case LedgerText.machines:
            guard let address = VirtualAddress(key) else { return .none }
            revisions.routes += 1
            records[address] = MachineRecord(
                owner: entry.owner.string, version: entry.version, isDeleted: entry.isDeleted)
            let machine = entry.isDeleted ? nil : reader.machine(from: entry.value.string)
            if machine == nil || machine?.peerID != machines[address]?.peerID {
                claimants[address] = machine.flatMap { try? PeerID($0.peerID) }
            }
            machines[address] = machine
            return .machines
        case LedgerText.healthcheck:
            heartbeats[key] = entry.isDeleted ? nil : Self.heartbeat(entry.value.string)
            return .machines
        case LedgerText.kairosElection where !entry.isDeleted:
            if let peer = LedgerKeys.owner(ofKey: key, kind: "register", networkID: networkID),
                let register = reader.register(from: entry.value.string)
            {
                return .register(peer, register)
            }
            if let peer = LedgerKeys.owner(ofKey: key, kind: "certificate", networkID: networkID) {
                certificates[peer] = entry.value.string
                return .certificate(peer)
            }
            return .none
        case LedgerText.kairosNode:
            guard let peer = LedgerKeys.owner(ofKey: key, kind: "join", networkID: networkID) else {
                return .none
            }
            revisions.published += 1
            joinFacts[peer] = entry.isDeleted ? nil : JoinFacts(text: entry.value.string)
            return .none
        case stockBucket:
            revisions.published += 1
            stock[key] = entry.isDeleted ? nil : entry.value.string
            return .none
        default:
            return .none
        }
    }

    /// The certificate that `peer` holds, checked, if it is `trusted` or `localPeer` itself may have signed it; else
    /// nil.
    package func certificate(of peer: PeerID, isTrusted: Bool, localPeer: PeerID) -> DecreeCertificate? {
        guard let text = certificates[peer], isTrusted || text.contains(localPeer.description) else {
            return nil
        }
        return reader.certificate(from: text)
    }

    private static func heartbeat(_ value: String) -> UnixTime? {
        // The value is a JSON string without anything to escape: an RFC 3339 text in quotes.
        guard value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") else { return nil }
        return GoTime.parse(rfc3339: LedgerText(String(value.dropFirst().dropLast())))
    }

    /// The addresses' entries, and who lives: those with a fresh heartbeat, and those that are here or
    /// were a short while ago. While `isSettling` others may live that are not known yet.
    package func machines(present: Set<LedgerText>, isSettling: Bool, at now: UnixTime) -> MachinesView {
        var live = Set(present.map(\.string))
        for (peer, time) in heartbeats where time + Self.heartbeatLifetime > now { live.insert(peer) }
        return MachinesView(records: records, liveOwners: live, isSettling: isSettling)
    }

    /// Until when somebody is known by a heartbeat alone, and so watches those of others, as stock nodes
    /// do; nil when nobody is.
    package func strangersStay(besides present: Set<LedgerText>, at now: UnixTime) -> UnixTime? {
        heartbeats.lazy.filter { $0.value + Self.heartbeatLifetime > now }
            .filter { !present.contains(LedgerText($0.key)) }
            .map { $0.value + Self.heartbeatLifetime }.max()
    }

    /// When the next heartbeat ceases to count.
    package func nextExpiry(after now: UnixTime) -> UnixTime? {
        heartbeats.values.lazy.map { $0 + Self.heartbeatLifetime }.filter { $0 > now }.min()
    }

    /// Whose packets go where. Addresses that a peer claims without owning the entry lead nowhere.
    package func routes(without localPeer: PeerID) -> [VirtualAddress: PeerID] {
        var routes: [VirtualAddress: PeerID] = [:]
        for (address, machine) in machines {
            guard let record = records[address], record.owner == machine.peerID, machine.address == address,
                let peer = claimants[address], peer != localPeer
            else { continue }
            routes[address] = peer
        }
        return routes
    }

    /// The address of `peer`, if it has one.
    package func address(of peer: PeerID) -> VirtualAddress? {
        let text = peer.description
        return machines.first { $0.value.peerID == text && records[$0.key]?.owner == text }?.key
    }
}
