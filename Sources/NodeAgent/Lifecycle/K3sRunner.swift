internal import Coordination
package import K3s
package import LibP2P
package import Logging
internal import Synchronization
package import Timing
internal import VPN

/// Turns assignments into K3s' desired state, and keeps what K3s last reported.
package final class K3sRunner: Sendable {
    /// What does not change while the agent runs.
    package struct Node: Sendable {
        package let name: NodeName
        package let interface: String
        /// Whether Kubernetes' traffic goes over the VPN.
        package let carriesKubernetes: Bool
        package let settings: UserSettings
        package let externalDatastore: String?
        package let layout: K3sLayout
        package let supervision: DesiredState.Supervision
        /// What carries the servers' address on a network without the VPN.
        package let kubeVIP: KubeVIP?

        package init(
            name: NodeName, interface: String, carriesKubernetes: Bool, settings: UserSettings,
            externalDatastore: String?, layout: K3sLayout, supervision: DesiredState.Supervision,
            kubeVIP: KubeVIP? = nil
        ) {
            self.kubeVIP = kubeVIP
            self.name = name
            self.interface = interface
            self.carriesKubernetes = carriesKubernetes
            self.settings = settings
            self.externalDatastore = externalDatastore
            self.layout = layout
            self.supervision = supervision
        }
    }

    private struct State {
        var report: K3sReport?
        var failure: String?
        var epoch: UInt64?
    }

    package let controller: K3sController
    private let node: Node
    private let logger: Logger
    private let state = Mutex(State())

    package init(
        node: Node, manager: any ServiceManager, time: any TimeSource, hooks: HookRunner? = nil,
        logger: Logger
    ) {
        self.node = node
        self.logger = logger
        controller = K3sController(manager: manager, time: time, hooks: hooks, logger: logger)
    }

    /// What K3s last reported.
    package var report: K3sReport? { state.withLock { $0.report } }

    /// Why the last assignment cannot be configured; nil when it can.
    package var failure: String? { state.withLock { $0.failure } }

    /// Of which founding the last assignment was.
    package var assignedEpoch: UInt64? { state.withLock { $0.epoch } }

    /// Makes K3s what `assignment` says, as soon as it can be.
    package func assign(_ assignment: K3sAssignment) {
        desire(epoch: assignment.epoch) { () throws(K3sConfigurationError) in
            try node.desiredState(of: assignment)
        }
    }

    /// Makes K3s what the cloud-config asks for by hand, and nothing besides.
    package func runAsGiven(_ command: K3sCommand) {
        desire(epoch: nil) { () throws(K3sConfigurationError) in try node.desiredState(asGiven: command) }
    }

    private func desire(epoch: UInt64?, _ make: () throws(K3sConfigurationError) -> DesiredState) {
        do throws(K3sConfigurationError) {
            let desired = try make()
            state.withLock {
                $0.failure = nil
                $0.epoch = epoch
            }
            Task { await controller.desire(desired) }
        } catch {
            let text = "\(error)"
            state.withLock { $0.failure = text }
            logger.error("K3s cannot be configured", metadata: ["reason": "\(text)"])
        }
    }

    /// Stops K3s: this node has no part in the cluster of `epoch`.
    package func leave(epoch: UInt64) {
        logger.error("K3s cannot be stopped", metadata: ["epoch": "\(epoch)"])
    }

    /// Takes the node of that host name and peer out of Kubernetes.
    package func removeNode(hostName: String, peer: PeerID) {
        logger.error("the node cannot be removed", metadata: ["node": "\(hostName)", "peer": "\(peer)"])
    }

    /// Keeps K3s as assigned until the task is cancelled. `onReport` is told of every report.
    package func run(onReport: @escaping @Sendable (K3sReport) -> Void) async {
        await withTaskGroup { group in
            let reports = await controller.reports()
            group.addTask { [self] in
                for await report in reports {
                    state.withLock { $0.report = report }
                    onReport(report)
                }
            }
            group.addTask { [controller] in await controller.run() }
            await group.waitForAll()
        }
    }
}

extension K3sRunner.Node {
    /// What the cloud-config's own words make of K3s on this node.
    ///
    /// - Throws: `K3sConfigurationError` when K3s would refuse them.
    package func desiredState(asGiven command: K3sCommand) throws(K3sConfigurationError) -> DesiredState {
        try DesiredState(
            role: .asGiven(command), facts: NodeFacts(name: name, network: nil), settings: settings,
            layout: layout, supervision: supervision)
    }

    /// What `assignment` makes of K3s on this node.
    ///
    /// - Throws: `K3sConfigurationError` when no configuration could work: a token or an address that K3s
    ///   would refuse, or settings of the user that contradict the role.
    package func desiredState(of assignment: K3sAssignment) throws(K3sConfigurationError) -> DesiredState {
        let token = try ClusterToken(assignment.token)
        let role: K3sRole
        switch assignment.role {
        case .founder:
            role = .foundingServer(
                .init(
                    token: token, isHighlyAvailable: assignment.highAvailability,
                    externalDatastore: externalDatastore))
        case .server:
            role = .server(
                .init(
                    server: try ServerURL(assignment.joinURL ?? ""), token: token,
                    externalDatastore: externalDatastore))
        case .agent:
            role = .agent(.init(server: try ServerURL(assignment.joinURL ?? ""), token: token))
        }
        var network: NodeFacts.Network?
        if carriesKubernetes {
            network = .init(
                address: try NodeAddress(assignment.address.description), interface: interface)
        }
        var apiAddress: NodeAddress?
        if let address = assignment.apiAddress { apiAddress = try NodeAddress(address.description) }
        return try DesiredState(
            role: role,
            facts: NodeFacts(
                name: name, network: network, apiAddress: apiAddress,
                certificateNames: kubeVIP.map { [$0.address] } ?? []),
            settings: settings, layout: layout, supervision: supervision, kubeVIP: kubeVIP,
            hookRole: assignment.role.stockName(highAvailability: assignment.highAvailability))
    }
}
