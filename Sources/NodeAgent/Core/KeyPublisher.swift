package import Coordination
package import Ledger
package import LibP2P
package import Timing
package import VPN

/// Keeps this node's entries in the ledger as they should be: its join facts, and the keys by which
/// stock tools and stock nodes see the cluster (contract/kairos.md §4.1).
package struct KeyPublisher: Sendable {
    /// Where the stock nodes are that believe an advertisement for 15 minutes. Our own nodes need none.
    package enum Watchers: Hashable, Sendable {
        case none
        /// Known by what they wrote in the ledger alone.
        case distant
        case inRoom
    }

    /// What is to be said.
    package struct Publication: Hashable, Sendable {
        package let peer: PeerID
        /// The stock name of this node's role, once it has one.
        package let role: String?
        /// Whether stock nodes are to look to this server.
        package let isLeader: Bool
        package let address: VirtualAddress?
        package let join: JoinFacts?
        /// What stock nodes join, where it is not this server's own address.
        package let serverAddress: String?
        /// The token for stock nodes that join.
        package let nodeToken: String?
        /// The kubeconfig for stock tools; nil while it is not known: what was said stands.
        package let kubeconfig: String?
        /// Whether a kubeconfig may be in the ledger at all; one that is there is deleted if not.
        package let publishesKubeconfig: Bool
        package let watchers: Watchers
        /// The UUIDs of nodes that decide their roles by the election and need no assignment.
        package let ownMembers: Set<String>

        package init(
            peer: PeerID, role: String?, isLeader: Bool, address: VirtualAddress?, join: JoinFacts?,
            serverAddress: String? = nil, nodeToken: String?, kubeconfig: String? = nil,
            publishesKubeconfig: Bool = true, watchers: Watchers, ownMembers: Set<String>
        ) {
            self.peer = peer
            self.role = role
            self.isLeader = isLeader
            self.address = address
            self.join = join
            self.serverAddress = serverAddress
            self.nodeToken = nodeToken
            self.kubeconfig = kubeconfig
            self.publishesKubeconfig = publishesKubeconfig
            self.watchers = watchers
            self.ownMembers = ownMembers
        }
    }

    /// One entry to write or to delete.
    package struct Write: Hashable, Sendable {
        package let id: EntryID
        /// nil deletes it.
        package let value: String?

        package init(id: EntryID, value: String?) {
            self.id = id
            self.value = value
        }
    }

    private let uuid: String
    private let networkID: String
    private var advertisedAt: Instant?
    private var watchers = Watchers.none
    private var lastWrite: [EntryID: Instant] = [:]
    private var contested = false
    /// What was looked at last and found to be so.
    private var settled: (publication: Publication, revision: Int)?

    /// How often the node advertises itself while stock nodes watch (contract/kairos.md §4.2).
    static let stockInterval = Duration.seconds(20)
    /// How often it does while they are elsewhere: well within the time for which they believe it. While
    /// there are none it is not renewed.
    static let distantInterval = Duration.seconds(300)
    /// The least time between two writes of one entry that somebody else keeps changing.
    static let contestInterval = Duration.seconds(10)

    package init(uuid: String, networkID: String) {
        self.uuid = uuid
        self.networkID = networkID
    }

    /// When `writes` should be asked again although nothing changed.
    package var nextDeadline: Instant? {
        let oldest = contested ? lastWrite.values.min() : nil
        return [advertisementDue, oldest.map { $0 + Self.contestInterval }].compactMap { $0 }.min()
    }

    /// When the advertisement is to be renewed, once it was made.
    private var advertisementDue: Instant? {
        switch watchers {
        case .none: nil
        case .distant: advertisedAt.map { $0 + Self.distantInterval }
        case .inRoom: advertisedAt.map { $0 + Self.stockInterval }
        }
    }

    /// The entries that should be written now, given what the ledger shows.
    package mutating func writes(_ publication: Publication, board: LedgerBoard, at moment: Moment) -> [Write]
    {
        var writes: [Write] = []
        let now = moment.instant
        watchers = publication.watchers
        if advertisedAt == nil || advertisementDue.map({ now >= $0 }) ?? false {
            advertisedAt = now
            writes.append(
                Write(
                    id: stockID(LedgerKeys.advertisement(uuid: uuid)),
                    value: KairosValue.encode(advertisedAt: GoTime.rfc3339(moment.wall))))
        }
        if let settled, settled.revision == board.revisions.published, settled.publication == publication {
            return writes
        }
        settled = nil
        contested = false
        var isSettled = true
        for (id, value) in wanted(publication, board: board) {
            guard current(id, publication: publication, board: board) != value else { continue }
            isSettled = false
            if let last = lastWrite[id], now < last + Self.contestInterval {
                contested = true
                continue
            }
            lastWrite[id] = now
            writes.append(Write(id: id, value: value))
        }
        lastWrite = lastWrite.filter { now < $0.value + Self.contestInterval }
        if isSettled { settled = (publication, board.revisions.published) }
        return writes
    }

    private func stockID(_ key: String) -> EntryID { EntryID(bucket: networkID, key: key) }

    private func current(_ id: EntryID, publication: Publication, board: LedgerBoard) -> String? {
        if id.bucket == LedgerText.kairosNode { return board.joinFacts[publication.peer]?.text }
        return board.stock[id.key.string]
    }

    private func wanted(_ publication: Publication, board: LedgerBoard) -> [(id: EntryID, value: String?)] {
        var wanted: [(id: EntryID, value: String?)] = []
        func stock(_ key: String, _ value: String) {
            wanted.append((stockID(key), KairosValue.encode(value)))
        }
        // Join facts first: whoever reads a role can then already join.
        if let join = publication.join {
            let key = LedgerKeys.joinFacts(of: publication.peer, networkID: networkID)
            wanted.append((EntryID(bucket: LedgerKeys.joinBucket, key: key), join.text))
        }
        if let address = publication.address { stock(LedgerKeys.address(uuid: uuid), address.description) }
        if let role = publication.role { stock(LedgerKeys.role(uuid: uuid), role) }
        guard publication.isLeader else { return wanted }
        stock(LedgerKeys.leader, uuid)
        if !publication.publishesKubeconfig { wanted.append((stockID(LedgerKeys.kubeconfig), nil)) }
        if let join = publication.join {
            if publication.publishesKubeconfig, let kubeconfig = publication.kubeconfig {
                stock(LedgerKeys.kubeconfig, kubeconfig)
            }
            stock(LedgerKeys.serverAddress, publication.serverAddress ?? join.address)
            if let token = publication.nodeToken { stock(LedgerKeys.nodeToken, token) }
        }
        // Stock nodes wait for an assignment; ours have the certificate.
        for key in board.stock.keys where key.hasSuffix("-uuid") {
            let other = String(key.dropLast("-uuid".count))
            guard other != uuid, !publication.ownMembers.contains(other) else { continue }
            let role = LedgerKeys.role(uuid: other)
            let assigned = board.stock[role].flatMap(KairosValue.decodeString)
            if assigned == nil || assigned == "none" || assigned == "" {
                stock(role, NodeRole.agent.stockName(highAvailability: false))
            }
        }
        return wanted
    }
}
