package import Timing

/// What must hold: by name, so that a violation says which promise was broken.
package enum Check: String, Hashable, Sendable, CaseIterable {
    /// At most one founder is certified in an epoch, ever.
    case oneFounder = "one founder in an epoch"
    /// A role is obeyed only with its certificate, valid and on disk.
    case certifiedRole = "no role without its certificate"
    /// A network that has run a cluster never founds a second one.
    case oneCluster = "one cluster, for good"
    /// No two members hold one address once the network has been whole for 10 s.
    case oneHolder = "one holder of an address"
    /// A node that keeps its disk keeps its address, unless another member has held it.
    case keptAddress = "an address survives a restart"
    /// Every vote in a certificate that is acted on is on its voter's disk, and none is told before.
    case votesOnDisk = "votes on disk before anyone acts"
    /// There are never more servers than the cloud-config asks for.
    case askedServers = "no more servers than asked for"
    /// A server is chosen only when those before it are full members of etcd.
    case oneAfterTheOther = "one server after the other"
    /// No two nodes hold the API address, and none that is no server.
    case oneAPIHolder = "one holder of the API address"
    /// Whoever holds the API address has a K3s that works.
    case healthyHolder = "the API address leads to a healthy server"
    /// No two servers that work are restarted at once.
    case oneRestart = "one restart at a time"
    /// Nobody who leaves takes the cluster's data along.
    case keptData = "the cluster outlives those who leave"
    /// At the end there is a founder, everyone has a role, and K3s runs as the role asks.
    case order = "order returns"
    /// After a tick at its deadline a state machine is done with it.
    case progress = "a tick gets a state machine on"
    /// At the end all replicas are equal.
    case equalLedgers = "ledgers converge"
}

/// A promise that was broken.
package struct Violation: Hashable, Sendable, CustomStringConvertible {
    package let check: Check
    package let at: Instant
    package let what: String

    package var description: String { "\(at) violated: \(check.rawValue): \(what)" }
}

/// Something that is broken on purpose, to see that a check notices.
package enum Sabotage: Hashable, Sendable, CaseIterable {
    /// Each node counts itself as a quorum.
    case quorumOfOne
    /// The disk leaves the certificate out of the election's state.
    case certificateNotKept
    /// Servers lose K3s' data with every power cut.
    case datastoreForgotten
    /// All devices carry one address, whatever was claimed.
    case oneAddressForAll
    /// Every restart finds another address in the cloud-config.
    case addressMovesAtRestart
    /// The disk says that votes are written, and forgets them.
    case votesForgotten
    /// A partition stays for ever.
    case partitionStays
    /// The agents are told of one server more than the cloud-config asks for.
    case oneServerMore
    /// The agents take every member of etcd for a full one.
    case learnersVote
    /// K3s is called healthy whatever it answers.
    case illnessHidden
    /// Servers restart K3s without their turn.
    case restartUnasked
    /// The monotonic clock of the first that holds the API address stands still from then on: its lease lasts
    /// for ever for itself, and for those who granted it as long as always.
    case clockStops

    /// The check that has to notice.
    package var noticedBy: Check {
        switch self {
        case .quorumOfOne: .oneFounder
        case .certificateNotKept: .certifiedRole
        case .datastoreForgotten: .oneCluster
        case .oneAddressForAll: .oneHolder
        case .addressMovesAtRestart: .keptAddress
        case .votesForgotten: .votesOnDisk
        case .partitionStays: .equalLedgers
        case .oneServerMore: .askedServers
        case .learnersVote: .oneAfterTheOther
        case .illnessHidden: .healthyHolder
        case .restartUnasked: .oneRestart
        case .clockStops: .oneAPIHolder
        }
    }
}
