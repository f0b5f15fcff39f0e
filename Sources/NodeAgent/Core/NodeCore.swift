package import Coordination
package import Ledger
package import LibP2P
package import MeshNetwork
package import Multiformats
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
        package internal(set) var scope: ElectionScope
        package internal(set) var forcedRole: ForcedRole?
        package var highAvailability: Bool
        /// How many servers there should be besides the founder (`p2p.auto.ha.master_nodes`).
        package var additionalServers: Int
        /// How long a server may be away until the others may take another in its place; nil: for ever.
        package var replacesServersAfter: Duration?
        /// How long any node may be away until its role is freed (`p2p.dynamic_roles`); nil: for ever.
        package var freesRolesAfter: Duration?
        /// The address that always leads to a server, leased in the VPN; nil where there is none.
        package let apiAddress: VirtualAddress?
        /// Which of the node's addresses the cluster uses.
        package let addressing: NodeAddressing
        /// What always leads to a server outside the VPN, an address or a name, carried there by others
        /// (`kubevip.eip`): servers are joined through it.
        package let serverName: String?
        /// A join token that the user's own K3s arguments fix; nil when the founder makes one.
        package let fixedToken: String?
        /// Whether the administrator's kubeconfig is in the ledger, for stock tools (`p2p.publish_kubeconfig`).
        package let publishesKubeconfig: Bool
        /// Whether K3s keeps the cluster in a database of the user's, outside of the node.
        package var keepsDataElsewhere = false
        /// Whether this node may have forgotten its votes: it has a key from an earlier run, and nothing of the
        /// election.
        package var hasForgotten = false
        /// Whether the key was made in this run: then no other machine can have it.
        package var keyIsNew = true
        /// Coordinate and configure K3s at all; false when nothing in the cloud-config asks for it.
        package let runsK3s: Bool

        package init(
            identity: Identity, uuid: String, name: String, networkID: String, scope: ElectionScope,
            forcedRole: ForcedRole?, highAvailability: Bool, additionalServers: Int = 0,
            replacesServersAfter: Duration? = nil, freesRolesAfter: Duration? = nil,
            apiAddress: VirtualAddress?, addressing: NodeAddressing = .vpn, serverName: String? = nil,
            fixedToken: String?, publishesKubeconfig: Bool = true, runsK3s: Bool
        ) {
            self.publishesKubeconfig = publishesKubeconfig
            self.addressing = addressing
            self.serverName = serverName
            self.identity = identity
            self.uuid = uuid
            self.name = name
            self.networkID = networkID
            self.scope = scope
            self.forcedRole = forcedRole
            self.highAvailability = highAvailability
            self.additionalServers = additionalServers
            self.replacesServersAfter = replacesServersAfter
            self.freesRolesAfter = freesRolesAfter
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
        /// The lease of this address is on disk.
        case leaseWritten(VirtualAddress)
        /// The lease of this address could not be written.
        case leaseFailed(VirtualAddress)
        /// The device carries the address, or what keeps it from doing so.
        case device(DeviceState)
        /// The host's own address outside the VPN; nil while there is none.
        case hostAddress(HostAddress?)
        /// Somebody says that this node's ID is at addresses that are not its own.
        case ownKeyHeard(at: [Multiaddr])
        /// A connection on which the other end has proven this node's key; see `CloneWatch`.
        case ownKeyProven(binding: [UInt8], at: Multiaddr, isInbound: Bool)
        /// This node's join token is on its disk.
        case joinToken(String)
        /// It could not be made or written.
        case joinTokenFailed
        /// How this node's K3s is.
        case k3s(K3sCondition)
        /// A node that was to be taken out of Kubernetes is out of it.
        case nodeRemoved(PeerID)
        /// The cloud-config asks for something else.
        case settings(LiveSettings)
        /// An operator's word: nodes are gone for good.
        case forget(Set<PeerID>)
        /// An operator's word: the cluster of this epoch is given up, and founded anew.
        case refound(epoch: UInt64)
        /// An operator's word: this node leaves the cluster.
        case leave
        /// An operator's word: the voters are lost for good, and the nodes on which it is said go on without.
        case recover
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
        /// Make a join token, put it on disk, and answer with `.joinToken` or `.joinTokenFailed`.
        case makeJoinToken
        /// Put the token of the running cluster on disk, and answer so, too.
        case keepJoinToken(String)
        /// Dial these, and expect this node's own key there.
        case lookForOwnKey([Multiaddr])
        /// This node's key is in use on another machine, there, or no longer.
        case keyIsElsewhere(Multiaddr?)
        /// Configure and run K3s so; nil means leave it as it is until more is known.
        case assign(K3sAssignment)
        /// Stop K3s: this node has no part in the cluster of `epoch`.
        case leaveCluster(epoch: UInt64)
        /// Take these nodes, which the members have forgotten, out of Kubernetes and so out of etcd, and no
        /// others; begin after a while, where other servers go first. Each is answered by `.nodeRemoved`.
        case removeNodes([PeerID: String], after: Duration)
        /// A newer decree than before is known.
        case decreed(DecreeCertificate)
    }

    var configuration: Configuration
    let localPeer: PeerID
    var claim: AddressClaim
    var election: DecreeElection
    var board: LedgerBoard
    var connected: Set<PeerID> = []
    var roomAnswered = false
    var stockPeersPresent = false
    /// Who is here, and who has just left. An address is taken over some seconds later than the ledgers of
    /// others allow it, because they may have noticed later that its owner is gone.
    package private(set) var presence = PresenceLog(margin: .seconds(10))
    /// Until when somebody is known by a heartbeat alone: a stock node that is not connected to this one.
    var strangersStay: UnixTime?
    /// Until when nodes may be here that this one has not heard of since it started.
    private var settlesAt: Instant?
    private static let settlingTime = Duration.seconds(60)
    /// When an address that nobody has may have become free.
    private var lookAgainAt: Instant?
    var device = DeviceState.down
    /// The node's address outside the VPN. The last one stands while an interface has none: K3s goes on with it.
    var hostAddress: HostAddress?
    var joinToken: String?
    var k3s = K3sCondition()
    var assignment: K3sAssignment?
    var leftEpoch: UInt64?
    /// Whether what this node held in the network has been given up.
    var hasReleased = false
    /// How long a server that the members have forgotten goes on.
    var departure = Departure.none
    var removed: Set<PeerID> = []
    private var removing: [PeerID: String] = [:]
    /// How long a server leaves a removal to each one before it: that one may not be able to.
    private static let removalTurn = Duration.seconds(120)
    var operatorForgets: Set<PeerID> = []
    /// The nodes that an operator has named here, bounded, so that their standing can be asked for.
    private(set) var given: Set<OperatorWord> = []
    private(set) var operatorRefounds: UInt64?
    /// The number of the decree that was the newest when an operator said that the voters are lost.
    private(set) var operatorRecovers: UInt64?
    private static let mostGiven = 1024
    private var lastWishes = ElectionWishes()
    var clones = CloneWatch()
    /// Until when a node that has just started listens for its key.
    var checksKeyUntil: Instant?
    /// Whether the election was told that this node may vote.
    private var votes = true
    var absences = AbsenceLog()
    /// Since when this node has waited to be asked to serve, and for how long it does before it starts as
    /// an agent: the server before it may never get ready.
    private var reservedSince: Instant?
    var reservationIsOver = false
    private static let longestReservation = Duration.seconds(120)
    /// The lease that the disk is writing, and whether the device waits for it: a node that loses power in
    /// between would come back with another address than it had.
    private var leaseOnItsWay: (address: VirtualAddress, isAwaited: Bool)?
    /// When a lease that could not be written is tried again: without it a restart finds an older address.
    private var leaseRetry: (address: VirtualAddress, at: Instant)?
    private static let writeRetryInterval = Duration.seconds(1)
    private var askedForToken = false
    /// When a join token that could not be written is asked for again: without it nobody's K3s would start.
    private var tokenRetry: Instant?
    private var routes: [VirtualAddress: PeerID] = [:]
    /// What of the board they follow from.
    private var routesRevision = 0
    private var publisher: KeyPublisher
    var waits = WaitLog()

    /// Makes the node's decisions from what its disk remembers. `k3s` is what is known of it before it was
    /// looked at: whether this node is a member of etcd.
    package init(
        configuration: Configuration, claim: AddressClaim, election: DecreeElection, joinToken: String?,
        k3s: K3sCondition = K3sCondition(), reader: EntryReader = EntryReader()
    ) {
        self.k3s = k3s
        self.configuration = configuration
        self.localPeer = configuration.identity.peerID
        self.claim = claim
        self.election = election
        self.joinToken = configuration.fixedToken ?? joinToken
        self.board = LedgerBoard(networkID: configuration.networkID, reader: reader)
        self.publisher = KeyPublisher(uuid: configuration.uuid, networkID: configuration.networkID)
    }

    /// When the core wants `.tick`.
    package var nextDeadline: Instant? {
        [
            configuration.addressing.hasVPN ? claim.nextDeadline : nil, election.nextDeadline,
            hasLeft ? nil : publisher.nextDeadline,
            clones.nextDeadline, checksKeyUntil, absences.nextDeadline, leaseRetry?.at, tokenRetry,
            departure.deadline, lookAgainAt,
            reservationIsOver ? nil : reservedSince.map { $0 + Self.longestReservation },
        ].compactMap { $0 }.min()
    }

    /// Takes one input and returns what must be done, in order.
    package mutating func receive(_ input: Input, at moment: Moment) -> [Effect] {
        var effects: [Effect] = []
        let now = moment.instant
        if case .start = input, !configuration.keyIsNew { checksKeyUntil = now + Self.keyCheck }
        tellWhetherItVotes(at: now, &effects)
        switch input {
        case .ownKeyHeard(let addresses): cloneStep(.heard(at: addresses), at: now, &effects)
        case .ownKeyProven(let binding, let address, let isInbound):
            cloneStep(.proven(binding: binding, at: address, isInbound: isInbound), at: now, &effects)
        case .start:
            settlesAt = now + Self.settlingTime
            // Who has left has no address, in a later life neither.
            let isGone = hasLeft && !departs(at: now)
            claimStep(isGone ? .release : .start(moment.wall), at: now, &effects)
            hasReleased = isGone
        case .entries(let entries):
            take(entries, at: moment, &effects)
        case .refused(let claim):
            claimStep(.refused(claim), at: now, &effects)
        case .members(let connected, let roomAnswered):
            let arrived = connected.subtracting(self.connected)
            self.connected = connected
            self.roomAnswered = roomAnswered
            _ = presence.update(connected, at: now)
            claimStep(.room(answered: roomAnswered), at: now, &effects)
            lookAtMachines(at: moment, &effects)
            electionStep(.present(connected), at: now, &effects)
            for peer in arrived { readCertificate(of: peer, at: now, &effects) }
        case .stockPeers(let present):
            stockPeersPresent = present
        case .electionPersisted(let number):
            electionStep(.persisted(number), at: now, &effects)
        case .electionPersistFailed(let number, let reason):
            electionStep(.persistFailed(number, reason: reason), at: now, &effects)
        case .leaseWritten(let address):
            leaseIsDone(address, &effects)
        case .leaseFailed(let address):
            leaseIsDone(address, &effects)
            leaseRetry = (address, now + Self.writeRetryInterval)
        case .device(let state):
            device = state
        case .hostAddress(let address):
            hostAddress = address ?? hostAddress
        case .joinToken(let token):
            joinToken = configuration.fixedToken ?? token
        case .joinTokenFailed:
            tokenRetry = now + Self.writeRetryInterval
        case .k3s(let condition):
            let former = k3s
            k3s = condition
            if former.epoch == condition.epoch {
                k3s.isMember = condition.isMember ?? former.isMember
                k3s.hasData = condition.hasData ?? former.hasData
            }
            k3s.hasUnrecordedData = former.hasUnrecordedData && k3s.hasData != true
        case .nodeRemoved(let peer):
            removed.insert(peer)
        case .settings(let settings):
            adopt(settings, at: now, &effects)
        case .forget(let peers):
            operatorForgets.formUnion(peers)
            if given.count + peers.count <= Self.mostGiven { given.formUnion(peers.map(OperatorWord.forget)) }
        case .refound(let epoch):
            operatorRefounds = epoch
        case .leave:
            electionStep(.leave, at: now, &effects)
        case .recover:
            operatorRecovers = election.decree?.number
            electionStep(.recover, at: now, &effects)
        case .tick:
            cloneStep(.tick, at: now, &effects)
            if let due = lookAgainAt, now >= due { lookAtMachines(at: moment, &effects) }
            claimStep(.tick, at: now, &effects)
            electionStep(.tick, at: now, &effects)
            if let retry = leaseRetry, now >= retry.at {
                leaseRetry = nil
                if claim.address == retry.address { effects.append(.writeLease(retry.address)) }
            }
            if let retry = tokenRetry, now >= retry { (tokenRetry, askedForToken) = (nil, false) }
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
                // It is not out of etcd, whatever was done: one that did not know that it was forgotten starts its
                // K3s, which joins again as another member (contract/k3s.md §11.2).
                if register.hasLeft { removed.remove(peer) }
                electionStep(.register(peer, register), at: moment.instant, &effects)
            case .certificate(let peer):
                readCertificate(of: peer, at: moment.instant, &effects)
            }
        }
        if machinesChanged { lookAtMachines(at: moment, &effects) }
    }

    private mutating func readCertificate(of peer: PeerID, at now: Instant, _ effects: inout [Effect]) {
        // Who is here, and whom the members have named: those may have told of a decision before they went.
        let isNamed = election.decree.map { $0.isVoter(peer) || $0.isServer(peer) } ?? false
        guard configuration.runsK3s,
            let certificate = board.certificate(
                of: peer, isTrusted: connected.contains(peer) || isNamed || peer == localPeer,
                localPeer: localPeer)
        else { return }
        electionStep(.certificate(certificate, holder: peer), at: now, &effects)
    }

    /// Has the claim compare the addresses with who is here.
    private mutating func lookAtMachines(at moment: Moment, _ effects: inout [Effect]) {
        presence.expire(at: moment.instant)
        strangersStay = board.strangersStay(besides: presence.owners, at: moment.wall)
        let isSettling = settlesAt.map { moment.instant < $0 } ?? false
        claimStep(
            .machines(
                board.machines(present: presence.owners, isSettling: isSettling, at: moment.wall)),
            at: moment.instant, &effects)
        lookAgainAt = nil
        // Nothing says that an owner is gone for good but the time since it was there.
        guard claim.address == nil else { return }
        let expiry = board.nextExpiry(after: moment.wall).map { moment.instant + ($0 - moment.wall) }
        lookAgainAt = [isSettling ? settlesAt : nil, presence.nextDeadline, expiry].compactMap { $0 }.min()
    }

    mutating func claimStep(_ input: AddressClaim.Input, at now: Instant, _ effects: inout [Effect]) {
        guard configuration.addressing.hasVPN else { return }
        for effect in claim.receive(input, at: now) {
            switch effect {
            case .put(let bucket, let key, let value, let above):
                effects.append(.put(EntryID(bucket: bucket, key: key), value: value, above: above))
            case .delete(let bucket, let key):
                effects.append(.delete(EntryID(bucket: bucket, key: key)))
            case .retract(let bucket, let key, let version):
                effects.append(.retract(EntryID(bucket: bucket, key: key), version: version))
            case .writeLease(let address):
                leaseOnItsWay = (address, isAwaited: false)
                effects.append(.writeLease(address))
            case .removeLease: effects.append(.removeLease)
            case .settled(let address):
                if leaseOnItsWay?.address == address {
                    leaseOnItsWay?.isAwaited = true
                } else {
                    effects.append(.configureDevice(address))
                }
            case .withdrawn(let address):
                let isAwaited = leaseOnItsWay?.address == address && leaseOnItsWay?.isAwaited == true
                leaseOnItsWay = nil
                if !isAwaited { effects.append(.releaseDevice(address)) }
            }
        }
    }

    /// The device carries an address once the disk has it, or cannot have it.
    private mutating func leaseIsDone(_ address: VirtualAddress, _ effects: inout [Effect]) {
        guard let lease = leaseOnItsWay, lease.address == address else { return }
        leaseOnItsWay = nil
        if lease.isAwaited { effects.append(.configureDevice(address)) }
    }

    mutating func electionStep(
        _ input: DecreeElection.Input, at now: Instant, _ effects: inout [Effect]
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
                effects.append(.decreed(certificate))
            }
        }
    }

    /// Tells the election whether this node may vote, where that is news.
    private mutating func tellWhetherItVotes(at now: Instant, _ effects: inout [Effect]) {
        guard votes != mayVote else { return }
        votes = mayVote
        electionStep(.mayVote(votes), at: now, &effects)
    }

    // MARK: what follows from the parts

    private mutating func settle(at moment: Moment, _ effects: inout [Effect]) {
        tellWhetherItVotes(at: moment.instant, &effects)
        absences.update(
            watched: watchedForAbsence, present: connected, limit: absenceLimits, at: moment.instant)
        // What is done is not wished for again: a forgotten node that comes back is taken back.
        if let decree = election.decree { operatorForgets.subtract(decree.forgotten) }
        let wishes = self.wishes()
        if wishes != lastWishes {
            lastWishes = wishes
            electionStep(.wishes(wishes), at: moment.instant, &effects)
        }
        if configuration.addressing.hasVPN, routesRevision != board.revisions.routes {
            routesRevision = board.revisions.routes
            let newRoutes = board.routes(without: localPeer)
            if newRoutes != routes {
                routes = newRoutes
                effects.append(.routes(newRoutes))
            }
        }
        if plan.role == .founder, joinToken == nil, !askedForToken, let effect = tokenSource {
            askedForToken = true
            effects.append(effect)
        }
        let isDeparting = departs(at: moment.instant)
        if hasLeft {
            if !isDeparting { release(at: moment.instant, &effects) }
        } else {
            for write in publisher.writes(publication(at: moment.wall), board: board, at: moment) {
                effects.append(
                    write.value.map { .put(write.id, value: $0, above: 0) } ?? .delete(write.id))
            }
        }
        reservedSince =
            isReserved && assignment == nil && election.decree?.isRunning == true
            ? reservedSince ?? moment.instant : nil
        reservationIsOver = reservedSince.map { moment.instant >= $0 + Self.longestReservation } ?? false
        // A node that is called back and forgotten again is taken out again.
        if let decree = election.decree { removed.formIntersection(decree.forgotten) }
        settleAssignment(&effects)
        let (nodes, turn) = nodesToRemove
        if nodes != removing {
            removing = nodes
            effects.append(.removeNodes(nodes, after: Self.removalTurn * turn))
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
}
