package import LibP2P

/// One peer's link, for `status`.
package struct VPNLinkStatus: Hashable, Sendable {
    package var peer: PeerID
    package var state: LinkState
    /// Whether datagrams carry the packets, or the stream.
    package var path: PathState = .stream
    /// The bytes that wait for the peer.
    package var queuedBytes: Int
    /// The MTU that the peer's hello named; nil until it has come, and for stock peers.
    package var remoteMTU: UInt16?
    /// Packets queued for the peer since the link was made.
    package var sentPackets: UInt64
}

/// The VPN device, for `status`.
package enum VPNDeviceStatus: Hashable, Sendable {
    /// No address has been given yet.
    case down
    /// The device is up.
    case up(name: String, index: UInt32, address: VirtualAddress, mtu: UInt16)
    /// It could not be brought up; the service tries again.
    case failed(TunDeviceError)
}

/// Where an address is that moves between nodes.
package enum SharedAddressPlace: Hashable, Sendable {
    /// On this node's device.
    case here
    case peer(PeerID)
    /// On no node that is known.
    case nowhere
}
