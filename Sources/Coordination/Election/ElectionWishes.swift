package import LibP2P

/// What this node would have decided, as far as it depends on more than the election itself.
package struct ElectionWishes: Hashable, Sendable {
    /// This node is the founder, and its K3s is ready.
    package var founderIsReady: Bool
    /// This node is the founder, and its K3s has lost what it had founded, or was away before it could.
    package var founderLostData: Bool
    /// How many servers there should be besides the founder; nil without high availability. Members with
    /// a forced `master` role become servers beyond it.
    package var additionalServers: Int?
    /// The servers whose K3s is ready to be joined.
    package var readyServers: Set<PeerID>
    /// The nodes that are to be forgotten.
    package var forget: Set<PeerID>
    /// An operator has asked for a new founding of the epoch that follows this one.
    package var refoundAfter: UInt64?
    /// This node was forgotten and is not out of etcd yet, so it is not to be called back.
    package var isDeparting: Bool

    package init(
        founderIsReady: Bool = false, founderLostData: Bool = false, additionalServers: Int? = nil,
        readyServers: Set<PeerID> = [],
        forget: Set<PeerID> = [], refoundAfter: UInt64? = nil, isDeparting: Bool = false
    ) {
        self.isDeparting = isDeparting
        self.founderIsReady = founderIsReady
        self.founderLostData = founderLostData
        self.additionalServers = additionalServers
        self.readyServers = readyServers
        self.forget = forget
        self.refoundAfter = refoundAfter
    }
}
