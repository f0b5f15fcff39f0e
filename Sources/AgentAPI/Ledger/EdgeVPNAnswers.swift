internal import Timing

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// The read-only answers of EdgeVPN's HTTP API, made of a view of the ledger: the tools of Kairos read them
/// (contract/kairos.md §6.2). Field names are EdgeVPN's.
struct EdgeVPNAnswers {
    /// A machine counts as online for this long after its last heartbeat; a node half as long (§6.2).
    static let machineLifetime = Duration.seconds(20 * 60)
    static let nodeLifetime = Duration.seconds(10 * 60)

    let view: LedgerView
    let now: UnixTime

    // MARK: /api/summary

    struct Summary: Codable, Hashable {
        var files: Int
        var machines: Int
        var users: Int
        var services: Int
        var blockIndex: UInt64
        var roomPeers: Int
        var knownPeers: Int
        var localPeer: String

        enum CodingKeys: String, CodingKey {
            case files = "Files"
            case machines = "Machines"
            case users = "Users"
            case services = "Services"
            case blockIndex = "BlockChain"
            case roomPeers = "OnChainNodes"
            case knownPeers = "Peers"
            case localPeer = "NodeID"
        }
    }

    var summary: Summary {
        Summary(
            files: count("files"), machines: count("machines"), users: count("users"),
            services: count("services"), blockIndex: view.blockIndex, roomPeers: view.roomPeers.count,
            knownPeers: view.knownPeerCount, localPeer: view.localPeer)
    }

    private func count(_ bucket: String) -> Int { view.buckets[bucket]?.count ?? 0 }

    // MARK: /api/machines

    struct Machine: Codable, Hashable {
        var record: MachineRecord
        /// True to its name here; EdgeVPN always says false.
        var connected: Bool
        var inRoom: Bool
        var online: Bool

        enum CodingKeys: String, CodingKey {
            case connected = "Connected"
            case inRoom = "OnChain"
            case online = "Online"
        }

        init(record: MachineRecord, connected: Bool, inRoom: Bool, online: Bool) {
            self.record = record
            self.connected = connected
            self.inRoom = inRoom
            self.online = online
        }

        init(from decoder: any Decoder) throws {
            record = try MachineRecord(from: decoder)
            let container = try decoder.container(keyedBy: CodingKeys.self)
            connected = try container.decode(Bool.self, forKey: .connected)
            inRoom = try container.decode(Bool.self, forKey: .inRoom)
            online = try container.decode(Bool.self, forKey: .online)
        }

        func encode(to encoder: any Encoder) throws {
            try record.encode(to: encoder)
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(connected, forKey: .connected)
            try container.encode(inRoom, forKey: .inRoom)
            try container.encode(online, forKey: .online)
        }
    }

    /// A value of the bucket `machines`. What a peer left out is empty.
    struct MachineRecord: Codable, Hashable {
        var peer: String
        var hostname: String
        var system: String
        var architecture: String
        var address: String
        var version: String

        enum CodingKeys: String, CodingKey {
            case peer = "PeerID"
            case hostname = "Hostname"
            case system = "OS"
            case architecture = "Arch"
            case address = "Address"
            case version = "Version"
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            peer = try container.decodeIfPresent(String.self, forKey: .peer) ?? ""
            hostname = try container.decodeIfPresent(String.self, forKey: .hostname) ?? ""
            system = try container.decodeIfPresent(String.self, forKey: .system) ?? ""
            architecture = try container.decodeIfPresent(String.self, forKey: .architecture) ?? ""
            address = try container.decodeIfPresent(String.self, forKey: .address) ?? ""
            version = try container.decodeIfPresent(String.self, forKey: .version) ?? ""
        }
    }

    var machines: [Machine] {
        (view.buckets["machines"] ?? [:]).sorted { $0.key < $1.key }.compactMap { _, value in
            guard let record = try? JSONDecoder().decode(MachineRecord.self, from: Data(value.utf8)) else {
                return nil
            }
            return Machine(
                record: record, connected: view.connectedPeers.contains(record.peer),
                inRoom: view.roomPeers.contains(record.peer),
                online: isOnline(record.peer, within: Self.machineLifetime))
        }
    }

    // MARK: /api/nodes

    struct Node: Codable, Hashable {
        var peer: String
        var online: Bool

        enum CodingKeys: String, CodingKey {
            case peer = "ID"
            case online = "Online"
        }
    }

    var nodes: [Node] {
        var present = view.roomPeers
        for peer in (view.buckets["healthcheck"] ?? [:]).keys
        where heartbeat(of: peer, within: Self.nodeLifetime) {
            present.insert(peer)
        }
        present.insert(view.localPeer)
        return present.sorted().map { Node(peer: $0, online: true) }
    }

    /// Our own nodes write no heartbeats while they are connected, so a connection counts as one.
    private func isOnline(_ peer: String, within lifetime: Duration) -> Bool {
        peer == view.localPeer || view.connectedPeers.contains(peer) || heartbeat(of: peer, within: lifetime)
    }

    private func heartbeat(of peer: String, within lifetime: Duration) -> Bool {
        guard let value = view.buckets["healthcheck"]?[peer],
            let text = try? JSONDecoder().decode(String.self, from: Data(value.utf8)),
            let moment = Timestamp(text)
        else { return false }
        return now - moment.time < lifetime
    }
}
