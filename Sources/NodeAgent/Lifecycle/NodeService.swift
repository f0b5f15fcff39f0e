internal import AgentAPI
package import Coordination
internal import K3s
internal import Ledger
package import LibP2P
package import Logging
package import MeshNetwork
package import Multiformats
package import NIOCore
package import NIOPosix
package import Timing
package import VPN

/// Drives a `NodeCore`: feeds it what the mesh, the device, the disk and K3s say, and carries out
/// what it decides. All state lives on the host's event loop; nothing is decided here.
package final class NodeService: Sendable {
    /// What the node acts on.
    package struct Parts: Sendable {
        package let host: any Host
        package let mesh: MeshService
        package let vpn: VPNService
        package let disk: NodeDisk
        package let lease: LeaseFile
        /// Where files are written, off the event loop and one after the other.
        package let files: NIOThreadPool
        package let time: any TimeSource
        package let logger: Logger
        /// Makes K3s what the assignment says.
        package let assign: @Sendable (K3sAssignment) -> Void
        /// Stops K3s, which has no part in the cluster of that epoch.
        package let leave: @Sendable (_ epoch: UInt64) -> Void
        /// Takes these nodes, with their host names, out of Kubernetes, and no others, beginning after a while.
        package let removeNodes: @Sendable ([PeerID: String], _ delay: Duration) -> Void
        /// Is told the servers among which the API address is leased, whenever they may have changed.
        package let leaseAmong: @Sendable (LeaseServers?) -> Void
        /// Dials these addresses, where this node's own key may be in use.
        package let lookForOwnKey: @Sendable ([Multiaddr]) -> Void

        package init(
            host: any Host, mesh: MeshService, vpn: VPNService, disk: NodeDisk, lease: LeaseFile,
            files: NIOThreadPool, time: any TimeSource, logger: Logger,
            assign: @escaping @Sendable (K3sAssignment) -> Void,
            leave: @escaping @Sendable (_ epoch: UInt64) -> Void,
            removeNodes: @escaping @Sendable ([PeerID: String], _ delay: Duration) -> Void,
            leaseAmong: @escaping @Sendable (LeaseServers?) -> Void = { _ in },
            lookForOwnKey: @escaping @Sendable ([Multiaddr]) -> Void = { _ in }
        ) {
            self.host = host
            self.mesh = mesh
            self.vpn = vpn
            self.disk = disk
            self.lease = lease
            self.files = files
            self.time = time
            self.logger = logger
            self.assign = assign
            self.leave = leave
            self.removeNodes = removeNodes
            self.leaseAmong = leaseAmong
            self.lookForOwnKey = lookForOwnKey
        }
    }

    /// The node's decisions at one moment, for `status`.
    package struct View: Sendable {
        package let waiting: [Waiting]
        package let warnings: [String]
        package let address: VirtualAddress?
        /// The node's address outside the VPN, where it has one.
        package let hostAddress: VirtualAddress?
        package let plan: RolePlan
        package let certificate: DecreeCertificate?
        package let members: [PeerID: MemberCard]
        package let highAvailability: Bool
        /// The nodes that the members have agreed are gone.
        package let forgotten: [PeerID: MemberCard?]
        package let board: LedgerBoard
        /// The nodes that were here some minutes ago, and since when they are not.
        package let absentSince: [PeerID: Instant]
        package let diskFailures: [String]
    }

    private struct State {
        var core: NodeCore
        var timer: Scheduled<Void>?
        var wakeUp = WakeUp("NodeCore")
        /// Inputs that arrived while effects were being carried out.
        var inbox: [NodeCore.Input] = []
        var isBusy = false
        var deviceWatch: Scheduled<Void>?
        /// What could not be written, by file.
        var diskFailures: [String: String] = [:]
        var isStopped = false
    }

    /// How often a device that failed is looked at: the VPN service repairs it by itself.
    private static let deviceWatchInterval = TimeAmount.seconds(1)

    private let parts: Parts
    private let state: NIOLoopBoundBox<State>

    private var eventLoop: any EventLoop { parts.host.eventLoop }

    /// The loop that the node's state lives on.
    package var loop: any EventLoop { eventLoop }

    /// The address that always leads to a server, if the network has one.
    package let apiAddress: VirtualAddress?

    private init(core: NodeCore, parts: Parts) {
        self.apiAddress = core.configuration.apiAddress
        self.parts = parts
        self.state = NIOLoopBoundBox(State(core: core), eventLoop: parts.host.eventLoop)
    }

    /// Makes the service and begins, on the host's event loop.
    package static func start(core: NodeCore, parts: Parts) -> EventLoopFuture<NodeService> {
        parts.host.eventLoop.submit {
            let service = NodeService(core: core, parts: parts)
            service.feed(.start)
            parts.mesh.observe { service.observe($0) }
            return service
        }
    }

    /// The node's decisions now.
    package func view() -> EventLoopFuture<View> {
        eventLoop.submit { [self] in
            let core = state.value.core
            return View(
                waiting: core.waiting, warnings: core.warnings, address: core.address,
                hostAddress: core.hostAddress?.address, plan: core.plan,
                certificate: core.election.certificate, members: core.election.members,
                highAvailability: core.configuration.highAvailability, forgotten: core.forgotten,
                board: core.board, absentSince: core.presence.absentSince,
                diskFailures: state.value.diskFailures.values.sorted())
        }
    }

    /// A node is out of Kubernetes.
    package func nodeIsRemoved(_ peer: PeerID) {
        eventLoop.execute { [self] in feed(.nodeRemoved(peer)) }
    }

    /// The host's own address outside the VPN; nil while there is none.
    func hostAddressIs(_ address: HostAddress?) {
        eventLoop.execute { [self] in feed(.hostAddress(address)) }
    }

    /// Somebody says that this node's ID is at addresses that are not its own.
    package func ownKeyIsHeard(at addresses: [Multiaddr]) {
        eventLoop.execute { [self] in feed(.ownKeyHeard(at: addresses)) }
    }

    /// The other end of a connection has proven this node's own key.
    package func ownKeyIsProven(_ info: ConnectionInfo) {
        eventLoop.execute { [self] in
            feed(
                .ownKeyProven(
                    binding: info.channelBinding, at: info.remoteAddress,
                    isInbound: info.direction == .inbound))
        }
    }

    /// The cloud-config asks for something else.
    package func adopt(_ settings: NodeCore.LiveSettings) {
        eventLoop.execute { [self] in feed(.settings(settings)) }
    }

    /// How K3s is has changed.
    package func k3sIs(_ condition: K3sCondition) {
        eventLoop.execute { [self] in feed(.k3s(condition)) }
    }

    /// Gives the core an operator's word, unless it was given already or cannot be carried out; answers
    /// how it stands.
    func give(_ word: NodeCore.OperatorWord) -> EventLoopFuture<OperatorOutcome> {
        eventLoop.submit { [self] in
            if let standing = state.value.core.standing(of: word), !standing.isFinal { return standing }
            if let refusal = state.value.core.refusal(of: word) { return .refused(refusal) }
            feed(state.value.core.input(for: word))
            return state.value.core.standing(of: word) ?? .accepted("the word is given")
        }
    }

    /// How an operator's word stands; nil when it was not given.
    func standing(of word: NodeCore.OperatorWord) -> EventLoopFuture<OperatorOutcome?> {
        eventLoop.submit { [self] in state.value.core.standing(of: word) }
    }

    /// Ends the service: what arrives after it is dropped.
    package func stop() -> EventLoopFuture<Void> {
        eventLoop.submit { [self] in
            state.value.isStopped = true
            state.value.timer?.cancel()
            state.value.deviceWatch?.cancel()
        }
    }

    // MARK: what the mesh says

    private func observe(_ event: MeshEvent) {
        switch event {
        case .ledgerChanged(let changes):
            let entries = changes.compactMap { change in change.new.map { (change.id, $0) } }
            if !entries.isEmpty { feed(.entries(entries)) }
        case .membership:
            // The mesh logs who comes and goes; what counts here is who is admitted.
            break
        case .members(let present, let roomAnswered):
            feed(.members(connected: present, roomAnswered: roomAnswered))
        case .stockPeers(let present):
            feed(.stockPeers(present))
        case .rejected(let id, let entry, _):
            guard id.bucket == .machines,
                let claim = RefusedClaim(
                    key: id.key.string, value: entry.value.string, owner: entry.owner.string,
                    version: entry.version, isDeleted: entry.isDeleted)
            else { return }
            feed(.refused(claim))
        case .writeRefused(let write, let error):
            parts.logger.notice(
                "the ledger refused an entry", metadata: ["entry": "\(write.id)", "reason": "\(error)"])
        case .snapshotFailed(let error):
            parts.logger.error("the ledger cannot be stored", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: feeding and performing

    /// Gives the core one input, or queues it while another one's effects are carried out: those can
    /// come back here at once, as a local write comes back as a change of the ledger.
    private func feed(_ input: NodeCore.Input) {
        guard !state.value.isStopped else { return }
        state.value.inbox.append(input)
        guard !state.value.isBusy else { return }
        state.value.isBusy = true
        while !state.value.inbox.isEmpty {
            let next = state.value.inbox.removeFirst()
            for effect in state.value.core.receive(next, at: parts.time.moment()) { perform(effect) }
        }
        state.value.isBusy = false
        parts.leaseAmong(state.value.core.leaseServers)
        schedule()
    }

    private func schedule() {
        state.value.timer?.cancel()
        state.value.timer = nil
        let deadline = state.value.core.nextDeadline
        guard let plan = state.value.wakeUp.next(deadline, at: parts.time.now()) else { return }
        if let warning = plan.warning { parts.logger.warning("\(warning)") }
        state.value.timer = eventLoop.scheduleTask(in: .nanoseconds(plan.delay.wholeNanoseconds)) { [self] in
            state.value.wakeUp.fired()
            feed(.tick)
        }
    }

    private func perform(_ effect: NodeCore.Effect) {
        switch effect {
        case .put(let id, let value, let above):
            // A refusal comes back as an event of the mesh.
            parts.mesh.put(id, value: LedgerText(value), above: above)
        case .delete(let id):
            parts.mesh.delete(id)
        case .retract(let id, let version):
            parts.mesh.retract(id, version: version)
        case .persistElection(let election, let number):
            let disk = parts.disk
            onDisk({ try disk.save(election) }, name: "election") { outcome in
                switch outcome {
                case .success: .electionPersisted(number)
                case .failure(let error): .electionPersistFailed(number, reason: "\(error)")
                }
            }
        case .writeLease(let address):
            let lease = parts.lease
            onDisk({ try lease.write(address) }, name: "lease") { outcome in
                if case .failure = outcome { .leaseFailed(address) } else { .leaseWritten(address) }
            }
        case .removeLease:
            let lease = parts.lease
            onDisk({ try lease.remove() }, name: "lease") { _ in nil }
        case .configureDevice(let address):
            parts.logger.info("address is settled", metadata: ["address": "\(address)"])
            configureDevice(address)
        case .releaseDevice(let address):
            parts.logger.warning("address is given up", metadata: ["address": "\(address)"])
            configureDevice(nil)
        case .routes(let routes):
            parts.vpn.updateRoutes(routes)
        case .lookForOwnKey(let addresses): parts.lookForOwnKey(addresses)
        case .keyIsElsewhere(let address?):
            parts.logger.warning(
                "another machine runs with this node's key: neither votes nor carries the API address",
                metadata: ["at": "\(address)"])
        case .keyIsElsewhere(nil):
            parts.logger.notice("no other machine runs with this node's key any more")
        case .makeJoinToken:
            let disk = parts.disk
            onDisk({ try disk.makeJoinToken() }, name: "join token") { outcome in
                if case .success(let token) = outcome { .joinToken(token) } else { .joinTokenFailed }
            }
        case .keepJoinToken(let token):
            let disk = parts.disk
            onDisk({ try disk.keep(joinToken: token) }, name: "join token") { outcome in
                if case .success = outcome { .joinToken(token) } else { .joinTokenFailed }
            }
        case .assign(let assignment):
            parts.logger.notice(
                "K3s is assigned",
                metadata: [
                    "role": "\(assignment.role.rawValue)", "address": "\(assignment.address)",
                    "server": "\(assignment.joinURL ?? "this node")",
                ])
            parts.assign(assignment)
        case .leaveCluster(let epoch):
            parts.logger.warning("this node has no part in the cluster", metadata: ["epoch": "\(epoch)"])
            parts.leave(epoch)
        case .removeNodes(let nodes, let delay):
            parts.removeNodes(nodes, delay)
        case .decreed(let certificate):
            let decree = certificate.decree
            parts.logger.notice(
                "a decree is decided",
                metadata: [
                    "number": "\(decree.number)", "epoch": "\(decree.epoch)",
                    "founder": "\(decree.founder.uuid)", "running": "\(decree.isRunning)",
                    "servers": "\(decree.servers.map(\.uuid))", "forgotten": "\(decree.forgotten.count)",
                ])
        }
    }

    /// Runs `work` on the disk's thread; every file is written by one thread, in the order asked for.
    /// Failures are kept for `status` until the same file is written with success.
    private func onDisk<Value: Sendable>(
        _ work: @escaping @Sendable () throws -> Value, name: String,
        then input: @escaping @Sendable (Result<Value, any Error>) -> NodeCore.Input?
    ) {
        parts.files.runIfActive(eventLoop: eventLoop, work).whenComplete { [self] outcome in
            switch outcome {
            case .success:
                state.value.diskFailures[name] = nil
            case .failure(let error):
                state.value.diskFailures[name] = "the \(name) cannot be written: \(error)"
                parts.logger.error("cannot write the \(name)", metadata: ["reason": "\(error)"])
            }
            if let input = input(outcome) { feed(input) }
        }
    }

    // MARK: the device

    private func configureDevice(_ address: VirtualAddress?) {
        let vpn = parts.vpn
        let loop = eventLoop
        let done = loop.makePromise(of: Void.self)
        done.completeWithTask { try await vpn.setLocalAddress(address) }
        done.futureResult.whenComplete { [self] _ in reportDevice() }
    }

    /// Tells the core of the device, and looks again while it is not as it should be.
    private func reportDevice() {
        state.value.deviceWatch?.cancel()
        state.value.deviceWatch = nil
        switch parts.vpn.deviceStatus {
        case .down: feed(.device(.down))
        case .up(_, _, let address, _): feed(.device(.up(address)))
        case .failed(let error): feed(.device(.failed(what: "\(error)", remedy: error.remedy)))
        }
        guard !state.value.isStopped else { return }
        state.value.deviceWatch = eventLoop.scheduleTask(
            in: deviceIsUp ? .seconds(15) : Self.deviceWatchInterval
        ) {
            [self] in reportDevice()
        }
    }

    private var deviceIsUp: Bool {
        if case .up = parts.vpn.deviceStatus { return true }
        return false
    }
}
