internal import Coordination
package import K3s
package import LibP2P
package import Logging
internal import Synchronization
package import Timing
internal import VPN

/// Turns assignments into K3s' desired state, and keeps what K3s last reported.
package final class K3sRunner: Sendable {
    /// The node, and what its cloud-config says of K3s.
    package struct Node: Sendable {
        package let name: NodeName
        package let interface: String
        /// Whether Kubernetes' traffic goes over the VPN.
        package let carriesKubernetes: Bool
        package internal(set) var settings: UserSettings
        package internal(set) var externalDatastore: String?
        package let layout: K3sLayout
        package let supervision: DesiredState.Supervision
        /// What carries the servers' address on a network without the VPN.
        package internal(set) var kubeVIP: KubeVIP?

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

    /// What was last asked for, to be worked out again when the cloud-config changes.
    private enum Wish: Sendable {
        case assignment(K3sAssignment)
        case given(K3sCommand)
    }

    private struct State {
        var node: Node
        var wish: Wish?
        var holdsLease = false
        var isAlone = false
        /// What the controller has not been told yet: the newest word of each kind. A permission goes before a
        /// wish, so that what was taken back is never used for what came later.
        var permit: Bool?
        var desired: DesiredState?
        var report: K3sReport?
        var failure: String?
        /// The manifest of `kubevip.manifest_url` and where it is from, once it is there.
        var manifest: (url: String, text: String)?
        /// Why it is not.
        var manifestFailure: String?

        /// Makes of the last wish, if there is one, what the controller is told; why not, when it cannot be.
        mutating func workOut() -> String? {
            guard let wish else { return nil }
            do throws(K3sConfigurationError) {
                switch wish {
                case .assignment(let assignment):
                    desired = try equipped.desiredState(of: assignment)
                    isAlone = !assignment.highAvailability
                case .given(let command):
                    desired = try equipped.desiredState(asGiven: command)
                    isAlone = true
                }
                failure = nil
                permit = holdsLease || isAlone
                return nil
            } catch {
                failure = "\(error)"
                return failure
            }
        }

        /// The node with what is known beyond its cloud-config.
        var equipped: Node {
            var node = node
            if let manifest, node.kubeVIP?.access == .awaited(from: manifest.url) {
                node.kubeVIP?.access = .fetched(manifest.text)
            }
            return node
        }
    }

    private let controller: K3sController
    private let remover: NodeRemover
    private let orders = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    /// Where the manifest is to be fetched from; nil ends the fetching.
    private let manifests = AsyncStream.makeStream(of: String?.self, bufferingPolicy: .bufferingNewest(1))
    private let logger: Logger
    private let state: Mutex<State>

    package init(
        node: Node, manager: any ServiceManager, time: any TimeSource, hooks: HookRunner? = nil,
        logger: Logger
    ) {
        state = Mutex(State(node: node))
        self.logger = logger
        let controller = K3sController(manager: manager, time: time, hooks: hooks, logger: logger)
        self.controller = controller
        remover = NodeRemover(time: time, logger: logger) { name in
            do throws(NodeRemovalError) {
                try await controller.removeNode(name)
                return nil
            } catch {
                return "\(error.cause); \(error.remedy)"
            }
        }
    }

    /// What K3s last reported.
    package var report: K3sReport? { state.withLock { $0.report } }

    /// Why the last assignment cannot be configured; nil when it can.
    package var failure: String? { state.withLock { $0.failure } }

    /// Makes K3s what `assignment` says, as soon as it can be.
    package func assign(_ assignment: K3sAssignment) {
        state.withLock { $0.wish = .assignment(assignment) }
        desire()
    }

    /// Makes K3s what the cloud-config asks for by hand, and nothing besides.
    package func runAsGiven(_ command: K3sCommand) {
        state.withLock { $0.wish = .given(command) }
        desire()
    }

    /// The cloud-config says something else of K3s: what was asked for last is worked out again.
    package func adopt(settings: UserSettings, externalDatastore: String?, kubeVIP: KubeVIP?) {
        state.withLock { state in
            state.node.settings = settings
            state.node.externalDatastore = externalDatastore
            state.node.kubeVIP = kubeVIP
        }
        wantManifest()
        desire()
    }

    /// Works the last wish out. Under the lock from end to end: assignments, the cloud-config and the
    /// manifest come on threads of their own, and an older one must not replace a newer, least of all a leave.
    private func desire() {
        let failure = state.withLock { $0.workOut() }
        if let failure {
            logger.error("K3s cannot be configured", metadata: ["reason": "\(failure)"])
        } else {
            orders.continuation.yield()
        }
    }

    /// Takes the node out of the cluster of `epoch`: K3s is stopped and its data are set aside.
    package func leave(epoch: UInt64) {
        state.withLock { state in
            state.failure = nil
            state.wish = nil
            state.desired = DesiredState(
                leaving: epoch, layout: state.node.placedLayout, supervision: state.node.supervision)
        }
        orders.continuation.yield()
    }

    /// Takes these nodes, with their host names, out of Kubernetes, servers so out of etcd, and no others; new
    /// ones not before `delay`.
    package func removeNodes(_ nodes: [PeerID: String], after delay: Duration) {
        remover.want(nodes, after: delay)
    }

    /// Whether this server holds the lease to restart its healthy K3s. The only server of a cluster
    /// needs none: there is no other that could be down.
    package func setRestartPermitted(_ holdsLease: Bool) {
        state.withLock { state in
            state.holdsLease = holdsLease
            state.permit = holdsLease || state.isAlone
        }
        orders.continuation.yield()
    }

    /// Keeps K3s as assigned until the task is cancelled. `onReport` is told of every report, `onRemoved` of
    /// each node that is out of Kubernetes.
    package func run(
        onRemoved: @escaping @Sendable (PeerID) -> Void = { _ in },
        onReport: @escaping @Sendable (K3sReport) -> Void
    ) async {
        await withTaskGroup { group in
            let reports = await controller.reports()
            group.addTask { [self] in
                for await report in reports {
                    state.withLock { $0.report = report }
                    onReport(report)
                }
            }
            group.addTask { [controller] in await controller.run() }
            group.addTask { [self] in for await _ in orders.stream { await carryOutOrders() } }
            group.addTask { [remover] in await remover.run(onRemoved: onRemoved) }
            wantManifest()
            group.addTask { [self] in
                var fetching: Task<Void, Never>?
                defer { fetching?.cancel() }
                for await url in manifests.stream {
                    fetching?.cancel()
                    fetching = url.flatMap(ManifestDownload.init).map { download in
                        Task { await fetch(download) }
                    }
                }
            }
            await group.waitForAll()
        }
    }

    /// What could not be done of the cloud-config's wishes, for the status.
    package var warnings: [String] {
        let manifest = state.withLock { $0.manifestFailure }
        return (manifest.map { ["kubevip.manifest_url cannot be fetched: \($0)"] } ?? []) + remover.warnings
    }

    /// Has the manifest of `kubevip.manifest_url` fetched, unless it is there.
    private func wantManifest() {
        let url: String?? = state.withLock { state in
            guard case .awaited(let url)? = state.equipped.kubeVIP?.access else {
                let isWanted = state.node.kubeVIP != state.equipped.kubeVIP
                if !isWanted { (state.manifest, state.manifestFailure) = (nil, nil) }
                return isWanted ? nil : .some(nil)
            }
            return url
        }
        if let url { manifests.continuation.yield(url) }
    }

    /// Fetches again and again until the manifest is there. What was fetched in an earlier life is on disk
    /// and stays meanwhile.
    private func fetch(_ download: ManifestDownload) async {
        var pause = ManifestDownload.pauses.lowerBound
        while !Task.isCancelled {
            do throws(ManifestDownload.Failure) {
                let text = try await download.fetch()
                if Task.isCancelled { return }
                state.withLock { state in
                    (state.manifest, state.manifestFailure) = ((download.url, text), nil)
                }
                desire()
                return
            } catch {
                if Task.isCancelled { return }
                let text = "\(error)"
                let isNews = state.withLock { state in
                    defer { state.manifestFailure = text }
                    return state.manifestFailure != text
                }
                if isNews {
                    logger.warning(
                        "kubevip.manifest_url cannot be fetched, and is tried again",
                        metadata: ["reason": "\(text)"])
                }
            }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, ManifestDownload.pauses.upperBound)
        }
    }

    private func carryOutOrders() async {
        let (permit, desired) = state.withLock { state in
            defer { (state.permit, state.desired) = (nil, nil) }
            return (state.permit, state.desired)
        }
        if let permit { await controller.setRestartPermitted(permit) }
        if let desired { await controller.desire(desired) }
    }
}

