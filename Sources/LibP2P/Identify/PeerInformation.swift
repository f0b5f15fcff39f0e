package import Multiformats

extension PeerInformation {
    /// The prefix of the `agentVersion` of this project's nodes.
    package static let agentPrefix = "kairos-node-agent/"

    /// Whether the peer says that it is one of this project's nodes. Anyone can say so: it decides
    /// about economy only, never about trust.
    package var isKairosNode: Bool { agentVersion.hasPrefix(Self.agentPrefix) }

    /// What `message` says of `peer`, which is at the other end of a connection to
    /// `remoteAddress` (contract/wire.md D.5).
    ///
    /// A valid signed record's addresses replace the listed ones; a record of or for somebody else
    /// leaves none. Addresses are kept as the connection's own reach lets them be believed: over
    /// loopback all, over a private address all but loopback, over a public one only public ones.
    ///
    /// Throws `IdentifyError.wrongPeer` when the message holds another peer's key.
    package init(
        _ message: IdentifyMessage, from peer: PeerID, over remoteAddress: Multiaddr
    ) throws(IdentifyError) {
        if let key = message.publicKey, let key = try? PublicKey(bytes: key), !peer.matches(key) {
            throw .wrongPeer
        }
        let believed = Self.addresses(message, of: peer)
        let reach = remoteAddress.reach
        var kept: [Multiaddr] = []
        var seen: Set<Multiaddr> = []
        for address in believed.prefix(IdentifyMessage.maximumAddresses) {
            guard let plain = address.withoutPeerID, Self.isBelievable(plain, over: reach) else { continue }
            if seen.insert(plain).inserted { kept.append(plain) }
        }
        self.init(
            listenAddresses: kept, protocols: Set(message.protocols),
            observedAddress: message.observedAddress.flatMap { try? Multiaddr(bytes: $0) },
            agentVersion: message.agentVersion ?? "")
    }

    private static func addresses(_ message: IdentifyMessage, of peer: PeerID) -> [Multiaddr] {
        let listed = message.listenAddresses.compactMap { try? Multiaddr(bytes: $0) }
        guard let envelope = message.signedPeerRecord else { return listed }
        do {
            let record = try PeerRecord(envelope: envelope)
            return record.peer == peer ? record.addresses : []
        } catch .wrongPeer {
            return []
        } catch {
            return listed
        }
    }

    private static func isBelievable(_ address: Multiaddr, over reach: AddressReach) -> Bool {
        switch reach {
        case .loopback: true
        case .private, .unroutable: address.reach != .loopback
        case .public: address.reach == .public
        }
    }
}
