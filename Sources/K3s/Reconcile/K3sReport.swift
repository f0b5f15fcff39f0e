package import MeshNetwork
package import Timing

/// What the node's status says of K3s.
package struct K3sReport: Hashable, Sendable {
    /// The unit of the role.
    package var unit: String
    /// What it does.
    package var activity: ServiceStatus.Activity
    /// The manager's word for the finer state.
    package var detail: String
    /// When the activity last changed.
    package var since: UnixTime?
    /// How often the manager restarted K3s by itself.
    package var restarts: UInt64
    /// Whether K3s keeps ending and being restarted.
    package var isCrashLooping: Bool
    /// The last lines K3s wrote, when it is not simply active.
    package var lastLines: [String]
    /// Whether a server has written its full token, `server/node-token`.
    package var hasNodeToken: Bool
    /// What K3s waits for; nil when it runs as it should.
    package var waiting: Waiting?
    /// What the operator should know about the settings.
    package var warnings: [K3sWarning]

    /// Whether this server is a full member of its etcd, not a learner (the Node's condition
    /// `EtcdIsVoter`, contract/k3s.md §11); nil where it has no etcd, or where nobody could be asked and it
    /// did not join: a server that joined is none until it is known to be one.
    package var isVoter: Bool? = nil
    /// Whether K3s is to be a server.
    package var isServer = false
    /// Whether this node's disk holds the data of a server of `epoch`; nil when that could not be seen.
    package var hasData: Bool? = nil
    /// Whether it is not started because the cluster's data, which it once had, are gone.
    package var hasLostData = false
    /// Whether this node's disk holds a member of the etcd of `epoch` that was not taken out of it; nil when that
    /// could not be seen.
    package var isMember: Bool? = nil
    /// Why a healthy server would be restarted, if it had the permission.
    package var wantsRestart: RestartReason? = nil
    /// Whether a server that worked is being restarted, and does not work again yet.
    package var isRestarting = false
    /// Whether the node has left its cluster: K3s is stopped and its data are set aside.
    package var hasLeft = false
    /// The founding of the state that all of this is judged by.
    package var epoch: UInt64 = 0

    /// Whether the turn to restart is wanted: before a server that works is restarted, and until it works
    /// again.
    package var needsTurn: Bool { wantsRestart != nil || isRestarting }

    /// Whether K3s runs as it should. A server that waits for its turn to restart does.
    package var isReady: Bool {
        activity == .active && !hasLeft && (waiting == nil || wantsRestart != nil)
    }
}

/// Why K3s is to be restarted.
package struct RestartReason: Hashable, Sendable, CustomStringConvertible {
    /// The names of the settings that K3s has not read yet, where they are known.
    package let settings: [String]

    package init(settings: [String] = []) { self.settings = settings }

    package var description: String {
        settings.isEmpty ? "other settings" : "other settings (" + settings.joined(separator: ", ") + ")"
    }
}
