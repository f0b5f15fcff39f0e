package import Timing

/// What is true on the node, as far as K3s is concerned.
package struct Observation: Hashable, Sendable {
    /// What there is at the paths that the desired state names.
    package var files: [String: FileState]
    /// The user's own config files, in the order K3s reads them.
    package var userFiles: [UserConfigReview.File]
    /// K3s' binary, the first that exists.
    package var binary: String?
    /// The service of the role.
    package var own: ServiceStatus
    /// The service of the other command.
    package var other: ServiceStatus
    /// The last lines the role's service wrote, when it is not simply active.
    package var lastLines: [String]
    /// The fingerprint of the settings K3s was last started with.
    package var applied: String?
    /// Whether K3s was set up once.
    package var isDeployed: Bool
    /// Whether the datastore is embedded etcd with data.
    package var hasEtcdData: Bool
    /// Whether that etcd knows that it was taken out: it ends, and at its next start joins as another member.
    package var isTakenOut = false
    /// Whether a server has written its full token.
    package var hasNodeToken: Bool
    /// Whether there is a datastore in SQLite.
    package var hasSQLiteData = false
    /// What K3s' data belong to.
    package var record = ClusterRecordState.missing
    /// What there is of a former life, or of this one.
    package var remains: Set<ClusterRemains> = []
    /// When this agent's config file, or the folder it is missing from, last changed; looked up only
    /// when the file is not as it should be.
    package var dropInChanged: UnixTime?

    /// The datastore on this node's disk.
    package var datastore: ClusterRecord.Datastore? {
        hasEtcdData ? .etcd : hasSQLiteData ? .sqlite : nil
    }

    /// Whether this node has the data of a server of `epoch`.
    package func hasData(of epoch: UInt64) -> Bool {
        guard case .known(let record) = record else { return false }
        return record.holdsData(of: epoch, onDisk: datastore)
    }

    /// Whether this node's disk holds a member of the etcd of `epoch` that was not taken out of it, as far as
    /// it knows.
    package func isMember(of epoch: UInt64) -> Bool { hasEtcdData && !isTakenOut && hasData(of: epoch) }

    package init(
        files: [String: FileState] = [:], userFiles: [UserConfigReview.File] = [], binary: String? = nil,
        own: ServiceStatus, other: ServiceStatus, lastLines: [String] = [], applied: String? = nil,
        isDeployed: Bool = false, hasEtcdData: Bool = false, hasNodeToken: Bool = false
    ) {
        self.files = files
        self.userFiles = userFiles
        self.binary = binary
        self.own = own
        self.other = other
        self.lastLines = lastLines
        self.applied = applied
        self.isDeployed = isDeployed
        self.hasEtcdData = hasEtcdData
        self.hasNodeToken = hasNodeToken
    }
}
