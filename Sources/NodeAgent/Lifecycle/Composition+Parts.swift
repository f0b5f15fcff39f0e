internal import AgentAPI
internal import CloudConfig
internal import Coordination
internal import K3s
internal import LibP2P
internal import Logging
internal import MeshNetwork
internal import MulticastDNS
internal import Multiformats
internal import NIOCore
internal import NIOPosix
internal import Timing
internal import VPN

// The parts, each made from the settings and what is on disk, with what to do when it cannot be.
extension Composition {
    static func identity(
        _ paths: NodePaths, traces: NodeTraces
    ) throws(AgentFailure) -> IdentityFile.Loaded {
        do {
            return try IdentityFile(path: paths.identity).loadOrCreate {
                traces.found(keyFileExists: $0)
            }
        } catch {
            switch error {
            case .corrupt, .lost: throw AgentFailure(error.description, exitCode: AgentFailure.Code.data)
            case .inaccessible(let cause):
                throw AgentFailure(
                    error.description,
                    exitCode: cause.isPermission
                        ? AgentFailure.Code.permission : AgentFailure.Code.inputOutput)
            }
        }
    }

    static func restored<Content>(
        _ recovered: @autoclosure () throws(NodeDiskError) -> NodeDisk.Recovered<Content>, what: String,
        logger: Logger
    ) throws(AgentFailure) -> Content? {
        do {
            let recovered = try recovered()
            if case .setAside(let path) = recovered {
                logger.error(
                    "the \(what) on disk is damaged and was set aside", metadata: ["kept as": "\(path)"])
            }
            return recovered.content
        } catch {
            throw AgentFailure(
                "\(error.description); the node must not go on without its \(what): repair the disk",
                exitCode: AgentFailure.Code.inputOutput)
        }
    }

    static func leasedAddress(_ lease: LeaseFile, logger: Logger) throws(AgentFailure)
        -> VirtualAddress?
    {
        do throws(LibP2P.FileError) {
            switch try lease.read() {
            case .none: return nil
            case .address(let address): return address
            case .setAside(let path):
                logger.warning(
                    "the lease file held no address and was set aside", metadata: ["kept as": "\(path)"])
                return nil
            }
        } catch {
            throw AgentFailure(
                "\(error.description); repair the disk, or remove the file to claim a new address",
                exitCode: AgentFailure.Code.inputOutput)
        }
    }

    static func listen(
        identity: Identity, settings: NodeSettings, group: MultiThreadedEventLoopGroup, logger: Logger
    ) async throws -> Swarm {
        var configuration = SwarmConfiguration()
        configuration.agentVersion = PeerInformation.agentPrefix + AgentVersion.current
        var security: [any SecurityProtocol] = [NoiseSecurity(identity: identity)]
        do throws(TLSError) {
            // As go-libp2p: TLS first, Noise for peers that have no TLS.
            security.insert(try TLSSecurity(identity: identity), at: 0)
        } catch {
            logger.warning("connections are secured with Noise alone: \(error)")
        }
        let swarm = try await Swarm.make(
            identity: identity, security: security, group: group,
            configuration: configuration
        ).get()
        let network = settings.claim.subnet
        if settings.addressing.hasVPN, let address = IPAddress(network.network.description),
            let subnet = Subnet(address: address, prefixLength: network.prefixLength)
        {
            // The tunnel must not be tunnelled (contract/wire.md K.1).
            swarm.setBlockedSubnets([subnet])
        }
        var addresses = settings.listenAddresses
        if addresses.isEmpty {
            addresses = [try Multiaddr("/ip4/0.0.0.0/tcp/0"), try Multiaddr("/ip6/::/tcp/0")]
        }
        do {
            let listening = try await swarm.listen(on: addresses).get()
            logger.info(
                "listening",
                metadata: ["peer": "\(identity.peerID)", "addresses": "\(listening.map(\.description))"])
        } catch {
            try? await swarm.shutDown().get()
            throw AgentFailure(
                "cannot listen on \(addresses.map(\.description).joined(separator: ", ")): \(error); free the port, or"
                    + " give another one in p2p.vpn.env EDGEVPNLISTENMADDRS",
                exitCode: AgentFailure.Code.unavailable)
        }
        return swarm
    }

    /// Which network's decisions the node takes part in. Statements of one network and bucket prove nothing in
    /// another.
    private static func electionScope(_ settings: NodeSettings) -> ElectionScope {
        let network =
            settings.token.tag.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
            + "/" + settings.networkID
        return ElectionScope(network: network, quorum: settings.quorum)
    }

