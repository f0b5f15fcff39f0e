import GossipSub
import Ledger
import LibP2P
import Logging
import MeshNetwork
import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Timing
import VPN

/// A member of a network that does on the wire what a stock node does: it knows no protocol of ours, publishes its
/// whole ledger in the room every ten seconds, and opens a stream for each packet (contract/wire.md J and K.1).
final class StockMember: Sendable {
    private static let broadcastInterval = TimeAmount.seconds(10)
    private static let heartbeatInterval = Duration.seconds(120)

    private struct State {
        var ledger = Ledger()
        var room: Room?
        var heartbeat: UnixTime?
        /// The number of the last block; one without says that it is no whole ledger.
        var index: Int64 = 0
    }

    let swarm: Swarm
    private let identity: Identity
    private let address: VirtualAddress
    private let state: NIOLoopBoundBox<State>
    /// Who has which address, as the sending thread asks.
    private let owners = NIOLockedValueBox<[VirtualAddress: PeerID]>([:])

    init(
        token: NetworkToken, address: VirtualAddress, listen: Multiaddr, group: MultiThreadedEventLoopGroup
    ) async throws {
        let identity = Identity.generate()
        self.identity = identity
        self.address = address
        var configuration = SwarmConfiguration()
        configuration.agentVersion = "github.com/mudler/edgevpn"
        configuration.limits.newcomers = .admitted
        let swarm = try await Swarm.make(
            identity: identity,
            security: [try TLSSecurity(identity: identity), NoiseSecurity(identity: identity)],
            group: group, configuration: configuration
        ).get()
        self.swarm = swarm
        _ = try await swarm.listen(on: [listen]).get()
        state = .makeBoxSendingValue(State(), eventLoop: swarm.eventLoop)
        let logger = Logger(label: "stock-peer")
        try await swarm.eventLoop.submit { [self] in
            let gossip = GossipSubService(
                host: swarm, identity: identity, generator: .fromSystem(), logger: logger
            ) { [self] message in heard(message) }
            let room = Room(
                gossip: gossip, token: token, eventLoop: swarm.eventLoop, time: SystemTime(), logger: logger)
            state.value.room = room
            gossip.start()
            room.start()
            swarm.eventLoop.scheduleRepeatedTask(
                initialDelay: .milliseconds(500), delay: Self.broadcastInterval
            ) { [self] _ in broadcast() }
        }.get()
    }

    /// Who has `address`, once its owner's entry has arrived.
    func owner(of address: VirtualAddress) -> PeerID? { owners.withLockedValue { $0[address] } }

    private func heard(_ message: DeliveredMessage) -> Router.Verdict {
        guard let block = state.value.room?.open(Array(message.data), topic: message.topic) else {
            return .ignore
        }
        _ = state.value.ledger.merge(block, at: SystemTime().wallClock())
        noteOwners()
        return .accept
    }

    private func noteOwners() {
        var found: [VirtualAddress: PeerID] = [:]
        for entry in (state.value.ledger.storage[.machines] ?? [:]).values where !entry.isDeleted {
            guard let machine = MachineEntry(value: entry.value.string),
                let peer = try? PeerID(machine.peerID)
            else { continue }
            found[machine.address] = peer
        }
        owners.withLockedValue { $0 = found }
    }

    private func broadcast() {
        let now = SystemTime().wallClock()
        let own = LedgerText(identity.peerID.description)
        if state.value.heartbeat.map({ now - $0 >= Self.heartbeatInterval }) ?? true {
            state.value.heartbeat = now
            write(EntryID(.healthcheck, own), "\"\(GoTime.rfc3339(now))\"", now)
        }
        let machine = MachineEntry(
            peerID: identity.peerID.description, hostname: "stock", address: address, version: "v0.31.0")
        write(EntryID(.machines, LedgerText(address.description)), machine.value, now)
        state.value.index += 1
        state.value.room?.publish(Block(index: state.value.index, storage: state.value.ledger.storage))
    }

    private func write(_ id: EntryID, _ value: String, _ now: UnixTime) {
        do {
            _ = try state.value.ledger.put(id, value: LedgerText(value), by: identity, at: now)
        } catch {
            Logger(label: "stock-peer").error("cannot write \(id)", metadata: ["reason": "\(error)"])
        }
    }
}