extension K3sRunner.Node {
    /// The layout, with K3s' data where the cloud-config has a server keep them.
    package var placedLayout: K3sLayout { (try? desiredState(asGiven: .server))?.layout ?? layout }

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
        var apiAddress: NodeAddress?
        if let address = assignment.apiAddress { apiAddress = try NodeAddress(address.description) }
        switch assignment.role {
        case .founder:
            role = .foundingServer(
                .init(
                    token: token, isHighlyAvailable: assignment.highAvailability,
                    externalDatastore: externalDatastore,
                    standby: try assignment.joinURL.map { url throws(K3sConfigurationError) in
                        try ServerURL(url)
                    }))
        case .server:
            role = .server(
                .init(
                    server: try ServerURL(assignment.joinURL ?? ""), token: token,
                    externalDatastore: externalDatastore))
        case .agent:
            role = .agent(.init(server: try ServerURL(assignment.joinURL ?? ""), token: token))
        }
        var network: NodeFacts.Network?
        if carriesKubernetes || assignment.hostInterface != nil {
            network = .init(
                address: try NodeAddress(assignment.address.description),
                interface: assignment.hostInterface ?? interface)
        }
        var state = try DesiredState(
            role: role, epoch: assignment.epoch,
            facts: NodeFacts(
                name: name, network: network, apiAddress: apiAddress,
                certificateNames: kubeVIP.map { [$0.address] } ?? []),
            settings: settings, layout: layout, supervision: supervision, kubeVIP: kubeVIP,
            hookRole: assignment.role.stockName(highAvailability: assignment.highAvailability))
        state.isDeparting = assignment.isDeparting
        return state
    }
}
