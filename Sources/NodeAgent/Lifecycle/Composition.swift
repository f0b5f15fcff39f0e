internal import AgentAPI
internal import CProcess
internal import CloudConfig
internal import Coordination
internal import GossipSub
internal import K3s
internal import Ledger
internal import LibP2P
internal import Logging
internal import MeshNetwork
internal import MulticastDNS
internal import Multiformats
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import Systemd
internal import Timing
internal import VPN

/// The running parts of one agent. Made bottom up; stopped top down.
struct Composition: Sendable {
    private let logger: Logger
    private let group: MultiThreadedEventLoopGroup
    private let files: NIOThreadPool
    private let swarm: Swarm
    private let mesh: MeshService
    private let discovery: MulticastDNSService?
    private let vpn: VPNService
    private let node: NodeService
    private let lease: LeaseService
    private let hostAddress: HostAddressWatch?
    private let k3s: K3sRunner
    private let manager: any ServiceManager
    private let stopsK3s: Bool
    private let disk: NodeDisk
    private let api: APIServer
    private let reporter: StatusReporter
    private let watcher: ConfigurationWatcher
    private let interface: String
    /// Makes what stock tools find of K3s' kubeconfig; nil where it is not published, or there is none.
    private let publishedKubeconfig: @Sendable () -> String?

    // MARK: making

    static func make(
        options: AgentOptions, paths: NodePaths, configuration: NodeConfiguration, settings: NodeSettings,
        logger: Logger
    ) async throws(AgentFailure) -> Composition {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let files = NIOThreadPool(numberOfThreads: 1)
        files.start()
        do {
            return try await build(
                options: options, paths: paths, configuration: configuration, settings: settings,
                logger: logger,
                group: group, files: files)
        } catch {
            try? await group.shutdownGracefully()
            try? await files.shutdownGracefully()
            throw (error as? AgentFailure) ?? AgentFailure("\(error)", exitCode: AgentFailure.Code.software)
        }
    }

