package import CloudConfig

/// One setting of the cloud-config that is another than the one that this agent runs with.
package struct ConfigurationChange: Hashable, Sendable {
    /// What is done about it.
    package enum Outcome: Hashable, Sendable {
        /// It counts from now on.
        case applied
        /// The agent ends to be started again with it.
        case restart
        /// It cannot count, for that reason: everything stays as it was.
        case refused(String)
    }

    /// The key's path.
    package let path: String
    /// Where its new value stands; nil where it stands nowhere any more.
    package let position: SourcePosition?
    /// What changes, secrets masked; nil where nothing may be shown.
    package let words: String?
    package let outcome: Outcome

    /// The change as a line for the log and for `status`.
    package var line: String {
        let place = position.map { " (\($0))" } ?? ""
        let what = "\(path)\(place)" + (words.map { ": \($0)" } ?? " is another")
        if case .refused(let why) = outcome { return "\(what); \(why)" }
        return what
    }

    /// What is different in `new`, and what is to be done about each difference.
    ///
    /// - Parameters:
    ///   - isFounded: whether a cluster has been founded; before that the quorum is not settled.
    ///   - changesToken: whether the cluster token that the block `k3s` gives is another.
    package static func changes(
        from old: NodeConfiguration, to new: NodeConfiguration, isFounded: Bool, changesToken: Bool
    ) -> [ConfigurationChange] {
        var changes: [ConfigurationChange] = []
        // Without a mesh before and after, nothing of the mesh counts.
        let hasMesh = old.mesh.networkToken != nil || new.mesh.networkToken != nil
        for key in ConfigurationKey.all where key.differs(old, new) {
            if !hasMesh, key.path.hasPrefix("p2p."), key.path != "p2p.loglevel" { continue }
            var outcome = key.use == .live ? Outcome.applied : .restart
            if changesToken, key.path == "k3s.args" || key.path == "k3s.env" {
                outcome = isFounded ? .refused(Self.tokenStays) : .restart
            } else if key.path == "p2p.minimum_nodes", !isFounded {
                outcome = .restart
            }
            changes.append(
                ConfigurationChange(
                    path: key.path, position: new.positions[key.path], words: key.words?(old, new),
                    outcome: outcome))
        }
        return changes
    }

    private static let tokenStays =
        "it would be another cluster token than the one that the cluster was founded with, which K3s refuses:"
        + " keep the former token, or change it with `k3s token rotate` first and then start the agent again"
}
