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

        init(core: NodeCore, replication: Replication, startedAt: Instant) {
            self.core = core
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
    var agent: Agent?
    var k3s: ModelledK3s
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
        k3s = ModelledK3s(
            node: .init(
                name: NodeName(hostName: name, peerID: identity.peerID.bytes), interface: "edgevpn0",
                carriesKubernetes: true, settings: UserSettings(), externalDatastore: nil,
                layout: K3sLayout(),
                supervision: .systemd(agentUnit: "kairos-agent.service")))
    }

    /// The address that its device carries.
    var address: VirtualAddress? { agent?.device }
}
