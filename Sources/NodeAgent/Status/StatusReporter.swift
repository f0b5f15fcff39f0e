package import AgentAPI
internal import Coordination
internal import K3s
internal import Ledger
internal import LibP2P
internal import MeshNetwork
internal import Multiformats
internal import NIOCore
internal import Timing
internal import VPN

/// Answers what the node knows and what it waits for, out of the parts that know it.
package struct StatusReporter: StatusSource, LedgerSource {
    let name: String
    let uuid: String
    let networkID: String
    let prefixLength: Int
    let localPeer: PeerID
    let node: NodeService
    let mesh: MeshService
    let vpn: VPNService
    let k3s: K3sRunner
    let lease: LeaseService?
    let time: any TimeSource
    let startedAt: Instant
    let notes: ConfigurationNotes

    package func status() async -> StatusDocument {
        let now = time.moment()
        var document = StatusDocument(
            asOf: Timestamp(now.wall),
            node: .init(
                name: name, uuid: uuid, peer: localPeer.description, networkID: networkID,
                version: AgentVersion.current, state: .stopping,
                uptimeSeconds: UInt64(max(0, (now.instant - startedAt).components.seconds))))
        // Both fail only while the agent goes down.
        guard let view = try? await node.view().get(), let mesh = try? await mesh.status().get() else {
            return document
        }
        let report = k3s.report
        document.waiting = waiting(view, report: report, mesh: mesh, now: now.wall)
        document.node.address =
            view.address.map { "\($0)/\(prefixLength)" } ?? view.hostAddress?.description
        document.node.role = view.plan.role?.stockName(highAvailability: view.highAvailability)
        document.node.state = state(waiting: document.waiting, report: report)
        document.k3s = report.map { report in
            StatusDocument.K3s(
                unit: report.unit, state: report.activity.rawValue, problem: report.waiting?.what,
                log: report.isReady ? [] : report.lastLines, isVoter: report.isVoter,
                wantsRestart: report.wantsRestart?.description)
        }
        document.nodes = nodes(view, mesh: mesh, now: now)
        document.warnings = warnings(view, report: report, mesh: mesh)
        document.configuration = notes.current.document
        document.counters = counters(mesh)
        if let lease = try? await lease?.view().get() {
            document.api = api(lease, now: now)
            if document.k3s?.wantsRestart != nil { document.k3s?.restarting = lease.restarting?.description }
            document.counters["api_address_moves"] = lease.moves
            document.counters["api_address_acquired"] = lease.counters.acquired
            document.counters["api_address_lost"] = lease.counters.lost
        }
        return document
    }

    private func api(_ lease: LeaseService.View, now: Moment) -> StatusDocument.API? {
        guard let address = node.apiAddress else { return nil }
        return StatusDocument.API(
            address: address.description, holder: lease.holder?.description,
            since: lease.since.map { Timestamp(now.wall + ($0 - now.instant)) }, problem: lease.obstacle)
    }

    package func ledger() async -> LedgerView {
        let mesh = mesh
        let replica = try? await node.loop.submit { mesh.ledger }.get()
        let status = try? await mesh.status().get()
        var buckets: [String: [String: String]] = [:]
        for (bucket, entries) in replica?.storage ?? [:] {
            let visible = entries.filter { !$0.value.isDeleted }
            guard !visible.isEmpty else { continue }
            buckets[bucket.string] = Dictionary(
                uniqueKeysWithValues: visible.map { ($0.key.string, $0.value.value.string) })
        }
        let connected = Set((status?.members ?? []).map(\.peer.description))
            .union(status?.present.map(\.description) ?? [])
        return LedgerView(
            buckets: buckets, localPeer: localPeer.description, roomPeers: connected,
            connectedPeers: connected,
            knownPeerCount: connected.count + (status?.departed.count ?? 0),
            blockIndex: UInt64(clamping: replica?.index ?? 0))
    }

    // MARK: the parts of the document

    private func waiting(
        _ view: NodeService.View, report: K3sReport?, mesh: MeshStatus, now: UnixTime
    ) -> [StatusDocument.WaitingItem] {
        var waiting = view.waiting
        if let failure = k3s.failure {
            waiting.append(
                Waiting(step: .k3s, what: "settings that K3s can run with: \(failure)", since: now))
        } else if let wait = report?.waiting {
            waiting.append(wait)
        }
        return waiting.map { wait in
            StatusDocument.WaitingItem(
                step: wait.step.rawValue, what: wait.what,
                remedy: wait.remedy ?? remedy(for: wait, mesh: mesh),
                since: Timestamp(wait.since))
        }
    }

    /// What is known of why others are missing.
    private func remedy(for wait: Waiting, mesh: MeshStatus) -> String? {
        guard wait.step == .election, mesh.members.isEmpty else { return nil }
        if let (peer, reason) = mesh.dialFailures.min(by: { $0.key < $1.key }) {
            return "the last attempt to reach \(peer) failed: \(reason)"
        }
        return
            "no other node was found: check that they run, have the same p2p.network_token and share a network"
            + " that carries multicast, or list one in p2p.bootstrap_peers"
    }

    private func state(waiting: [StatusDocument.WaitingItem], report: K3sReport?) -> StatusDocument.NodeState
    {
        if waiting.isEmpty, report?.isReady ?? true { return .ready }
        return report?.hasNodeToken == true || (report?.restarts ?? 0) > 0 ? .degraded : .starting
    }

    private func nodes(_ view: NodeService.View, mesh: MeshStatus, now: Moment) -> [StatusDocument.Peer] {
        var nodes: [StatusDocument.Peer] = [describe(localPeer, view: view, state: .own)]
        var seen: Set<PeerID> = [localPeer]
        let paths = Dictionary(vpn.links.map { ($0.peer, $0.path) }, uniquingKeysWith: { first, _ in first })
        for member in mesh.members where member.standing != .unknown || view.members[member.peer] != nil {
            seen.insert(member.peer)
            var node = describe(member.peer, view: view, state: .connected)
            if let connection = member.connections.first {
                node.link = .init(
                    kind: connection.remoteAddress.isRelayed ? .relayed : .direct,
                    address: connection.remoteAddress.description,
                    packets: paths[member.peer].map { $0 == .datagrams ? .datagrams : .stream })
            }
            node.roundTripMilliseconds = member.roundTrip.map { $0.inSeconds * 1000 }
            node.lastSeen = Timestamp(now.wall + (member.lastSeen - now.instant))
            nodes.append(node)
        }
        for peer in mesh.present.sorted() where seen.insert(peer).inserted {
            nodes.append(describe(peer, view: view, state: .reachable))
        }
        for member in mesh.departed where seen.insert(member.peer).inserted {
            var node = describe(member.peer, view: view, state: .unreachable)
            node.lastSeen = Timestamp(now.wall + (member.lastSeen - now.instant))
            nodes.append(node)
        }
        let known = Set(view.members.keys).union(view.forgotten.keys).union(
            view.board.machines.values.compactMap { try? PeerID($0.peerID) })
        for peer in known.sorted() where seen.insert(peer).inserted {
            var node = describe(peer, view: view, state: .gone)
            if let since = view.absentSince[peer] {
                node.state = .unreachable
                node.lastSeen = Timestamp(now.wall + (since - now.instant))
            } else if let heartbeat = view.board.heartbeats[peer.description] {
                node.lastSeen = Timestamp(heartbeat)
                if heartbeat + LedgerBoard.heartbeatLifetime > now.wall { node.state = .unreachable }
            }
            nodes.append(node)
        }
        return nodes
    }

    private func describe(
        _ peer: PeerID, view: NodeService.View, state: StatusDocument.Peer.State
    ) -> StatusDocument.Peer {
        var node = StatusDocument.Peer(peer: peer.description, state: state)
        let address = view.board.address(of: peer)
        node.address = address?.description
        let forgotten = view.forgotten[peer]
        if forgotten != nil { node.isForgotten = true }
        let card = view.members[peer] ?? forgotten.flatMap(\.self)
        node.name = card?.name ?? address.flatMap { view.board.machines[$0]?.hostname }
        node.uuid = card?.uuid
        node.role =
            CertifiedRoles(
                certificate: view.certificate, members: view.members, highAvailability: view.highAvailability
            ).name(of: peer)
        // Who has no address of the VPN is known by its own (contract/kairos.md §4.1).
        if node.address == nil, let uuid = node.uuid,
            let said = view.board.stock[LedgerKeys.address(uuid: uuid)]
        {
            node.address = KairosValue.decodeString(said)
        }
        return node
    }

    private func warnings(_ view: NodeService.View, report: K3sReport?, mesh: MeshStatus) -> [String] {
        let configuration = notes.current
        var warnings = configuration.problems.map { StatusDocument.Configuration.notUsed + $0 }
        warnings += configuration.warnings + k3s.warnings + view.warnings + view.diskFailures
        if let error = mesh.ledger.snapshotError { warnings.append(error.description) }
        if let setAside = mesh.ledger.setAside {
            warnings.append("the stored ledger was not used: \(setAside.problem)")
        }
        for warning in report?.warnings ?? [] {
            let place = warning.file.map { " (\($0))" } ?? ""
            warnings.append("\(warning.what)\(place): \(warning.remedy)")
        }
        return warnings
    }

    private func counters(_ mesh: MeshStatus) -> [String: UInt64] {
        var counters: [String: UInt64] = [
            "room_messages_published": UInt64(clamping: mesh.room.published),
            "room_messages_opened": UInt64(clamping: mesh.room.opened),
            "room_messages_unopened": UInt64(clamping: mesh.room.unopened),
            "ledger_entries_accepted": UInt64(clamping: mesh.replication.entriesAccepted),
            "ledger_entries_rejected": UInt64(clamping: mesh.replication.entriesRejected),
            "admissions": UInt64(clamping: mesh.admission.admitted),
            "admissions_refused": UInt64(clamping: mesh.admission.badProofs),
        ]
        let packets = vpn.counters
        counters["packets_sent"] = packets.sentPackets
        counters["packets_received"] = packets.receivedPackets
        for (reason, count) in packets.dropped { counters["packets_dropped_\(reason)"] = count }
        return counters
    }
}
