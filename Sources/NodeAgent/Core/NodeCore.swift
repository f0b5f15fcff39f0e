package import Coordination
package import Ledger
package import LibP2P
package import Timing
package import VPN

/// The decisions of one node: its address, the founder, its role, what it tells the network and what
/// its K3s is to be. A composition of the state machines of `VPN` and `Coordination` without a
/// socket, a clock or a disk, so whole nodes run in the simulator.
///
///      ledger entries, members        ┌────────────┐   entries to write
///      ─────────────────────────────► │  NodeCore  │ ───────────────────►
///      device, disk and K3s news      │ claim      │   device, routes, lease,
///      ─────────────────────────────► │ election   │   election state, K3s assignment
///                                     └────────────┘ ───────────────────►
///
/// What it publishes is level-triggered: it knows the entries that should be there and writes those
/// that are not, so an entry that a stock node overwrote comes back.
package struct NodeCore: Sendable {
    package struct Configuration: Sendable {
        package let identity: Identity
        /// The Kairos UUID, `<machine-id>-<hostname>`.
        package let uuid: String
        package let name: String
        /// `p2p.network_id`: the bucket of the stock keys.
        package let networkID: String
        package let scope: ElectionScope
        package let forcedRole: ForcedRole?
        package let highAvailability: Bool
        package let apiAddress: VirtualAddress?
        /// A join token that the user's own K3s arguments fix; nil when the founder makes one.
        package let fixedToken: String?
        /// Coordinate and configure K3s at all; false when nothing in the cloud-config asks for it.
        package let runsK3s: Bool

        package init(
            identity: Identity, uuid: String, name: String, networkID: String, scope: ElectionScope,
            forcedRole: ForcedRole?, highAvailability: Bool, apiAddress: VirtualAddress?, fixedToken: String?,
            runsK3s: Bool
        ) {
            self.identity = identity
            self.uuid = uuid
            self.name = name
            self.networkID = networkID
            self.scope = scope
            self.forcedRole = forcedRole
            self.highAvailability = highAvailability
            self.apiAddress = apiAddress
            self.fixedToken = fixedToken
            self.runsK3s = runsK3s
        }
    }

    package enum Input: Sendable {
        /// The node runs; the ledger's content so far follows as `.entries`.
        case start
        /// Entries of the ledger that are new or changed, with tombstones.
        case entries([(id: EntryID, entry: Entry)])
        /// Entries for addresses that the merge refused.
        case refused(RefusedClaim)
        /// The peers that are connected and admitted, and whether any other node's ledger was merged.
        case members(connected: Set<PeerID>, roomAnswered: Bool)
        /// Peers that are in the room without being admitted: stock nodes.
        case stockPeers(Bool)
        case electionPersisted(UInt64)
        case electionPersistFailed(UInt64, reason: String)
        /// The device carries the address, or what keeps it from doing so.
        case device(DeviceState)
        /// This node's join token is on its disk.
        case joinToken(String)
        /// The token that the running server wrote for those who join, CA pinned.
        case serverToken(String)
        case tick
    }

    /// The state of the TUN device, as far as decisions need it.
    package enum DeviceState: Hashable, Sendable {
        case down
        case up(VirtualAddress)
        case failed(what: String, remedy: String?)
    }

    package enum Effect: Sendable {
        /// Write an entry, with a version greater than `above`.
        case put(EntryID, value: String, above: UInt64)
        case delete(EntryID)
        /// Publish `Ledger.retraction` of this node's own entry of `version`, and store nothing.
        case retract(EntryID, version: UInt64)
        case persistElection(ElectionState, number: UInt64)
        case writeLease(VirtualAddress)
        case removeLease
        /// Bring the device up with the address.
        case configureDevice(VirtualAddress)
        /// Take the address off the device.
        case releaseDevice(VirtualAddress)
        /// The owners of the addresses, this node's own left out.
        case routes([VirtualAddress: PeerID])
        /// Make a join token, put it on disk, and answer with `.joinToken`.
        case makeJoinToken
        /// Configure and run K3s so; nil means leave it as it is until more is known.
        case assign(K3sAssignment)
        /// The founder is known.
        case founded(FoundingCertificate)
    }

    let configuration: Configuration
    let localPeer: PeerID
    var claim: AddressClaim
    var election: FoundingElection
    var board: LedgerBoard
    var connected: Set<PeerID> = []
    var roomAnswered = false
    var stockPeersPresent = false
    var device = DeviceState.down
    var joinToken: String?
    var serverToken: String?
    var assignment: K3sAssignment?
    private var askedForToken = false
    private var routes: [VirtualAddress: PeerID] = [:]
    private var publisher: KeyPublisher
    var waits = WaitLog()

    /// Makes the node's decisions from what its disk remembers.
    package init(
        configuration: Configuration, claim: AddressClaim, election: FoundingElection, joinToken: String?
    ) {
        self.configuration = configuration
        self.localPeer = configuration.identity.peerID
        self.claim = claim
        self.election = election
        self.joinToken = configuration.fixedToken ?? joinToken
        self.board = LedgerBoard(networkID: configuration.networkID)
        self.publisher = KeyPublisher(uuid: configuration.uuid, networkID: configuration.networkID)
    }

    /// When the core wants `.tick`.
    package var nextDeadline: Instant? {
        [claim.nextDeadline, election.nextDeadline, publisher.nextDeadline].compactMap { $0 }.min()
    }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at moment: Moment) -> [Effect] {
        var effects: [Effect] = []
        let now = moment.instant
        switch input {
        case .start:
            claimStep(.start(moment.wall), at: now, &effects)
        case .entries(let entries):
            take(entries, at: moment, &effects)
        case .refused(let claim):
            claimStep(.refused(claim), at: now, &effects)
        case .members(let connected, let roomAnswered):
            self.connected = connected
            self.roomAnswered = roomAnswered
            claimStep(.room(answered: roomAnswered), at: now, &effects)
            claimStep(.machines(board.machines(connected: connected, at: moment.wall)), at: now, &effects)
            electionStep(.present(connected), at: now, &effects)
        case .stockPeers(let present):
            stockPeersPresent = present
        case .electionPersisted(let number):
            electionStep(.persisted(number), at: now, &effects)
        case .electionPersistFailed(let number, let reason):
            electionStep(.persistFailed(number, reason: reason), at: now, &effects)
        case .device(let state):
            device = state
        case .joinToken(let token):
            joinToken = configuration.fixedToken ?? token
        case .serverToken(let token):
            serverToken = token
        case .tick:
            claimStep(.tick, at: now, &effects)
            electionStep(.tick, at: now, &effects)
        }
        settle(at: moment, &effects)
        return effects
    }

    // MARK: the parts

    private mutating func take(
        _ entries: [(id: EntryID, entry: Entry)], at moment: Moment, _ effects: inout [Effect]
    ) {
        var machinesChanged = false
        for (id, entry) in entries {
            switch board.take(entry, at: id) {
            case .none: break
            case .machines: machinesChanged = true
            case .register(let peer, let register):
                electionStep(.register(peer, register), at: moment.instant, &effects)
            case .certificate(let peer, let certificate):
                electionStep(.certificate(certificate, holder: peer), at: moment.instant, &effects)
            }
        }
        if machinesChanged {
            claimStep(
                .machines(board.machines(connected: connected, at: moment.wall)), at: moment.instant, &effects
            )
        }
    }

    private mutating func claimStep(_ input: AddressClaim.Input, at now: Instant, _ effects: inout [Effect]) {
        for effect in claim.receive(input, at: now) {
            switch effect {
            case .put(let bucket, let key, let value, let above):
                effects.append(.put(EntryID(bucket: bucket, key: key), value: value, above: above))
            case .delete(let bucket, let key):
                effects.append(.delete(EntryID(bucket: bucket, key: key)))
            case .retract(let bucket, let key, let version):
                effects.append(.retract(EntryID(bucket: bucket, key: key), version: version))
            case .writeLease(let address): effects.append(.writeLease(address))
            case .removeLease: effects.append(.removeLease)
            case .settled(let address): effects.append(.configureDevice(address))
            case .withdrawn(let address): effects.append(.releaseDevice(address))
            }
        }
    }

    private mutating func electionStep(
        _ input: FoundingElection.Input, at now: Instant, _ effects: inout [Effect]
    ) {
        guard configuration.runsK3s else { return }
        for effect in election.receive(input, at: now) {
            switch effect {
            case .persist(let state, let number):
                effects.append(.persistElection(state, number: number))
            case .publish(let register):
                let key = LedgerKeys.register(of: localPeer, networkID: configuration.networkID)
                effects.append(
                    .put(
                        EntryID(bucket: LedgerKeys.electionBucket, key: key),
                        value: ElectionCodec.encode(register),
                        above: 0))
            case .publishCertificate(let certificate):
                let key = LedgerKeys.certificate(of: localPeer, networkID: configuration.networkID)
                effects.append(
                    .put(
                        EntryID(bucket: LedgerKeys.electionBucket, key: key),
                        value: ElectionCodec.encode(certificate), above: 0))
            case .decided(let certificate):
                effects.append(.founded(certificate))
            }
        }
    }

    // MARK: what follows from the parts

    private mutating func settle(at moment: Moment, _ effects: inout [Effect]) {
        let newRoutes = board.routes(without: localPeer)
        if newRoutes != routes {
            routes = newRoutes
            effects.append(.routes(newRoutes))
        }
        if plan.role == .founder, joinToken == nil, !askedForToken {
            askedForToken = true
            effects.append(.makeJoinToken)
        }
        for write in publisher.writes(publication, board: board, at: moment) {
            effects.append(.put(write.id, value: write.value, above: 0))
        }
        if let next = nextAssignment, next != assignment {
            assignment = next
            effects.append(.assign(next))
        }
        waits.update(obstacles, at: moment.wall)
    }

    /// What the cloud-config and the decision make of this node.
    package var plan: RolePlan {
        RolePlan.plan(
            for: localPeer, forcedRole: configuration.forcedRole,
            highAvailability: configuration.highAvailability, certificate: election.certificate)
    }

    /// The address that this node may use now.
    package var address: VirtualAddress? { claim.address }

    /// Whether the device carries this node's address.
    var deviceIsReady: Bool {
        guard let address = claim.address, case .up(let carried) = device else { return false }
        return carried == address
    }

    /// What the founder offers to those who join it, if it offers anything yet.
    var founderFacts: JoinFacts? {
        guard let certificate = election.certificate else { return nil }
        guard let facts = board.joinFacts[certificate.value.founder], facts.epoch == certificate.scope.epoch
        else {
            return nil
        }
        return facts
    }

    private var nextAssignment: K3sAssignment? {
        guard configuration.runsK3s, deviceIsReady, let address = claim.address,
            case .role(let role, let certificate) = plan
        else { return nil }
        let token: String
        var joinURL: String?
        switch role {
        case .founder:
            guard let joinToken else { return nil }
            token = joinToken
        case .server, .agent:
            guard let facts = founderFacts else { return nil }
            token = facts.token
            // The address that follows whichever server works; the port is the servers' own.
            joinURL =
                configuration.apiAddress.map { "https://\($0):\(facts.port)" } ?? facts.url
        }
        return K3sAssignment(
            role: role, epoch: certificate.scope.epoch, address: address,
            apiAddress: configuration.apiAddress,
            joinURL: joinURL, token: token, highAvailability: configuration.highAvailability)
    }

    private var publication: KeyPublisher.Publication {
        var join: JoinFacts?
        if case .role(.founder, let certificate) = plan, let address = claim.address, let joinToken {
            join = JoinFacts(epoch: certificate.scope.epoch, address: address.description, token: joinToken)
        }
        return KeyPublisher.Publication(
            peer: localPeer, role: plan.role?.stockName(highAvailability: configuration.highAvailability),
            isFounder: plan.role == .founder, address: claim.address, join: join,
            nodeToken: serverToken ?? joinToken, stockPeersPresent: stockPeersPresent,
            ownMembers: Set(election.members.values.map(\.uuid)))
    }
}

extension RolePlan {
    /// The role, when there is one.
    package var role: NodeRole? {
        if case .role(let role, _) = self { return role }
        return nil
    }
}
