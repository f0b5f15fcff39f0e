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

    /// Whether K3s runs as it should.
    package var isReady: Bool { waiting == nil && activity == .active }
}
