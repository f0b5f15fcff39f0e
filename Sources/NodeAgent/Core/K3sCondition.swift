package import K3s

/// How this node's K3s is, as far as decisions need it.
package struct K3sCondition: Hashable, Sendable {
    /// The founding that all of this is about; nil before K3s was assigned anything.
    package var epoch: UInt64?
    /// Whether it is about K3s as a server: what was ready as an agent is no server yet.
    package var isServer: Bool
    /// Whether this node's disk holds the cluster's data, of whatever kind; nil when that could not be seen.
    package var hasData: Bool?
    /// Whether the disk holds a cluster's data and nothing that says whose: those of before there were records, or a
    /// lost record's.
    package var hasUnrecordedData = false
    /// Whether it runs as it was assigned in that epoch, and is ready.
    package var isReady: Bool
    /// Whether its etcd member has a vote; nil when it has no etcd, or when that is not known.
    package var isVoter: Bool?
    /// Whether this node's disk holds a member of the etcd of `epoch` that was not taken out of it; nil when
    /// that could not be seen.
    package var isMember: Bool?
    /// Whether it does not start because the cluster's data, which it once had, are gone.
    package var hasLostData: Bool
    /// The token that the running server wrote for those who join, CA pinned.
    package var token: String?
    /// The administrator's kubeconfig as stock tools read it, of a server that is ready; nil where it is not
    /// to be published.
    package var kubeconfig: String?
    /// Whether K3s has ever been set up on this node.
    package var hasRun: Bool

    package init(
        epoch: UInt64? = nil, isServer: Bool = true, hasData: Bool? = nil, isReady: Bool = false,
        isVoter: Bool? = nil,
        isMember: Bool? = nil, hasLostData: Bool = false, token: String? = nil,
        kubeconfig: String? = nil, hasRun: Bool = false
    ) {
        self.epoch = epoch
        self.isServer = isServer
        self.hasData = hasData
        self.isReady = isReady
        self.isVoter = isVoter
        self.isMember = isMember
        self.hasLostData = hasLostData
        self.token = token
        self.kubeconfig = kubeconfig
        self.hasRun = hasRun
    }

    /// What a disk says before anybody has looked at K3s. A record that cannot be read says nothing, so its data
    /// count as nobody's.
    ///
    /// - Parameters:
    ///   - datastore: what is on the disk.
    ///   - isTakenOut: whether etcd knows that it was taken out of its cluster.
    ///   - token: the one that a server has written for those who join.
    package init(
        found record: ClusterRecordState, datastore: ClusterRecord.Datastore?, isTakenOut: Bool,
        token: String?
    ) {
        guard case .known(let record) = record else {
            self.init(hasData: false, token: datastore == nil ? nil : token)
            hasUnrecordedData = record == .missing && datastore != nil
            return
        }
        let hasData = record.holdsData(of: record.epoch, onDisk: datastore)
        self.init(
            epoch: record.epoch, isServer: record.role == .server, hasData: hasData,
            isMember: hasData && datastore == .etcd && !isTakenOut, token: hasData ? token : nil)
    }

    /// Whether these are the data of a server of `epoch`. Those without a record count as the first founding's, as
    /// they were there before it.
    package func holdsData(of epoch: UInt64) -> Bool {
        hasData == true && self.epoch == epoch || hasUnrecordedData && epoch == 1
    }
}