    private static func build(
        options: AgentOptions, paths: NodePaths, configuration: NodeConfiguration, settings: NodeSettings,
        logger: Logger, group: MultiThreadedEventLoopGroup, files: NIOThreadPool
    ) async throws -> Composition {
        let time = SystemTime()
        let startedAt = time.now()
        let layout = K3sLayout(root: paths.root.isEmpty ? "/" : paths.root)
        let leaseDirectory =
            configuration.p2p?.vpn.leaseDirectory.map { paths.under($0) } ?? paths.leaseDirectory
        let key = try identity(
            paths, traces: NodeTraces(paths: paths, leaseDirectory: leaseDirectory, layout: layout))
        let identity = key.identity
        let machine = try MachineIdentity.find(paths)
        let disk = NodeDisk(paths: paths)
        let election = try restored(
            try disk.loadElection(at: time.wallClock()), what: "election state", logger: logger)
        let joinToken = try restored(
            try disk.loadJoinToken(at: time.wallClock()), what: "join token", logger: logger)
        let leaseFile = LeaseFile(
            directory: leaseDirectory, name: try settings.token.leaseFileName)
        let leased = try leasedAddress(leaseFile, logger: logger)

        let swarm = try await listen(identity: identity, settings: settings, group: group, logger: logger)
        var meshConfiguration = MeshConfiguration(
            token: settings.token, identity: identity, snapshotPath: paths.ledgerSnapshot)
        meshConfiguration.replication.beatsWithoutAddress = !settings.addressing.hasVPN
        let mesh: MeshService
        do {
            mesh = try await MeshService.start(
                on: swarm, configuration: meshConfiguration, time: time, logger: logger
            )
            .get()
        } catch let error as SnapshotError {
            throw AgentFailure(error.description, exitCode: AgentFailure.Code.inputOutput)
        }
        let vpn = VPNService(
            configuration: .init(subnet: settings.claim.subnet, mtu: settings.mtu), host: swarm, time: time,
            logger: logger, isAdmitted: { mesh.isAdmitted($0) },
            // The number of the TCP port, which a firewall's owner knows.
            openSocket: {
                [port = settings.listenAddresses.lazy.compactMap(\.tcpPort).first ?? 0]
                () throws(DatagramSocket.Failure) in
                try DatagramSocket(port: port)
            }
        ) { () throws(TunDeviceError) -> any VPNDevice in
            try TunDevice.attach(
                name: settings.interface, subnet: settings.claim.subnet, mtu: settings.mtu)
        }
        let (manager, supervision) = try Supervisor.find(paths: paths, time: time)
        let written = FileSystem.content(of: layout.dropIn).map { WrittenConfig($0) }
        let k3sNode = K3sRunner.Node(
            name: NodeName(
                previous: written?.nodeName, hostName: machine.hostName, peerID: identity.peerID.bytes),
            interface: settings.interface, carriesKubernetes: settings.carriesKubernetes,
            settings: settings.userSettings, externalDatastore: settings.externalDatastore,
            layout: layout, supervision: supervision, kubeVIP: settings.kubeVIP)
        let core = try core(
            identity: identity, machine: machine, settings: settings, lease: leased, election: election,
            keyIsNew: key.isNew,
            hasForgotten: try beginElection(
                election, isNew: key.isNew, owner: identity.peerID, settings: settings, disk: disk),
            joinToken: joinToken, k3s: disk.k3sCondition(in: k3sNode.placedLayout), at: time.now())
        let k3s = K3sRunner(
            node: k3sNode, manager: manager, time: time,
            hooks: HookRunner(
                layout: HookLayout(layout), supervision: supervision, time: time, logger: logger),
            logger: logger)
        if let command = settings.givenCommand { k3s.runAsGiven(command) }
        let probe = ReadyProbe(layout: layout)
        // Without an address to lease, too: the servers take turns to restart by the same leases.
        let lease = try await LeaseService.start(
            parts: .init(
                host: swarm, mesh: mesh, vpn: vpn, apiAddress: settings.apiAddress,
                networkID: settings.networkID,
                probe: { probe.ask() }, time: time, logger: logger)
        ).get()
        let node = try await NodeService.start(
            core: core,
            parts: .init(
                host: swarm, mesh: mesh, vpn: vpn, disk: disk, lease: leaseFile, files: files, time: time,
                logger: logger,
                assign: { k3s.assign($0) }, leave: { k3s.leave(epoch: $0) },
                removeNodes: { k3s.removeNodes($0, after: $1) },
                leaseAmong: { lease.setServers($0) },
                lookForOwnKey: { for address in $0 { swarm.lookForOwnKey(at: address) } })
        ).get()
        swarm.onOwnKeySeen { node.ownKeyIsProven($0) }
        var hostAddress: HostAddressWatch?
        if settings.addressing.needsHostAddress {
            hostAddress = try await HostAddressWatch.start(
                choice: HostAddressChoice(
                    preferred: settings.hostInterface, vpnInterface: settings.interface,
                    visitor: settings.kubeVIP.flatMap { VirtualAddress($0.address) }),
                dropIn: layout.dropIn, eventLoop: swarm.eventLoop, tell: { node.hostAddressIs($0) }
            ).get()
        }
        let discovery = try await discover(
            identity: identity, settings: settings, swarm: swarm, mesh: mesh, time: time, logger: logger,
            ownKeyHeard: { node.ownKeyIsHeard(at: $0) })
        mesh.setUse { [weak vpn] peer in vpn?.uses(connectionTo: peer) ?? false }
        for (peer, address) in settings.bootstrapPeers where peer != identity.peerID {
            mesh.setPinned(true, for: peer, addresses: [address], reason: .configuration)
        }
        let candidate = ConfigurationReload.Candidate(configuration: configuration, settings: settings)
        let notes = ConfigurationNotes(candidate, at: time.wallClock())
        let watcher = ConfigurationWatcher(
            current: candidate,
            parts: .init(
                options: options, group: group, time: time, logger: logger, notes: notes,
                isFounded: { (try? await node.view().get())?.certificate != nil },
                apply: { apply($0, to: node, k3s: k3s, mesh: mesh, localPeer: identity.peerID) }))
        let reporter = StatusReporter(
            name: machine.hostName, uuid: machine.uuid, networkID: settings.networkID,
            prefixLength: settings.claim.subnet.prefixLength,
            localPeer: identity.peerID, node: node, mesh: mesh, vpn: vpn, k3s: k3s, lease: lease, time: time,
            startedAt: startedAt, notes: notes)
        let api = APIServer(
            socket: UnixSocket(path: paths.socket), status: reporter, ledger: reporter,
            commands: NodeOperator(node: node),
            clock: time,
            eventLoopGroup: group, logger: logger)
        return Composition(
            logger: logger, group: group, files: files, swarm: swarm, mesh: mesh, discovery: discovery,
            vpn: vpn,
            node: node, lease: lease, hostAddress: hostAddress, k3s: k3s, manager: manager,
            stopsK3s: supervision == .childProcess,
            disk: disk,
            api: api,
            reporter: reporter, watcher: watcher, interface: settings.interface,
            publishedKubeconfig: {
                guard settings.publishesKubeconfig, settings.runsK3s else { return nil }
                return PublishedKubeconfig.text(
                    reading: layout.kubeconfig, serverName: settings.serverName)
            })
    }

