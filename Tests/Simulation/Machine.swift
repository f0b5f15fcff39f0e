import Coordination
import K3s
import Ledger
import LibP2P
import MeshNetwork
import NodeAgent
import Timing
import VPN

/// One simulated machine: what it is, what its disk holds, and what runs on it. A class, so that a look at
/// it is no copy; a world's machines are its own.
final class Machine {
    /// What is on disk: it outlives a power cut.
    struct Disk {
        var election: ElectionState?
        var lease: VirtualAddress?
        var token: String?
        var snapshot: Block?
    }

    /// A file that is being written. It takes the place of the old one whole, or not at all.
    enum Write {
        case election(ElectionState, number: UInt64)
        case lease(VirtualAddress?)
        case token(String)
        case snapshot(Block)
    }

    /// What is gone when the agent ends.
    final class Agent {
        var core: NodeCore
        var replication: Replication
        var reconciler = K3sReconciler()
        var lease: LeaseCore
        /// What the servers say of the API address.
        var holdings: [PeerID: APIHolding] = [:]
        var voice = HoldingVoice()
        /// Counts the appointments to ask K3s for its health; the last one stands.
        var probes = 0
        /// How often in a row K3s was found ill.
        var failedProbes = 0
        var holdsRestart = false
        /// Whether K3s may be restarted without asking, as the only server of a cluster.
        var isAlone = false
        var leaseTick: Instant?
        /// Whom it takes out of Kubernetes.
        var removals = NodeRemovals()
        var removed: [String: PeerID] = [:]
        var removalTick: Instant?
        /// Inputs that arrived while effects were being carried out.
        var inbox: [NodeCore.Input] = []
        var isBusy = false
        /// The machines that this one is connected with, and in which of their lives.
        var connections: [Int: Int] = [:]
        /// Who those machines were when the connection was made.
        var connectedPeers: [Int: PeerID] = [:]
        var coreTick: Instant?
        var replicationTick: Instant?
        var reconcilerTick: Instant?
        var device: VirtualAddress?
        var routes: [VirtualAddress: PeerID] = [:]
        var writes: [(number: Int, write: Write)] = []
        let startedAt: Instant
        /// When it last heard that its ID is elsewhere.
        var heardOwnID: Instant?

        init(core: NodeCore, lease: LeaseCore, replication: Replication, startedAt: Instant) {
            self.core = core
            self.lease = lease
            self.replication = replication
            self.startedAt = startedAt
        }
    }

    let identity: Identity
    let peer: PeerID
    let name: String
    let uuid: String
    let forced: ForcedRole?
    let fixedAddress: VirtualAddress?
    /// Of which machine this one is a copy.
    var copyOf: Int?
    var disk = Disk()
    /// Whether an agent has ever run on this disk.
    var hasBooted = false
    var agent: Agent?
    var k3s: ModelledK3s
    /// `p2p.auto.ha.master_nodes` of its cloud-config; nil where `p2p.auto.ha` is off.
    var additionalServers: Int?
    /// How fast its monotonic clock runs, in thousandths.
    var clockRate: UInt64 = 1000
    /// Where its monotonic clock stands still; nil while it runs.
    var clockStandsAt: Instant?
    /// Until when its agent does not run, although nobody has ended it.
    var frozenUntil: Instant = .zero
    /// Whether its K3s runs and its API server does not answer.
    var hasIllAPI = false
    /// The start of K3s by which a server that worked is being restarted.
    var restarting: Int?
    /// Counts the starts of the agent.
    var life = 0
    /// Whether it is switched off for good.
    var isGone = false
    var clockOffset: Duration
    /// How late it handles what reaches it.
    var lag: Duration = .zero
    var diskIsFull = false
    var diskBusyUntil: Instant = .zero
    /// After how many more effects it loses power, and for how long.
    var cutAfter: (steps: Int, outage: Duration)?
    /// The addresses that it has used, the last one last.
    var addresses: [VirtualAddress] = []
    /// Whether it has told something untrue or has shared its key.
    var isFaithless = false
    /// The epoch that its K3s was last configured for.
    var epoch: UInt64 = 1
    /// How often its K3s was started or restarted by the agent.
    var k3sStarts = 0

    init(
        identity: Identity, name: String, uuid: String, forced: ForcedRole?, fixedAddress: VirtualAddress?,
        clockOffset: Duration
    ) {
        self.identity = identity
        self.peer = identity.peerID
        self.name = name
        self.uuid = uuid
        self.forced = forced
        self.fixedAddress = fixedAddress
        self.clockOffset = clockOffset
        let nodeName = NodeName(hostName: name, peerID: identity.peerID.bytes)
        k3s = ModelledK3s(node: ModelledK3s.node(name: nodeName, settings: UserSettings()))
    }

    /// The address that its device carries.
    var address: VirtualAddress? { agent?.device }
}