    /// Whether the node may have forgotten its votes: it has a key of an earlier run, and no state of the election.
    /// The first run begins one, so that it can be missed later.
    static func beginElection(
        _ restored: ElectionState?, isNew: Bool, owner: PeerID, settings: NodeSettings, disk: NodeDisk
    ) throws(AgentFailure) -> Bool {
        guard restored == nil else { return false }
        guard isNew else { return true }
        do { try disk.save(ElectionState(scope: electionScope(settings), owner: owner)) } catch {
            throw AgentFailure(
                "\(error.description); the node must not begin without its election state: repair the disk",
                exitCode: AgentFailure.Code.inputOutput)
        }
        return false
    }

    static func core(
        identity: Identity, machine: MachineIdentity, settings: NodeSettings, lease: VirtualAddress?,
        election restored: ElectionState?, keyIsNew: Bool, hasForgotten: Bool, joinToken: String?,
        k3s: K3sCondition,
        at now: Instant
    ) throws(AgentFailure) -> NodeCore {
        let scope = electionScope(settings)
        let claim: AddressClaim
        do throws(AddressError) {
            claim = try AddressClaim(
                configuration: settings.claim,
                description: MachineEntry(
                    peerID: identity.peerID.description, hostname: machine.hostName,
                    address: settings.claim.subnet.network,
                    version: MachineEntry.implementation + AgentVersion.current), lease: lease)
        } catch {
            throw AgentFailure(
                "p2p.vpn.address: \(error.description); \(error.remedy)",
                exitCode: AgentFailure.Code.configuration)
        }
        let election = DecreeElection(
            configuration: .init(
                scope: scope, identity: identity,
                card: MemberCard(uuid: machine.uuid, name: machine.hostName, forcedRole: settings.forcedRole),
                isAmnesiac: hasForgotten),
            restored: restored, random: .fromSystem(), at: now)
        var configuration = NodeCore.Configuration(
            identity: identity, uuid: machine.uuid, name: machine.hostName, networkID: settings.networkID,
            scope: scope, forcedRole: settings.forcedRole, highAvailability: settings.highAvailability,
            additionalServers: settings.additionalServers,
            replacesServersAfter: settings.replacesServersAfter,
            freesRolesAfter: settings.freesRolesAfter,
            apiAddress: settings.apiAddress, addressing: settings.addressing,
            serverName: settings.kubeVIP?.address, fixedToken: settings.fixedToken,
            publishesKubeconfig: settings.publishesKubeconfig, runsK3s: settings.runsK3s)
        configuration.keyIsNew = keyIsNew
        configuration.hasForgotten = hasForgotten
        configuration.keepsDataElsewhere = settings.externalDatastore != nil
        return NodeCore(
            configuration: configuration,
            claim: claim, election: election, joinToken: joinToken, k3s: k3s)
    }

    static func discover(
        identity: Identity, settings: NodeSettings, swarm: Swarm, mesh: MeshService, time: any TimeSource,
        logger: Logger, ownKeyHeard: @escaping @Sendable ([Multiaddr]) -> Void
    ) async throws -> MulticastDNSService? {
        guard settings.multicastDNS else { return nil }
        var configuration = MulticastDNSService.Configuration(
            discovery: .init(serviceName: settings.token.mdnsName, localPeer: identity.peerID))
        configuration.discovery.proofKey = settings.token.announcementKey
        configuration.excludedInterfaces = InterfaceFilter(
            InterfaceFilter.containerPatterns + [settings.interface])
        let settled = configuration
        let discovery = try await swarm.eventLoop.submit {
            try MulticastDNSService(
                configuration: settled, eventLoop: swarm.eventLoop, generator: .fromSystem(), time: time,
                logger: logger
            ) { peer, addresses, isProven in
                if peer != identity.peerID {
                    mesh.discovered(peer, at: addresses, isProven: isProven)
                } else if isProven {
                    // Another machine with this key holds the token, too, or it could not be a member.
                    ownKeyHeard(addresses)
                }
            }
        }.get()
        swarm.addObserver { event in
            if case .listening(let addresses) = event { discovery.updateAddresses(addresses) }
        }
        do { try await discovery.start().get() } catch {
            // Networks without multicast have the bootstrap list.
            logger.warning("no multicast discovery", metadata: ["reason": "\(error)"])
        }
        return discovery
    }
}