    /// Has a node that runs go on with another configuration. Each part takes what it depends on.
    private static func apply(
        _ candidate: ConfigurationReload.Candidate, to node: NodeService, k3s: K3sRunner, mesh: MeshService,
        localPeer: PeerID
    ) {
        guard let settings = candidate.settings else { return }
        node.adopt(settings.live)
        k3s.adopt(
            settings: settings.userSettings, externalDatastore: settings.externalDatastore,
            kubeVIP: settings.kubeVIP)
        if let command = settings.givenCommand { k3s.runAsGiven(command) }
        for (peer, address) in settings.bootstrapPeers where peer != localPeer {
            mesh.setPinned(true, for: peer, addresses: [address], reason: .configuration)
        }
    }

    // MARK: running

    /// Runs until SIGTERM or SIGINT, then stops everything within `stopTimeout`.
    func run(stopTimeout: Duration) async throws {
        let failure = await Supervisor.run(stopTimeout: stopTimeout, logger: logger) { try await runParts() }
        await stop()
        if let failure { throw failure }
        guard let changes = await watcher.reasonToStartAgain else { return }
        if changes.contains(where: { ConfigurationKey.ofDevice.contains($0.path) }) {
            // Left behind, it would keep the address and with it the routes.
            do { try TunDevice.remove(name: interface) } catch {
                logger.warning("the former device stays", metadata: ["reason": "\(error)"])
            }
        }
        throw AgentFailure.startAgain(changes)
    }

    private func runParts() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await api.run() }
            group.addTask {
                await cancelWhenGracefulShutdown {
                    await k3s.run(onRemoved: { node.nodeIsRemoved($0) }) { report in
                        node.k3sIs(
                            K3sCondition(
                                epoch: report.epoch, isServer: report.isServer, hasData: report.hasData,
                                isReady: report.isReady, isVoter: report.isVoter,
                                isMember: report.isMember, hasLostData: report.hasLostData,
                                token: report.hasNodeToken ? disk.serverToken : nil,
                                kubeconfig: report.isReady ? publishedKubeconfig() : nil,
                                hasRun: report.isReady || report.hasNodeToken))
                        lease.setWantsRestart(report.needsTurn) { k3s.setRestartPermitted($0) }
                    }
                }
            }
            group.addTask { await cancelWhenGracefulShutdown { await keepWatchdog() } }
            group.addTask { await cancelWhenGracefulShutdown { await watcher.run() } }
            // The first part that ends, by shutdown or by failure, ends the others.
            try await group.next()
            group.cancelAll()
        }
    }

    /// Tells systemd that the node is up, then that it is alive for as long as its loop answers.
    private func keepWatchdog() async {
        ServiceNotification.ready(status: "joining the mesh")
        let interval = ServiceNotification.watchdogInterval.map { $0 / 3 } ?? .seconds(15)
        var said = ""
        var housekeeping = MemoryHousekeeping()
        while !Task.isCancelled {
            // The status asks the control loop: a loop that hangs lets the watchdog bite.
            let document = await reporter.status()
            ServiceNotification.alive()
            if housekeeping.isDue(uptime: document.node.uptimeSeconds) {
                _ = cprocess_trim_heap()
                _ = cprocess_release_program_pages()
            }
            let line =
                document.waiting.first.map { "waiting for \($0.what)" }
                ?? "\(document.node.role ?? "member") at \(document.node.address ?? "no address")"
            if line != said {
                said = line
                ServiceNotification.status(line)
            }
            do { try await Task.sleep(for: min(interval, .seconds(30))) } catch { return }
        }
    }

    private func stop() async {
        ServiceNotification.stopping()
        logger.info("stopping")
        try? await node.stop().get()
        try? await hostAddress?.stop().get()
        try? await lease.stop().get()
        if stopsK3s { await manager.shutDown() }
        try? await discovery?.stop().get()
        vpn.stop()
        try? await mesh.shutDown().get()
        try? await swarm.shutDown().get()
        try? await files.shutdownGracefully()
        try? await group.shutdownGracefully()
    }
}
